"""Random crops of 512 from frames of 1024 x 2048 per second and core: from PNG pairs, and from the packed cache.

Both read the same frames and cut the same crops, with and without scaling by 0.5 to 2.0, which is checked first bit for
bit. The floor is copying a crop out of a frame in memory. The files are in the system's cache: what is measured is the
processor's work, not the disk's. Frames come from SEGLIB_DATA/cityscapes where that is set, else toy streets are
painted at full size first.
"""

import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness.measure import Run, compare_times, take_turns
from harness.report import parser, print_table, save
from PIL import Image

from seglib.data import CityscapesSegmentation, PackedDataset, SegmentationDataset, pack
from seglib.data.transforms import RandomScaleCrop
from tools.toy_data import street_scene

FLOOR, OURS, PNG = "copy the crop", "packed", "PNG pairs"
SCALES = {"crop": (1.0, 1.0), "scale and crop": (0.5, 2.0)}


def frames(count: int, height: int, folder: Path) -> tuple[SegmentationDataset, str]:
    """The data set, and where its frames are from; `folder` takes the painted ones."""
    named = os.environ.get("SEGLIB_DATA")
    root, source = (Path(named) / "cityscapes", "Cityscapes") if named else (folder, "painted streets")
    for index in range(0 if named else count):
        scene = street_scene(np.random.default_rng(index), guests=index % 4, size=(height, 2 * height))
        name = f"painted/painted_{index:06d}_000019"
        for place, kind, array in (
            ("leftImg8bit", "leftImg8bit", scene.image),
            ("gtFine", "gtFine_labelIds", scene.label_ids),
        ):
            path = root / place / "train" / f"{name}_{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    dataset = CityscapesSegmentation(root, "train")
    return dataset.subset(range(min(count, len(dataset)))), source


def contestants(dataset: SegmentationDataset, cache: SegmentationDataset, crop_size: int) -> dict[str, Run]:
    """What is timed: one crop of every frame, of another epoch at each call."""
    epochs = {PNG: itertools.count(), OURS: itertools.count()}
    image, label = dataset.read(0)
    taken = np.empty((crop_size, crop_size, 3), np.uint8), np.empty((crop_size, crop_size), np.uint8)

    def copy() -> None:
        for index in range(len(dataset)):
            top, left = 7 * index % (label.shape[0] - crop_size + 1), 3 * index
            window = np.s_[top : top + crop_size, left : left + crop_size]
            np.copyto(taken[0], image[window])
            np.copyto(taken[1], label[window])

    def crops(name: str, data: SegmentationDataset) -> Run:
        def run() -> None:
            epoch = next(epochs[name])
            for index in range(len(data)):
                data[epoch, index]

        return run

    return {FLOOR: copy, OURS: crops(OURS, cache), PNG: crops(PNG, dataset)}


def check_equal(dataset: SegmentationDataset, cache: SegmentationDataset) -> None:
    """Raises AssertionError unless both give the same samples, bit for bit."""
    for key in [(epoch, index) for epoch in range(2) for index in range(min(3, len(dataset)))]:
        equal = all(np.array_equal(ours, theirs) for ours, theirs in zip(cache[key], dataset[key], strict=True))
        assert equal, f"sample {key} differs"


def main() -> None:
    """Measures crops alone and scaled ones, in one process."""
    options = parser(__doc__, rounds=7)
    options.set_defaults(threads=1)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    count, height, crop_size = (2, 128, 64) if options.smoke else (4, 1024, 512)  # painting one takes 13 s
    options.rounds = 1 if options.smoke else options.rounds
    rows, measured = [], {}
    with tempfile.TemporaryDirectory() as folder:
        dataset, source = frames(count, height, Path(folder) / "frames")
        began = time.perf_counter()
        pack(dataset, Path(folder) / "cache", progress=False)
        packing = time.perf_counter() - began
        cache = PackedDataset(Path(folder) / "cache")
        for what, scale_range in SCALES.items():
            dataset.transform = cache.transform = RandomScaleCrop(crop_size, scale_range)
            check_equal(dataset, cache)
            times = take_turns(contestants(dataset, cache, crop_size), options.rounds)
            found = compare_times({name: each.per(len(dataset)) for name, each in times.items()}, FLOOR, OURS)
            measured[what] = {name: {"crops_per_s": 1 / row["median_s"], **row} for name, row in found.items()}
    for what, results in measured.items():
        for name, row in results.items():
            ratios = (row["seglib_times_as_fast"][ratio] for ratio in ("ratio", "ratio_cpu"))
            rows.append((name, what, row["crops_per_s"], 1e3 * row["cpu_s"], row["times_the_floor"], *ratios))
    print_table(("what", "how", "crops/s", "CPU ms/crop", "x floor", "packed is faster by", "by CPU"), rows)
    settings = {"frames": len(dataset), "source": source, "crop_size": crop_size, "packing_s": packing}
    save("packed", options, {**settings, "crops": measured})


if __name__ == "__main__":
    main()
