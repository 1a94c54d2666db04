"""Updates of a confusion matrix with frames of 1024 x 2048: ConfusionMatrix against torchmetrics with its defaults.

Labels with 255 = void against predictions whose boundaries are a few pixels off, both as uint8 planes, and as the int64
that `argmax` returns; and, the worst case for counting by runs, predictions with every fifth pixel wrong and a tenth of
the label void, at random places. All count the same matrix, which is checked first. The floor is memory traffic: both
planes read once and one plane written.
"""

from collections.abc import Callable

import torch
from harness.measure import Run, compare_times, take_turns
from harness.report import add_device, parser, print_table, save
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from seglib.metrics import ConfusionMatrix

NUM_CLASSES = 19
FLOOR = "read both planes"
OURS = "seglib ConfusionMatrix"
FRAMES = 12  # together larger than a processor's cache, so that every frame comes from memory


def frames(height: int, width: int, dtype: torch.dtype, noise: bool, device: str) -> list[tuple[Tensor, Tensor]]:
    """(label, prediction) pairs (height, width): regions, a tenth of them void, predicted with errors.

    Without noise a value holds for about 15 pixels; in Cityscapes' own labels it is more than a hundred.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(FRAMES):
        coarse = torch.randint(NUM_CLASSES, (height // 32 or 1, width // 32 or 1), generator=generator)
        void = torch.rand(coarse.shape, generator=generator) < 0.1
        label, void = (x.repeat_interleave(32, 0).repeat_interleave(32, 1)[:height, :width] for x in (coarse, void))
        prediction = label.roll((2, 3), (0, 1))
        if noise:
            wrong = torch.rand(label.shape, generator=generator) < 0.2
            prediction = torch.where(wrong, (label + 1) % NUM_CLASSES, label)
            void = torch.rand(label.shape, generator=generator) < 0.1
        label = torch.where(void, 255, label)
        found.append((label.to(device, dtype), prediction.to(device, dtype)))
    return found


def contestants(pairs: list[tuple[Tensor, Tensor]], device: str) -> dict[str, Run]:
    """What is timed: all frames once; returns the matrix counted so far."""
    out = torch.empty_like(pairs[0][0])

    def read() -> None:
        for label, prediction in pairs:
            torch.bitwise_xor(label, prediction, out=out)

    ours = ConfusionMatrix(NUM_CLASSES, device=device)

    def count() -> Tensor:
        for label, prediction in pairs:
            ours.update(label, prediction)
        return ours.matrix

    def counted_by(metric: MulticlassConfusionMatrix) -> Callable[[], Tensor]:
        def run() -> Tensor:
            for label, prediction in pairs:
                metric.update(prediction, label)
            return metric.confmat

        return run

    settings = {"num_classes": NUM_CLASSES, "ignore_index": 255}
    theirs = {
        "torchmetrics ConfusionMatrix": MulticlassConfusionMatrix(**settings),
        "torchmetrics JaccardIndex": MulticlassJaccardIndex(**settings),
        "torchmetrics, validate_args=False": MulticlassConfusionMatrix(**settings, validate_args=False),
    }
    return {FLOOR: read, OURS: count, **{name: counted_by(metric.to(device)) for name, metric in theirs.items()}}


def main() -> None:
    """Measures both types of planes."""
    options = parser(__doc__, rounds=7)
    add_device(options)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    height, width = (64, 96) if options.smoke else (1024, 2048)
    options.rounds = 1 if options.smoke else options.rounds
    rows, measured = [], {}
    for kind, dtype, noise in (
        ("uint8", torch.uint8, False),
        ("int64", torch.int64, False),
        ("uint8, noise", torch.uint8, True),
    ):
        pairs = frames(height, width, dtype, noise, options.device)
        first = {name: run() for name, run in contestants(pairs[:1], options.device).items() if name != FLOOR}
        assert all(torch.equal(first[OURS], matrix) for matrix in first.values()), "the matrices differ"
        times = take_turns(contestants(pairs, options.device), options.rounds, options.device)
        measured[kind] = compare_times({name: each.per(FRAMES) for name, each in times.items()}, FLOOR, OURS)
        for name, row in measured[kind].items():
            ms, cpu_ms = 1e3 * row["median_s"], 1e3 * row["cpu_s"]
            ratios = (row["seglib_times_as_fast"][ratio] for ratio in ("ratio", "ratio_cpu"))
            rows.append((name, kind, ms, cpu_ms, row["times_the_floor"], *ratios))
    print_table(("what", "planes", "ms/frame", "CPU ms", "x floor", "seglib is faster by", "by CPU"), rows)
    save(
        "confusion", options, {"frame": [height, width], "num_classes": NUM_CLASSES, "planes": measured}, options.device
    )


if __name__ == "__main__":
    main()
