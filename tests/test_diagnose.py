"""Every planted fault is found and named; healthy set-ups have only the notes that are listed here."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from refusal import refused
from scipy import ndimage
from small_set import SMALL, make_trainer, write_recipe
from torch import Tensor, nn
from torch.utils.data import DataLoader
from trees import save

from seglib import diagnose
from seglib.__main__ import main
from seglib.data import SegmentationDataset, ToyVOC, build_dataset, voc_palette
from seglib.data.masks import ClassEntry, ClassTable
from seglib.data.transforms import IMAGENET
from seglib.diagnose.checks import check_root
from seglib.diagnose.network import make_batch
from seglib.diagnose.report import SECTIONS, catalogue, explain_message
from seglib.diagnose.samples import Source, find_edges
from seglib.diagnose.scores import Counts, scores_of
from seglib.files import PROJECT
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run
from tools.faults import FAULTS, FILE_FAULTS, Altered, Foreign, Setup, displaced_labels, healthy, write_folder

TOY = Recipe.load("toy_voc").replace(width=8, channels=16, decoder_channels=8)
STREETS = Recipe.load("toy_streets")
RECIPES = {
    "toy": TOY,
    "padded": TOY.replace(crop_size=161),
    "pretrained": TOY.replace(
        backbone="mobilenet_v2", weights="mobilenet_v2_imagenet.pth", normalisation="unit", lr=0.02
    ),
    "streets": STREETS,
}
CHECKPOINT = PROJECT / "data/checkpoints/toy_streets.pt"


@pytest.fixture(scope="module")
def setup() -> Callable[[str], Setup]:
    """Healthy set-ups by name, each made once; of the toy set, every fourth and third picture."""
    made: dict[str, Setup] = {}

    def make(name: str) -> Setup:
        if name in made:
            return made[name]
        recipe, _, kind = name.partition(" ")
        if kind == "predicted":
            found = make(recipe)
            found = replace(found, predictions=displaced_labels(found.val_dataset), model=None)
        elif kind == "trained":
            found, run = make(recipe), load_run(CHECKPOINT)
            val, way = found.val_dataset, (run.normalisation, Scoring.of(run.recipe))
            maps = [predict_image(run.model, val.read(k)[0], *way) for k in range(len(val))]
            found = replace(found, model=run.model, run=str(CHECKPOINT), predictions=maps)
        else:
            found = healthy(RECIPES[recipe])
            if recipe != "streets":
                found = replace(found, dataset=found.dataset.subset(range(0, 480, 4)))
                found = replace(found, val_dataset=found.val_dataset.subset(range(0, 120, 3)))
        return made.setdefault(name, found)

    return make


@pytest.fixture(scope="module")
def toy(setup: Callable[[str], Setup]) -> Setup:
    return setup("toy")


BASES = {  # the healthy set-up that a fault is planted in, if it is not "toy", or "toy predicted" for scores
    "mapped_to_ids": "streets predicted", "padded_with_0": "padded", "unconverged": "streets trained",
    "train_mode": "streets trained",
    **dict.fromkeys(("weights_not_loaded", "half_loaded", "other_convention", "blue_first"), "pretrained"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_found_and_does_not_drown(name: str, setup: Callable[[str], Setup]) -> None:
    fault = FAULTS[name]
    base = setup(BASES.get(name, "toy predicted" if fault.stage == "scores" else "toy"))
    if fault.stage == "data" and name not in ("last_batch_of_one", "squashed"):
        base = replace(base, model=None, loss=None, normalisation=None)
    if fault.stage in ("network", "training"):  # of which the val set tells nothing
        base = replace(base, val_dataset=None)
    samples, steps = 40 if fault.stage == "scores" else 20, 40 if fault.stage == "network" else 0
    report = fault.plant(base).check(samples=samples, steps=steps)
    assert fault.finding in report.names(), report
    assert [error for error in report.names("error") if error != fault.finding] == [], report


NOTES = {  # of the healthy set-ups, beside no error and no warning
    "toy_voc": {"thin_structures", "random_weights"},
    "streets": {"thin_structures", "classes_rare"},
    "camvid": {"thin_structures", "classes_rare", "alike_frames", "rates_beyond_map"},
    "voc": {"thin_structures", "classes_rare", "class_absent", "class_not_scored", "rates_beyond_map"},
}


def test_healthy_toy_set() -> None:
    report = healthy(TOY).check()
    assert report.names("error") == report.names("warning") == [], report
    assert {*report.names()} == NOTES["toy_voc"]


def test_healthy_trained_streets(setup: Callable[[str], Setup]) -> None:
    report = setup("streets trained").check()
    assert report.names("error") == [], report
    assert {*report.names("note")} == NOTES["streets"]


@pytest.mark.parametrize("name", ["camvid", "voc"])
def test_healthy_photographs(name: str, seglib_data: Path) -> None:
    chosen = {"camvid": "camvid_crop", "voc": "voc_laptop"}[name]
    convention = {"weights": "mobilenet_v2_imagenet.pth", "normalisation": "unit"}
    report = healthy(Recipe.load(chosen).replace(partial=name == "voc", **convention)).check()
    assert report.names("error") == report.names("warning") == [], report
    assert {*report.names()} == NOTES[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-four toy scenes as a folder of one's own."""
    write_folder(ToyVOC("trainaug"), tmp_path, "train", 16)
    write_folder(ToyVOC("val"), tmp_path, "val", 8)
    return tmp_path


