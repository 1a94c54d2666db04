"""Scores networks without and with a fully connected CRF, and stores the scores for notebook 14.

python -m tools.measure_crf photographs | toy

"photographs": the published DeepLabv3 with MobileNetV2 on the val photographs of SEGLIB_DATA, about ten minutes on one
core. "toy": DeepLabv3 and DeepLabv3+ by the recipe toy_short, three seeds, about ten minutes; those that
data/results/measured/crf.json holds are kept.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from seglib.crf import dense_crf
from seglib.data import SegmentationDataset, ToyVOC, VOCSegmentation
from seglib.data.fingerprint import count_labels, fingerprint
from seglib.data.transforms import IMAGENET, UNIT, Normalisation
from seglib.files import PROJECT, data_folder, hash_file, run_folder, write_json
from seglib.metrics import ConfusionMatrix, update_trimap
from seglib.predict import ONE_VIEW, Scoring, predict
from seglib.recipe import Recipe
from seglib.train import Trainer
from seglib.train.results import describe_machine, seal
from seglib.train.trainer import TRIMAP_WIDTHS
from seglib.zoo import load_checkpoint

STORE = PROJECT / "data" / "results" / "measured" / "crf.json"
WEIGHTS = "deeplabv3_mobilenet_v2_voc.pth"
NINE = ("background", "person", "cat", "dog", "horse", "sheep", "cow", "chair", "sofa")  # frequent in those photographs
TOY = Recipe.load("toy_short")
NETWORKS = {"DeepLabv3": TOY, "DeepLabv3+": TOY.replace(model="deeplabv3plus", decoder_channels=24)}
SEEDS = (0, 1, 2)


def measure(
    model: torch.nn.Module,
    data: SegmentationDataset,
    counted: Sequence[str],
    normalisation: Normalisation = IMAGENET,
    scoring: Scoring = ONE_VIEW,
    parts: int = 1,
) -> Iterator[dict[str, Any]]:
    """Scores a network on a data set: IoU of each class, mIoU over the `counted` ones, and that in each trimap.

    Yields the scores of every n-th picture first, n = `parts`, then with the pictures beside them, until all are in.
    """
    ways, seconds = ("without", "with"), []
    matrices = {way: {w: ConfusionMatrix(data.num_classes) for w in (0, *TRIMAP_WIDTHS)} for way in ways}
    order = [index for first in range(parts) for index in range(first, len(data), parts)]
    for done, (image, label) in enumerate(map(data.read, order), start=1):
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        probabilities = predict(model, pixels, normalisation, scoring)[0].numpy()  # (K, H, W)
        start = time.process_time()
        refined = dense_crf(image, probabilities)
        seconds.append(time.process_time() - start)
        truth = torch.from_numpy(label.copy())
        for way, found in zip(ways, (probabilities, refined), strict=True):
            classes = torch.from_numpy(found.argmax(axis=0))
            matrices[way][0].update(truth, classes)
            update_trimap({width: matrices[way][width] for width in TRIMAP_WIDTHS}, truth, classes)
        if done == len(data) or done % -(-len(data) // parts) == 0:
            result = {"pictures": done, "classes": list(counted), "cpu_seconds": round(float(np.median(seconds)), 2)}
            yield result | {way: _describe(matrices[way], data.classes, counted) for way in ways}


def _describe(matrices: dict[int, ConfusionMatrix], classes: Sequence[str], counted: Sequence[str]) -> dict[str, Any]:
    """Returns mIoU over the counted classes, everywhere and by width of the trimap, and the IoU of each class."""
    scores = {width: matrix.compute() for width, matrix in matrices.items()}
    means = {str(w): round(each.mean_iou_over(map(classes.index, counted)), 4) for w, each in scores.items()}
    iou = {name: round(float(iou), 4) for name, iou in zip(classes, scores[0].iou, strict=True) if not np.isnan(iou)}
    return {"miou": means.pop("0"), "iou": iou, "trimap": means}


def main(what: str) -> None:
    """Measures and stores what is missing of one of the two."""
    torch.set_num_threads(1)
    stored = json.loads(STORE.read_text(encoding="utf-8"))["rows"] if STORE.is_file() else {}

    def keep(row: str, result: dict[str, Any]) -> None:
        stored[row] = result | {"command": f"python -m tools.measure_crf {what}"}
        write_json(STORE, seal({"rows": stored, **describe_machine(torch.device("cpu"))}))
        print(row, *(f"{way} {result[way]['miou']:.4f}" for way in ("without", "with")), flush=True)

    if what == "photographs":
        weights = data_folder() / "weights" / WEIGHTS
        data = VOCSegmentation(data_folder() / "voc" / "VOCdevkit", "val", partial=True)
        identity = {"network": WEIGHTS, "sha256": hash_file(weights), "data": fingerprint(data, count_labels(data, {}))}
        for result in measure(load_checkpoint(weights, "tf-mobilenet"), data, NINE, UNIT, Scoring(pad_to=513), 8):
            keep(what, result | identity)
    if what == "toy":
        for seed in SEEDS:
            for name, recipe in NETWORKS.items():
                if (row := f"{name}, seed {seed}") not in stored:
                    recipe, data = recipe.replace(seed=seed), ToyVOC("val")
                    trainer = Trainer(recipe, run_folder(recipe.name), device="cpu", progress=False).fit()
                    (result,) = measure(trainer.model, data, data.classes)
                    keep(row, result | {"recipe": recipe.changes()})


if __name__ == "__main__":
    main(sys.argv[1]) if sys.argv[1:] in (["photographs"], ["toy"]) else sys.exit(__doc__)
