"""Augmented VOC samples per second, from JPEG files to normalised batches: seglib against the usual Pillow pipeline.

Both scale by 0.5 to 2.0, crop 513 x 513 and mirror, with the same draws, which is checked first. seglib hands over
uint8 and normalises whole batches on the device; the usual pipeline (as in the popular repositories) resizes all of
image and label with Pillow, pads, crops, mirrors, turns into float, normalises, and stacks. The floor is decoding the
JPEGs. Photographs come from SEGLIB_DATA where it is set, else drawings of VOC's size are written first.
"""

import argparse
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.measure import Run, compare_times, take_turns
from harness.report import add_device, parser, print_table, save
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seglib.data import EpochBatches, SegmentationDataset, VOCSegmentation, make_loader, sample_rng, voc_palette
from seglib.data.toy import TOY_VOC_CLASSES
from seglib.data.transforms import IMAGE_MEAN, IMAGENET, Compose, RandomFlip, RandomScaleCrop
from tools.toy_data import voc_scene

BATCH = 8
RATIOS = ("ratio", "ratio_cpu")
OURS, USUAL, FLOOR, WITH_LABELS = "seglib", "Pillow pipeline", "decode the JPEGs", "decode JPEGs and PNGs"


class UsualPipeline(Dataset):
    """Decode, resize, pad, crop, mirror, float, normalise: one step after the other on Pillow images."""

    def __init__(self, files: list[tuple[Path, Path]], crop_size: int) -> None:
        self.files, self.crop_size = files, crop_size
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        rng = sample_rng(0, *key)
        image, label = Image.open(self.files[key[1]][0]).convert("RGB"), Image.open(self.files[key[1]][1])
        draws = rng.random(3)
        size = tuple(int(side * (0.5 + 1.5 * draws[0])) for side in image.size)  # (width, height)
        image, label = image.resize(size, Image.Resampling.BILINEAR), label.resize(size, Image.Resampling.NEAREST)
        right, bottom = (max(self.crop_size - side, 0) for side in size)
        if right or bottom:
            image = ImageOps.expand(image, (0, 0, right, bottom), fill=IMAGE_MEAN)
            label = ImageOps.expand(label, (0, 0, right, bottom), fill=255)
        left, top = (int(u * (max(side - self.crop_size, 0) + 1)) for u, side in zip(draws[:0:-1], size, strict=True))
        box = (left, top, left + self.crop_size, top + self.crop_size)
        image, label = image.crop(box), label.crop(box)
        if rng.random() < 0.5:
            image, label = ImageOps.mirror(image), ImageOps.mirror(label)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (pixels - self.mean) / self.std, torch.from_numpy(np.array(label)).long()


def photographs(count: int, folder: Path) -> tuple[list[tuple[Path, Path]], tuple[str, ...], str]:
    """(image, label) files, their classes, and where they are from."""
    if named := os.environ.get("SEGLIB_DATA"):
        voc = VOCSegmentation(Path(named) / "voc" / "VOCdevkit", "train", partial=True)
        return voc.files[:count], voc.classes, "Pascal VOC"
    files = []
    for index in range(count):
        scene = voc_scene(np.random.default_rng(index), size=(375, 500))
        image, label = folder / f"{index}.jpg", folder / f"{index}.png"
        Image.fromarray(scene.image).save(image, quality=85)
        mask = Image.fromarray(scene.label)
        mask.putpalette(voc_palette().tobytes())
        mask.save(label)
        files.append((image, label))
    return files, TOY_VOC_CLASSES, "generated drawings of 500 x 375"


