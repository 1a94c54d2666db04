"""Scoring: from logits to the confusion matrix, and from images to scores, with the usual pipeline beside it.

The usual pipeline interpolates the logits to the image's size, takes softmax and argmax, and updates torchmetrics'
confusion matrix. "after the network" starts at logits of stride 16 and 4 of painted scenes; "end to end" scores images
with the peers' networks and ours, of the same weights, and with the small networks of the course. All count the same
matrix up to pixels on which two classes are equally probable, which is checked first. The floor is reading two label
maps once, and the network's forward passes.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from harness.measure import Run, compare_times, peak_memory, peak_of, take_turns
from harness.networks import PAIRS, build, names_of
from harness.report import add_device, parser, print_table, save
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from seglib.data.transforms import IMAGENET
from seglib.geometry import Grid
from seglib.metrics import ConfusionMatrix
from seglib.models.build import build_model
from seglib.predict import Scoring, evaluate
from seglib.recipe import Recipe
from tools.toy_data import voc_scene

OURS, USUAL, FLOOR = "seglib", "usual pipeline", "floor"
CLASSES = 21
# Sizes of images, the stride of their logits, and how many images.
HEADS = {
    "1024 x 2048, stride 16": (1024, 2048, 16, 1),
    "1024 x 2048, stride 4": (1024, 2048, 4, 1),
    "375 x 500, stride 16": (375, 500, 16, 8),
    "375 x 500, stride 4": (375, 500, 4, 8),
}
SMALL = {"toy": "toy_v3", "mini": "toy_mini"}
AGREE = 0.999  # share of pixels


class Scenes:
    """Painted pictures in memory, as a data set without a transform."""

    transform = None
    num_classes, ignore_index = CLASSES, 255

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        scenes = [voc_scene(np.random.default_rng(index), size=size) for index in range(count)]
        self.samples = [(torch.from_numpy(s.image), torch.from_numpy(s.label.astype(np.uint8))) for s in scenes]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.samples[index]


def usual_scores(logits_of: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, device: str) -> Tensor:
    """Updates torchmetrics' matrix with one batch. `logits_of`: images (B, 3, H, W) -> logits of any size."""
    metric = MulticlassConfusionMatrix(num_classes=CLASSES, ignore_index=255).to(device)
    with torch.inference_mode():
        logits = F.interpolate(logits_of(images), size=labels.shape[1:], mode="bilinear", align_corners=False)
        metric.update(logits.softmax(dim=1).argmax(dim=1), labels)
    return metric.confmat


def heads(name: str, options: argparse.Namespace) -> dict[str, Run]:
    """What is timed after the network; logits follow painted labels, so that boundaries are as long as real ones."""
    height, width, stride, count = HEADS[name]
    if options.smoke:
        height, width, count = 64, 96, 2
    scenes = Scenes(count, (height, width))
    labels = torch.stack([label for _, label in scenes.samples]).to(options.device)
    side = (-(-height // stride), -(-width // stride))
    coarse = Grid(stride, "centred").pick(labels, side).long()
    one_hot = F.one_hot(coarse.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2).float()
    noise = torch.randn(one_hot.shape, generator=torch.Generator().manual_seed(0)).to(options.device)
    logits = 6 * F.avg_pool2d(one_hot, 3, stride=1, padding=1) + 0.5 * noise
    grid = Grid(stride, "centred")

    def ours() -> Tensor:
        matrix = ConfusionMatrix(CLASSES, 255, device=options.device)
        with torch.inference_mode():
            matrix.update(labels, grid.argmax(logits, (height, width)))
        return matrix.matrix

    def read() -> None:
        torch.bitwise_xor(labels, labels)

    wide = labels.long()  # as the usual pipeline keeps its labels
    return {FLOOR: read, OURS: ours, USUAL: lambda: usual_scores(lambda x: logits, labels, wide, options.device)}


def networks(name: str, options: argparse.Namespace) -> dict[str, Run]:
    """What is timed end to end: one picture after the other for the large networks, eight at once for the small."""
    torch.manual_seed(0)
    if name in SMALL:
        recipe = Recipe.load(SMALL[name])
        model = build_model(recipe.replace(weights=""), CLASSES).to(options.device).eval()
        peer, batch, size, count = model, 8, (128, 128), 8 if options.smoke else 32
    else:
        ours, theirs = names_of(name)
        model, peer = build(ours).to(options.device).eval(), build(theirs).to(options.device).eval()
        model.load_state_dict(build_equal(peer, name).state_dict())
        batch, size, count = 1, (32, 48) if options.smoke else (384, 512), 2
    scenes = Scenes(count, size)
    stacked = [torch.stack(part) for part in zip(*scenes.samples, strict=True)]
    batches = [[part[top : top + batch].to(options.device) for part in stacked] for top in range(0, count, batch)]

    def ours_run() -> Tensor:
        return evaluate(model, scenes, IMAGENET, Scoring(continued=False), batch_size=batch).matrix

    def usual() -> Tensor:
        return sum(
            usual_scores(peer, IMAGENET(images.permute(0, 3, 1, 2)), labels.long(), options.device)
            for images, labels in batches
        )

    def forward() -> None:
        with torch.inference_mode():
            for images, _ in batches:
                model(IMAGENET(images.permute(0, 3, 1, 2)), upsample=False)

    return {FLOOR: forward, OURS: ours_run, USUAL: usual}


def build_equal(peer: nn.Module, pair: str) -> nn.Module:
    """Returns our network with a peer's weights."""
    from seglib.zoo import load_checkpoint

    inner = getattr(peer, "model", peer) if PAIRS[pair][0] == "torchvision" else peer
    return load_checkpoint(inner.state_dict(), PAIRS[pair][0])


def contestants(name: str, options: argparse.Namespace) -> dict[str, Run]:
    """The contestants of a case."""
    return heads(name, options) if name in HEADS else networks(name, options)


def main() -> None:
    """Measures time in turns and memory in a process each."""
    options = parser(__doc__, rounds=5)
    add_device(options)
    options.add_argument("--cases", nargs="+", default=[*HEADS, *SMALL, *PAIRS], help="which measurements")
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(peak_of(lambda: contestants(options.cases[0], options)[options.memory_of], options.device)))
        return
    if options.smoke:
        options.rounds, options.cases = 1, [next(iter(HEADS)), "mini"]
    rows, measured = [], {}
    for name in options.cases:
        runs = contestants(name, options)
        ours, theirs = (runs[who]().long().cpu() for who in (OURS, USUAL))
        assert ours.sum() == theirs.sum(), f"{name}: different numbers of pixels"
        assert (ours - theirs).abs().sum() <= 2 * (1 - AGREE) * ours.sum(), f"{name}: the matrices differ"
        times = take_turns(runs, options.rounds, options.device)
        kept = [f"--device={options.device}", f"--threads={options.threads}", "--cases", name]
        peaks = {} if options.smoke else {who: peak_memory(Path(__file__), who, kept) for who in (OURS, USUAL)}
        found = compare_times(times, FLOOR, OURS)
        measured[name] = {who: row | {"peak_memory_mib": peaks.get(who)} for who, row in found.items()}
        for who, row in measured[name].items():
            fast = row["seglib_times_as_fast"]
            rows.append((who, name, 1e3 * row["median_s"], row["times_the_floor"], fast["ratio"], fast["ratio_cpu"],
                         row["peak_memory_mib"]))  # fmt: skip
    print_table(("what", "case", "ms", "x floor", "seglib is faster by", "by CPU", "peak MiB"), rows)
    save("evaluation", options, {"cases": measured}, options.device)


if __name__ == "__main__":
    main()