@pytest.mark.parametrize("name", [None, *FILE_FAULTS])
def test_faults_of_files_are_found(name: str | None, folder: Path, capsys: pytest.CaptureFixture) -> None:
    if name is not None:
        FILE_FAULTS[name].plant(folder)
    status = main(["diagnose", str(folder), "--samples", "10"])
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[1].rstrip(":") for line in lines if line.startswith(("error", "warning"))]
    assert found == ([] if name is None else [FILE_FAULTS[name].finding]), lines
    assert status == int(any(line.startswith("error") for line in lines))
    assert any("exif_turned" in line for line in lines) == (name == "exif_turn")


# --- outlines that were drawn loosely, and labels that lie elsewhere

Pairs = list[tuple[np.ndarray, np.ndarray]]


def photographs(side: int = 200) -> Pairs:
    """Windows of the bundled photographs that hold an object."""
    root, pairs = PROJECT / "data/photographs", []
    for path in sorted((root / "images").iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        label = np.asarray(Image.open(root / "masks" / f"{path.stem}.png"))
        corners = [range(0, length - side + 1, (length - side) // 2) for length in label.shape]
        windows = [np.s_[top : top + side, left : left + side] for top in corners[0] for left in corners[1]]
        pairs += [(image[window], label[window]) for window in windows if len({*np.unique(label[window])} - {255}) > 1]
    return pairs


def toys() -> Pairs:
    return [ToyVOC("trainaug").read(index) for index in range(0, 480, 20)]


def redraw(label: np.ndarray, pixels: Callable[[], int], jitter: Callable[[], tuple[int, int]]) -> np.ndarray:
    """Draws each object anew, so many pixels larger, or smaller, and beside its place."""
    drawn = np.zeros_like(label)
    for value in {*np.unique(label)} - {0, 255}:
        parts, number = ndimage.label(label == value)
        for part in (parts == k for k in range(1, number + 1)):
            wide, outside = pixels(), ndimage.distance_transform_edt(~part)
            within = ndimage.distance_transform_edt(part) > -wide if wide < 0 else outside <= wide
            drawn[np.roll(within if within.any() else part, jitter(), axis=(0, 1))] = value
    return drawn


def loosely(pairs: Pairs) -> Pairs:
    """Objects 3 to 8 pixels too large or too small, and up to 3 beside their place."""
    rng = np.random.default_rng(0)
    draws = (lambda: int(rng.integers(3, 9) * rng.choice((-1, 1))), lambda: tuple(rng.integers(-3, 4, 2).tolist()))
    return [(image, redraw(label, *draws)) for image, label in pairs]


def generously(pairs: Pairs) -> Pairs:
    return [(image, redraw(label, lambda: 10, lambda: (0, 0))) for image, label in pairs]


def moved(pairs: Pairs, down: int, right: int) -> Pairs:
    """Labels that lie elsewhere; what comes in from outside is background."""
    wide = [(image, np.pad(label, 40)[40 - down :, 40 - right :]) for image, label in pairs]
    return [(image, label[: image.shape[0], : image.shape[1]]) for image, label in wide]


def others(pairs: Pairs) -> Pairs:
    """Each image with the label of another one."""
    labels = [Image.fromarray(label) for _, label in (*pairs[len(pairs) // 2 :], *pairs)]
    resized = [label.resize(image.shape[1::-1], 0) for (image, _), label in zip(pairs, labels, strict=False)]
    return [(image, np.asarray(label)) for (image, _), label in zip(pairs, resized, strict=True)]


def write_pairs(root: Path, pairs: Pairs) -> Path:
    for index, (image, label) in enumerate(pairs):
        split = "val" if index % 4 == 0 else "train"
        save(root / f"images/{split}/{index}.png", image)
        save(root / f"masks/{split}/{index}.png", label)
    classes = tuple(ClassEntry(f"class {k}") for k in range(21))
    ClassTable(classes=classes).save(root / "classes.toml")
    return root


@pytest.mark.parametrize("pairs", [photographs, toys])
@pytest.mark.parametrize("change", [list, loosely, generously])
def test_labels_that_are_drawn_loosely_are_no_error(
    pairs: Callable[[], Pairs], change: Callable[[Pairs], Pairs], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    status = main(["diagnose", str(write_pairs(tmp_path, change(pairs())))])
    out = capsys.readouterr().out
    assert status == 0 and "misaligned" not in out, out
    assert ("outlines_loose" in out) <= (change is not list)
    assert "warning outlines_loose" in out or change is not generously


def streets() -> Pairs:
    dataset = build_dataset(STREETS, "train")
    return [dataset.read(index) for index in range(0, 48, 3)]


def test_labels_of_other_streets_are_found_though_streets_are_much_alike() -> None:
    assert "misaligned" in diagnose.check(others(streets()), classes=19).names("error")
    noise, (image, label) = np.random.default_rng(0), streets()[0]  # a camera that stands still has one mask
    still = [((image + noise.normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8), label) for _ in range(16)]
    for healthy_set in (streets(), still):
        assert "misaligned" not in diagnose.check(healthy_set, classes=19).names()


@pytest.mark.parametrize("pairs", [photographs, toys])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda pairs: moved(pairs, 8, 8), r"moved by -\d pixels down and -\d to the right"),
        (lambda pairs: moved(pairs, 0, -16), r"moved by 0 pixels down and 1[4-6] to the right"),
        (lambda pairs: moved(pairs, 32, 0), r"moved by -3[0-2] pixels down and -?[0-2] to the right"),
        (lambda pairs: [(x[:, ::-1] if k % 2 else x, y) for k, (x, y) in enumerate(pairs)], r"mirrored left to right"),
        (others, r"no better than other pictures' labels"),
    ],
)
def test_labels_that_lie_elsewhere_are_found(pairs: Callable[[], Pairs], change: Callable, told: str) -> None:
    report = diagnose.check(change(pairs()), classes=21)
    [found] = [each for each in report.findings if each.name == "misaligned"]
    assert found.severity == "error" and re.search(told, found.evidence), found.evidence


@pytest.mark.parametrize(
    "names",
    [
        ("small_masks", "jpeg_masks", "encoded_again"),
        ("sixteen_bits", "small_masks", "mask_missing"),
        ("same_file_twice", "exif_turn", "palettes_differ"),
    ],
)
def test_faults_of_files_do_not_hide_each_other(names: tuple[str, ...], tmp_path: Path) -> None:
    """On sizes and classes that no other test has; masks that cannot be read do not make classes absent."""
    drawn = draw_set(tmp_path / "drawn", np.random.default_rng(len(names[0])), 11, 30, 150, 61)
    for split, part in (("train", range(20)), ("val", range(20, 30))):
        write_folder(drawn.subset(part), tmp_path / "mine", split, 20)
    for name in names[::-1]:  # a copy is made of whole files
        FILE_FAULTS[name].plant(tmp_path / "mine")
    found = check_root(tmp_path / "mine").names()
    assert {FILE_FAULTS[name].finding for name in names} <= {*found}, found
    assert "class_absent" not in found


# --- other people's code


class Peer:
    """A data set as public repositories write them: lists of files, one function for image and mask, tensors."""

    def __init__(self, source: SegmentationDataset, change: Callable[[Image.Image, Image.Image], tuple]) -> None:
        self.images, self.masks = ([str(pair[k]) for pair in source.files] for k in (0, 1))
        self.classes, self.change = source.classes, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.change(Image.open(self.images[index]).convert("RGB"), Image.open(self.masks[index]))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        return IMAGENET(pixels)[0], torch.from_numpy(np.array(mask)).long()


def resized(image: Image.Image, mask: Image.Image, scale: float) -> tuple[Image.Image, Image.Image]:
    size = [round(side * scale) for side in image.size]
    return image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)


def short_side(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """torchvision's reference script: the shorter side has so many pixels."""
    return resized(image, mask, 97 / min(image.size))


def short_side_and_middle(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """VainF's --crop_val."""
    image, mask = short_side(image, mask)
    left, top = ((side - 97) // 2 for side in image.size)
    return tuple(each.crop((left, top, left + 97, top + 97)) for each in (image, mask))


def padded_crop(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """VainF's and jfzhang95's training: a random scale below 1 is padded, the label with 0."""
    scale = 0.5 + 0.4 * (hash(image.tobytes()) % 97) / 97
    return tuple(each.crop((0, 0, 161, 161)) for each in resized(image, mask, scale))


def half_with_void_as_class(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """fregu856's: half the resolution, void is one class more."""
    image, mask = resized(image, mask, 0.5)
    return image, np.where(np.asarray(mask) == 255, 9, np.asarray(mask))


@pytest.mark.parametrize(
    ("change", "split", "found"),
    [
        (lambda x, y: (x, y), "val", set()),
        (short_side, "val", {"wrong_resolution"}),
        (short_side_and_middle, "val", {"scored_on_crop"}),
        (padded_crop, "train", {"padding_is_a_class"}),
        (half_with_void_as_class, "val", {"label_outside_classes", "wrong_resolution"}),
        (lambda x, y: (np.asarray(x)[..., ::-1].copy(), y), "val", {"channels_reversed"}),  # kazuto1011's, for Caffe
    ],
)
def test_data_sets_of_public_repositories(toy: Setup, change: Callable, split: str, found: set[str]) -> None:
    source = toy.dataset if split == "train" else toy.val_dataset
    peer = Peer(source.subset(range(40)), change)
    report = diagnose.check(**{"dataset" if split == "train" else "val_dataset": peer})
    assert {*report.names("error"), *report.names("warning")} == found, report


@pytest.mark.parametrize(
    "average",
    [
        lambda losses: losses.mean(),  # mmseg's avg_non_ignore=False, VainF's focal loss: void's zeros count too
        lambda losses: losses.flatten().topk(losses.numel() // 5).values.mean(),  # detectron2's: over the top fifth
    ],
)
def test_losses_of_public_repositories(toy: Setup, average: Callable[[Tensor], Tensor]) -> None:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return average(F.cross_entropy(logits, labels, ignore_index=255, reduction="none"))

    assert diagnose.check(toy.dataset, loss=loss, samples=8).names("error") == ["loss_counts_void"]


@pytest.mark.parametrize(
    ("average", "told"),
    [
        (lambda iou: np.nanmean(iou, axis=1).mean(), "the mean over pictures"),  # sthalles
        (lambda iou: np.nan_to_num(iou, nan=1.0).mean(), "absent classes counted as 1"),  # smp's zero_division
    ],
)
def test_metrics_of_public_repositories(setup: Callable[[str], Setup], average: Callable, told: str) -> None:
    base = setup("toy predicted")
    counts = Counts(Source(base.val_dataset), base.predictions, 255, 9, 1)
    iou = np.array([scores_of(each, 9)[0] for each in counts.singly])
    report = replace(base, score=float(average(iou))).check(samples=8)
    assert report.names("error") == ["metric_averaged"] and told in report.errors[0].evidence


def test_values_beyond_a_byte_fall_into_no_other_row(toy: Setup) -> None:
    images, labels = zip(*(toy.val_dataset.read(index) for index in range(4)), strict=True)
    labels = [label.astype(int) for label in labels]
    first = int(max({*np.unique(labels[0])} - {0, 255}))
    for odd in (-1, 300):
        changed = [np.where(label == first, odd, label) for label in labels]
        joint = Counts(Source([*zip(images, labels, strict=True)]), changed, 255, 9, 1).joint
        assert joint[first, 255] == joint[first].sum() > 0 == joint[first - 1, 255]
        report = diagnose.check(val_dataset=[*zip(images, changed, strict=True)], predictions=labels, classes=9)
        assert "label_outside_classes" in report.names("error")
    refused("predictions: 5 of 4 samples", diagnose.check, [*zip(images, labels, strict=True)], predictions=[0] * 5)


def test_void_may_be_0(toy: Setup) -> None:
    pairs = [toy.val_dataset.read(index) for index in range(12)]
    pairs = [(image, np.where(label == 255, 1, label + 1)) for image, label in pairs]
    for void in (0, 255):
        found = diagnose.check(pairs, classes=10, ignore_index=void).names()
        assert ("zero_never_used" in found) == (void == 255)


def test_frames_of_two_drives_and_objects_on_white_are_no_fault(tmp_path: Path) -> None:
    rng, files = np.random.default_rng(0), []
    for index in range(24):
        label = np.zeros((64, 64), np.uint8)
        label[index + 4 : index + 30, 20:50] = 1
        image = np.where(label[..., None], rng.integers(0, 200, (64, 64, 3)), 255).astype(np.uint8)
        place = tmp_path / "ab"[index % 2]
        files.append(tuple(save(place / k / f"{index // 2}.png", x) for k, x in (("images", image), ("masks", label))))
    found = diagnose.check(SegmentationDataset(files, ["ground", "car"], voc_palette())).names()
    assert not {"names_twice", "padding_is_a_class"} & {*found}, found


@pytest.mark.parametrize(("stride", "rates", "told"), [(16, (12, 24, 36), False), (8, (6, 12, 18), True)])
def test_a_peer_s_own_rates_are_no_error(toy: Setup, stride: int, rates: tuple[int, int, int], told: bool) -> None:
    options = {"encoder_output_stride": stride, "decoder_atrous_rates": rates}
    model = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=9, **options)
    pairs = [tuple(array[:64, :64] for array in toy.val_dataset.read(index)) for index in range(8)]
    assert ("rates_not_scaled" in diagnose.check(pairs, model=model, classes=9, steps=0).names()) == told


def test_one_tiny_picture_does_not_cut_the_batch(toy: Setup) -> None:
    pairs = [toy.val_dataset[k] for k in range(7)]
    tiny = (pairs[0][0][:1, :1], pairs[0][1][:1, :1])
    batch = make_batch(Source([*pairs[:3], tiny, *pairs[3:]]), 8, None, torch.device("cpu"))
    assert len(batch.labels) == 7 and min(batch.labels.shape[1:]) > 96


def test_networks_of_anyone(toy: Setup) -> None:
    """A module that returns a dictionary, at its own stride, on a DataLoader of tensors."""

    class Strided(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, outputs, 1)
            )

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": self.layers(x)}

    loader = DataLoader(Foreign(toy.dataset.subset(range(33))), 4, drop_last=True)
    report = diagnose.check(loader, model=Strided(9))
    assert report.names("error") == report.names("warning") == [], report
    assert "classes_of_the_network" in diagnose.check(loader, model=Strided(10)).names("error")


# --- faults that nobody chose


@pytest.mark.parametrize("seed", range(8))
def test_faults_drawn_at_random(seed: int, tmp_path: Path) -> None:
    """Rectangles and discs of 2 to 30 classes, pictures of 60 to 300 pixels, and a fault of the labels."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 31))
    number = 2 * (max(classes, 12) + int(rng.integers(0, 12)))  # either half has every class
    height, width = (int(side) for side in rng.integers(60, 300, 2))
    dataset = draw_set(tmp_path, rng, classes, number, height, width)
    clean = Setup(dataset.subset(range(number // 2)), dataset.subset(range(number // 2, number)))
    report = clean.check()
    assert report.names("error") == report.names("warning") == [], report
    names = ["unknown_value", "flipped_apart", "cropped_apart", "label_shifted", "void_as_background", "one_based"]
    names += ["val_in_train", "label_by_to_tensor", "label_as_rgb"] + ["label_resized_smoothly"] * (classes > 8)
    name = str(rng.choice(names))
    report = FAULTS[name].plant(clean).check()
    assert report.names("error") == [FAULTS[name].finding], (name, classes, height, width, report)


def draw_set(
    root: Path, rng: np.random.Generator, classes: int, number: int, height: int, width: int
) -> SegmentationDataset:
    colours, files = rng.integers(0, 256, (classes, 3)), []
    rows, columns = np.mgrid[:height, :width]
    for index in range(number):
        label = np.zeros((height, width), np.uint8)
        for value in [*rng.integers(0, classes, 5), index % classes]:
            y, x, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(12, 40)
            round_, square = np.hypot(rows - y, columns - x), np.maximum(abs(rows - y), abs(columns - x))
            label[(round_ if rng.random() < 0.5 else square) < radius] = value
        ring = find_edges(label)
        image = np.clip(colours[label] + rng.normal(0, 12, (height, width, 3)) + rng.normal(0, 30), 0, 255)
        label[ring] = 255
        pair = (("images", image.astype(np.uint8)), ("masks", label))
        files.append(tuple(save(root / part / f"{index}.png", array) for part, array in pair))
    return SegmentationDataset(files, [f"class {k}" for k in range(classes)], voc_palette())


# --- histories, doubtful labels, runs, the command, the report


STEPS = np.arange(10, 1001, 10)
POLY, FALLING = 0.1 * (1 - STEPS / 1000) ** 0.9, 2 * np.exp(-STEPS / 150) + 0.3


@pytest.mark.parametrize(
    ("losses", "rates", "scores", "found"),
    [
        (FALLING, POLY, (0.1, 0.3, 0.5), []),
        (FALLING, np.maximum(0.1 * (1 - STEPS / 500), 0), (), ["schedule_ends_early"]),
        (2.2 - STEPS / 1000, POLY, (), ["too_few_steps"]),
        (np.full(100, 2.2), POLY, (), ["loss_not_falling"]),
        (FALLING, 0.1 * (1 - STEPS / 3000) ** 0.9, (), ["schedule_cut_off"]),
        (FALLING, 0.1 * (1 - STEPS / 3000) ** 0.9 * np.minimum(1, STEPS / 100), (), ["schedule_cut_off"]),  # warm-up
        (np.where(STEPS > 990, np.nan, FALLING), POLY, (), ["loss_not_finite"]),
        (FALLING, POLY, (0.09, 0.09, 0.091), ["score_does_not_move"]),
        (FALLING, POLY, (0.7, 0.7, 0.701), []),
    ],
)
def test_histories(losses: np.ndarray, rates: np.ndarray, scores: tuple[float, ...], found: list[str]) -> None:
    rows: list[dict[str, Any]] = [{"iteration": k, "miou": score} for k, score in enumerate(scores)]
    rows += [{"iteration": i, "loss": a, "lr": b} for i, a, b in zip(STEPS, losses, rates, strict=True)]
    assert diagnose.check(run=rows, classes=9).names() == found


def test_a_continued_run_begins_with_a_low_loss_and_statistics_may_be_estimated_anew() -> None:
    def found(rise: float, **changes: Any) -> list[str]:
        rows = [{"iteration": k, "loss": 0.25 + rise * k / 100, "lr": lr} for k, lr in enumerate(POLY)]
        return diagnose.check(run=rows, recipe=TOY.replace(bn_momentum=0.001, **changes), classes=9).names()

    assert "loss_not_falling" in found(-0.02) and "batch_norm_statistics" in found(-0.02)
    assert "loss_not_falling" not in found(-0.02, start_from="old.pt")
    assert "loss_not_falling" in found(0.2, start_from="old.pt")
    assert "batch_norm_statistics" not in found(-0.02, reestimate_bn=40)


def test_labels_that_the_network_doubts(toy: Setup) -> None:
    val = toy.val_dataset.subset(range(20))
    truth = [val.read(index)[1] for index in range(20)]
    probabilities = [np.stack([0.9 * (y == k) + 0.1 / 9 for k in range(9)]).astype(np.float32) for y in truth]
    assert "labels_suspect" not in diagnose.check(val_dataset=val, predictions=probabilities).names()
    probabilities[7] = np.roll(probabilities[7], 1, axis=0)  # all of it is called something else
    report = diagnose.check(val_dataset=val, predictions=probabilities)
    [doubted] = [each for each in report.findings if each.name == "labels_suspect"]
    assert val.names[7] in doubted.evidence and val.names[6] not in doubted.evidence


def test_a_run_on_other_data_and_other_classes(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(SMALL, tmp_path / "run", data).fit(until=2)
    run, train = str(trainer.checkpoint), build_dataset(SMALL, "trainaug", data)
    assert not {"other_data", "class_order"} & {*diagnose.check(train, run=run, steps=0).names()}
    assert "other_data" in diagnose.check(train.subset(range(8)), run=run, steps=0).names("error")
    others = Altered(train, classes=(train.classes[1], train.classes[0], *train.classes[2:]))
    assert "class_order" in diagnose.check(others, run=run, steps=0).names("error")
    for number in (9, 8):  # a number tells of no order
        assert ("class_order" in diagnose.check(train, run=run, classes=number, steps=0).names()) == (number == 8)


def test_a_folder_is_diagnosed_before_it_is_trained_on(folder: Path, tmp_path: Path) -> None:
    FILE_FAULTS["jpeg_masks"].plant(folder)
    with pytest.raises(SystemExit, match="mask_lossy; mend it"):
        main(["train", "folder", "--data-root", str(folder), "--run-dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit, match="a mask in JPEG format"):  # the loader's own refusal
        main(["train", "folder", "--data-root", str(folder), "--run-dir", str(tmp_path / "run"), "--no-diagnose"])


def test_a_training_ends_with_its_findings(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe, line = tmp_path / "small.toml", ["--data-root", str(data), "--run-dir"]
    main(["train", str(write_recipe(recipe, SMALL)), *line, str(tmp_path / "run")])
    told = r"warning batch_norm_few_images: .*\n +fix: .* section 2, What the loader gives"
    assert re.search(told, capsys.readouterr().err)
    with pytest.raises(SystemExit, match=r"the loss is nan.*; loss_not_finite: .*notebook 14, section 4, Training\)"):
        main(["train", str(write_recipe(recipe, SMALL.replace(lr=1e30))), *line, str(tmp_path / "other")])


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("run: the loss is inf at iteration 7; expected a finite number.", "loss_not_finite"),
        ("Expected more than 1 value per channel when training, got input size [1, 8, 1, 1]", "batch_of_one"),
        ("a.png: holds the label values [9]; expected 0 to 8 for 9 classes, or 255 for void", "label_outside_classes"),
        ("a.tif: an array (20, 24, 4); expected (height, width, 3), in_channels last", "channels"),
        ("recipe: lr = 'fast'; expected a number", None),
    ],
)
def test_messages_of_errors_name_their_finding(message: str, name: str | None) -> None:
    told = explain_message(message)
    assert told == message if name is None else told.startswith(f"{message}; {name}: {catalogue()[name]['fix']}")


def test_sections_are_those_of_the_notebook() -> None:
    cells = nbformat.read(PROJECT / "notebooks/14_why_is_my_miou_low.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for number, title in enumerate(SECTIONS[1:], start=1):
        assert f"\n## {number}. {title}\n" in text
    assert {row["section"] for row in catalogue().values()} == {*range(1, len(SECTIONS))}


def test_the_command_with_a_run(capsys: pytest.CaptureFixture) -> None:
    root = PROJECT / "data/toy_cityscapes"
    arguments = ["--data", "toy_cityscapes", "--checkpoint", str(CHECKPOINT), "--samples", "12"]
    assert main(["diagnose", str(root), *arguments]) == 0
    assert "checked: train: 48 samples, val: 12 samples" in capsys.readouterr().out


def test_the_command_with_a_run_reads_all_labels_and_predicts_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(PROJECT / "data/toy_cityscapes", tmp_path / "streets")
    train, val = (sorted((root / "leftImg8bit" / split).rglob("*.png")) for split in ("train", "val"))
    shutil.copy(train[5], val[1])  # not among the three that are predicted
    reads = []
    monkeypatch.setattr("seglib.diagnose.checks.load_run", lambda path: reads.append(path) or load_run(path))
    report = check_root(root, CHECKPOINT, "toy_cityscapes", samples=3)
    assert reads == [CHECKPOINT], "once"
    assert "train_in_val" in report.names("error") and {"val: 12 samples", "3 predictions"} <= {*report.checked}


def test_a_run_on_other_channels_is_told(folder: Path) -> None:
    table = folder / "classes.toml"
    table.write_text("in_channels = 1\n" + table.read_text().replace("in_channels = 3", ""))
    refused(r"pictures of 1 channels; expected 3, as .*toy_streets\.pt takes", check_root, folder, CHECKPOINT)


def test_a_report_prints_and_shows_a_table(toy: Setup) -> None:
    report = FAULTS["flipped_apart"].plant(replace(toy, model=None, loss=None)).check(samples=40)
    priced = r"^error   misaligned: train: \d+ of \d+ labels fit .* mirrored.*; costs \d+\.\d points .*\(toy\)"
    assert re.search(priced, str(report), re.MULTILINE)
    assert "(notebook 14, section 2, What the loader gives)" in str(report)
    assert "<img" in report._repr_html_() and report._repr_html_().count("<tr>") == 1 + len(report.findings)
    assert diagnose.check().names() == [] and "checked: nothing" in str(diagnose.check())


def test_every_finding_has_a_planter_or_a_test() -> None:
    planted = {fault.finding for fault in (*FAULTS.values(), *FILE_FAULTS.values())}
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_[df]*.py"))
    assert [name for name in catalogue() if name not in planted and name not in text] == []


def empty_rows(label: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(label))[:, None] % 10 < 6, 255, label).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("names_twice", lambda s: {"dataset": s.dataset.subset([0, 1, 2, 2, *range(3, 20)])}),
        ("image_labels_sizes", lambda s: {"dataset": Peer(s.dataset, lambda x, y: (x, y.crop((0, 0, 64, 64))))}),
        ("mostly_void", lambda s: {"dataset": Altered(s.dataset, label=empty_rows)}),
        ("loss_nan_without_labels", lambda s: {
            "dataset": s.dataset, "loss": lambda x, y: F.cross_entropy(x, y, ignore_index=255)}),
        ("score_not_reproduced", lambda s: {
            "val_dataset": s.val_dataset, "predictions": displaced_labels(s.val_dataset), "score": 0.123}),
        ("statistics_do_not_fit", lambda s: {"run": str(CHECKPOINT), "steps": 0, "dataset": Altered(
            build_dataset(STREETS, "train"), image=lambda image: image // 12)}),
    ],
)  # fmt: skip
def test_other_findings(toy: Setup, name: str, given: Callable) -> None:
    assert name in diagnose.check(**given(toy), samples=20).names()