def contestants(dataset: SegmentationDataset, crop_size: int, workers: int, device: str) -> dict[str, Run]:
    """What is timed: every file once, the start of the workers included."""
    usual = UsualPipeline(dataset.files, crop_size)
    batches = EpochBatches(len(dataset), BATCH, len(dataset) // BATCH, seed=0)

    def ours() -> None:
        for images, labels in make_loader(dataset, batches, workers):
            IMAGENET(images.to(device, non_blocking=True))
            labels.to(device, non_blocking=True)

    def theirs() -> None:
        for images, labels in _usual_loader(usual, batches, workers):
            images.to(device, non_blocking=True)
            labels.to(device, non_blocking=True)

    return {OURS: ours, USUAL: theirs}


def decode(files: Iterable[tuple[Path, Path]], labels: bool = False) -> None:
    """Reads and decodes the JPEGs, and with `labels` the PNGs."""
    for image, label in files:
        Image.open(image).convert("RGB")
        if labels:
            Image.open(label).load()


def decode_in_workers(dataset: SegmentationDataset, workers: int) -> None:
    """The same in loader processes, which hand nothing back: what starting them and decoding takes."""
    batches = [dataset.files[first : first + BATCH] for first in range(0, len(dataset), BATCH)]
    for _ in DataLoader(batches, batch_size=None, num_workers=workers, collate_fn=decode):
        pass


def check_equal(dataset: SegmentationDataset, crop_size: int) -> None:
    """Raises AssertionError unless both pipelines deliver the same crops, up to rounding."""
    usual = UsualPipeline(dataset.files, crop_size)
    for key in [(epoch, index) for epoch in range(2) for index in range(min(4, len(dataset)))]:
        image, label = dataset[key]
        expected, expected_label = usual[key]
        found = IMAGENET(torch.from_numpy(image)[None].permute(0, 3, 1, 2))[0]
        assert (found - expected).abs().mean() < 0.02, f"sample {key}: the images differ"
        assert (torch.from_numpy(label) != expected_label).float().mean() < 0.005, f"sample {key}: the labels differ"


def _usual_loader(dataset: Dataset, batches: EpochBatches, workers: int) -> DataLoader:
    pin = torch.cuda.is_available()
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, pin_memory=pin)


def measure(dataset: SegmentationDataset, crop_size: int, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both pipelines and of the decoding, in turns; `workers` 0 is this process."""
    runs = contestants(dataset, crop_size, workers, options.device)
    if workers:
        runs |= {FLOOR: lambda: decode_in_workers(dataset, workers)}
    else:
        runs |= {FLOOR: lambda: decode(dataset.files), WITH_LABELS: lambda: decode(dataset.files, labels=True)}
    times = take_turns(runs, options.rounds, options.device)
    return {
        name: {
            "samples_per_s": len(dataset) / row["median_s"],
            "cpu_ms_per_sample": 1e3 * row["cpu_s"] / len(dataset),
            **row,
        }
        for name, row in compare_times(times, FLOOR, OURS).items()
    }


def main() -> None:
    """Measures one process with one thread, one process with all threads, and two workers."""
    options = parser(__doc__, rounds=5)
    add_device(options)
    options = options.parse_args()
    count, crop_size = (8, 65) if options.smoke else (128, 513)
    options.rounds = 1 if options.smoke else options.rounds
    threads = options.threads
    cases = {"1 thread": (0, 1), **({f"{threads} threads": (0, threads)} if threads > 1 else {}), "2 workers": (2, 1)}
    with tempfile.TemporaryDirectory() as folder:
        files, classes, source = photographs(count, Path(folder))
        dataset = SegmentationDataset(
            files, classes, voc_palette(), Compose((RandomScaleCrop(crop_size), RandomFlip()))
        )
        check_equal(dataset, crop_size)
        measured = {}
        for case, (workers, case_threads) in cases.items():
            torch.set_num_threads(case_threads)
            measured[case] = measure(dataset, crop_size, workers, options)
    columns = ("samples_per_s", "cpu_ms_per_sample", "times_the_floor")
    print_table(
        ("what", "how", "samples/s", "CPU ms/sample", "x floor", "seglib is faster by", "by CPU"),
        [
            (name, case, *(row[column] for column in columns), *(row["seglib_times_as_fast"][r] for r in RATIOS))
            for case, rows in measured.items()
            for name, row in rows.items()
        ],
    )
    settings = {"files": count, "source": source, "crop_size": crop_size, "batch": BATCH}
    save("loader", options, {**settings, "cases": measured}, options.device)


if __name__ == "__main__":
    main()
