"""Every planted fault is found and named; healthy set-ups have only the notes that are listed here."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_set import SMALL, make_trainer
from torch import nn
from torch.utils.data import DataLoader
from trees import save

from seglib import diagnose
from seglib.__main__ import main
from seglib.data import SegmentationDataset, build_dataset, voc_palette
from seglib.data.transforms import IMAGENET
from seglib.diagnose.faults import (
    FAULTS,
    FILE_FAULTS,
    Altered,
    Foreign,
    Setup,
    displaced_labels,
    healthy,
    write_folder,
)
from seglib.diagnose.report import catalogue
from seglib.diagnose.samples import Source, find_edges
from seglib.diagnose.scores import Counts, scores_of
from seglib.files import PROJECT
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run

TOY = Recipe.load("toy_voc").replace(width=8, channels=16, decoder_channels=8)
STREETS = Recipe.load("toy_streets")
PRETRAINED = TOY.replace(backbone="mobilenet_v2", weights="mobilenet_v2_imagenet.pth", normalisation="unit", lr=0.02)
CHECKPOINT = PROJECT / "data/checkpoints/toy_streets.pt"


@pytest.fixture(scope="module")
def toy() -> Setup:
    return healthy(TOY)


@pytest.fixture(scope="module")
def predicted(toy: Setup) -> Setup:
    return replace(toy, predictions=displaced_labels(toy.val_dataset), model=None)


@pytest.fixture(scope="module")
def pretrained() -> Setup:
    return healthy(PRETRAINED)


@pytest.fixture(scope="module")
def streets() -> Setup:
    return healthy(STREETS)


@pytest.fixture(scope="module")
def streets_predicted(streets: Setup) -> Setup:
    return replace(streets, predictions=displaced_labels(streets.val_dataset), model=None)


@pytest.fixture(scope="module")
def padded() -> Setup:
    return healthy(TOY.replace(crop_size=161))


@pytest.fixture(scope="module")
def trained(streets: Setup) -> Setup:
    run = load_run(CHECKPOINT)
    val, scoring = streets.val_dataset, Scoring.of(run.recipe)
    found = [predict_image(run.model, val.read(k)[0], run.normalisation, scoring) for k in range(len(val))]
    return replace(streets, model=run.model, run=str(CHECKPOINT), predictions=found)


def base_of(name: str, request: pytest.FixtureRequest) -> Setup:
    """Chooses the healthy set-up that a fault is planted in."""
    special = {
        "mapped_to_ids": "streets_predicted", "padded_with_0": "padded",
        "unconverged": "trained", "train_mode": "trained",
        **dict.fromkeys(("weights_not_loaded", "half_loaded", "other_convention", "blue_first"), "pretrained"),
    }  # fmt: skip
    return request.getfixturevalue(special.get(name, "predicted" if FAULTS[name].stage == "scores" else "toy"))


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_found_and_does_not_drown(name: str, request: pytest.FixtureRequest) -> None:
    fault, setup = FAULTS[name], base_of(name, request)
    if fault.stage == "data" and name not in ("last_batch_of_one", "squashed"):
        setup = replace(setup, model=None, loss=None, normalisation=None)
    report = fault.plant(setup).check(samples=40, steps=40 if fault.stage == "network" else 0)
    print(report)
    assert fault.finding in report.names()
    assert [error for error in report.names("error") if error != fault.finding] == [], report


NOTES = {  # of the healthy set-ups, beside no error and no warning
    "toy_voc": {"thin_structures", "random_weights"},
    "toy_mini": {"thin_structures"},
    "toy_streets": {"thin_structures", "classes_rare", "random_weights"},
    "folder": {"thin_structures", "classes_rare", "class_not_scored", "exif_turned", "rates_beyond_map"},
    "camvid": {"thin_structures", "classes_rare", "alike_frames", "rates_beyond_map"},
    "voc": {"thin_structures", "classes_rare", "class_absent", "class_not_scored", "rates_beyond_map"},
}


def test_healthy_toy_set(toy: Setup) -> None:
    report = toy.check()
    assert report.names("error") == report.names("warning") == [], report
    assert {*report.names()} == NOTES["toy_voc"]


def test_healthy_trained_streets(trained: Setup) -> None:
    report = trained.check()
    assert report.names("error") == [], report
    assert {*report.names("note")} == NOTES["toy_streets"] - {"random_weights"}


@pytest.fixture
def folder(toy: Setup, tmp_path: Path) -> Path:
    """Twenty-four toy scenes as a folder of one's own."""
    for split, part in (("train", toy.dataset), ("val", toy.val_dataset)):
        write_folder(part, tmp_path, split, 16 if split == "train" else 8)
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


# --- other people's code


class Peer:
    """A data set as public repositories write them: lists of files, one function for image and mask, tensors."""

    def __init__(self, source: SegmentationDataset, change: Callable[[Image.Image, Image.Image], tuple]) -> None:
        self.images, self.masks = ([str(pair[k]) for pair in source.files] for k in (0, 1))
        self.classes, self.change = source.classes, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.change(Image.open(self.images[index]).convert("RGB"), Image.open(self.masks[index]))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        return IMAGENET(pixels)[0], torch.from_numpy(np.array(mask)).long()


def short_side(image: Image.Image, mask: Image.Image, side: int = 97) -> tuple[Image.Image, Image.Image]:
    """Resizes image and label until the shorter side has so many pixels."""
    size = [round(length * side / min(image.size)) for length in image.size]
    return image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)


def short_side_and_middle(image: Image.Image, mask: Image.Image, side: int = 97) -> tuple[Image.Image, Image.Image]:
    """VainF's --crop_val."""
    image, mask = short_side(image, mask, side)
    left, top = ((length - side) // 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return image.crop(box), mask.crop(box)


def padded_crop(image: Image.Image, mask: Image.Image, side: int = 97) -> tuple[Image.Image, Image.Image]:
    """VainF's and jfzhang95's training: a random scale below 1 is padded, the label with 0."""
    scale = 0.5 + 0.4 * (hash(image.tobytes()) % 97) / 97
    size = [round(length * scale) for length in image.size]
    image, mask = image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)
    return image.crop((0, 0, 161, 161)), mask.crop((0, 0, 161, 161))


def half_with_void_as_class(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """fregu856's: half the resolution, void is one class more."""
    size = (image.width // 2, image.height // 2)
    label = np.asarray(mask.resize(size, Image.Resampling.NEAREST))
    return image.resize(size, Image.Resampling.BILINEAR), np.where(label == 255, 9, label)


def as_bgr(image: Image.Image, mask: Image.Image) -> tuple[np.ndarray, Image.Image]:
    """kazuto1011's channels, for Caffe's weights."""
    return np.asarray(image)[..., ::-1].copy(), mask


def plain(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    return image, mask


def over_all_pixels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """mmseg's avg_non_ignore=False, VainF's focal loss: the mean over all pixels, void's zeros too."""
    return F.cross_entropy(logits, labels, ignore_index=255, reduction="none").mean()


def hardest_of_all(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """detectron2's DeepLab: the mean over the top fifth, in which void's zeros stand."""
    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none").flatten()
    return losses.topk(losses.numel() // 5).values.mean()


@pytest.mark.parametrize(
    ("change", "split", "found"),
    [
        (plain, "val", set()),
        (short_side, "val", {"wrong_resolution"}),  # torchvision's reference script
        (short_side_and_middle, "val", {"scored_on_crop"}),
        (padded_crop, "train", {"padding_is_a_class"}),
        (half_with_void_as_class, "val", {"label_outside_classes", "wrong_resolution"}),
        (as_bgr, "val", {"channels_reversed"}),
    ],
)
def test_data_sets_of_public_repositories(toy: Setup, change: Callable, split: str, found: set[str]) -> None:
    source = toy.dataset if split == "train" else toy.val_dataset
    peer = Peer(source.subset(range(40)), change)
    report = diagnose.check(**{"dataset" if split == "train" else "val_dataset": peer})
    assert {*report.names("error"), *report.names("warning")} == found, report


@pytest.mark.parametrize("loss", [over_all_pixels, hardest_of_all])
def test_losses_of_public_repositories(toy: Setup, loss: Callable) -> None:
    assert diagnose.check(toy.dataset, loss=loss).names("error") == ["loss_counts_void"]


@pytest.mark.parametrize(
    ("average", "told"),
    [
        (lambda iou: np.nanmean(iou, axis=1).mean(), "the mean over pictures"),  # sthalles
        (lambda iou: np.nan_to_num(iou, nan=1.0).mean(), "absent classes counted as 1"),  # smp's zero_division
    ],
)
def test_metrics_of_public_repositories(predicted: Setup, average: Callable, told: str) -> None:
    counts = Counts(Source(predicted.val_dataset), predicted.predictions, 255, 9, 1)
    iou = np.array([scores_of(each, 9)[0] for each in counts.singly])
    report = replace(predicted, score=float(average(iou))).check(samples=20)
    assert report.names("error") == ["metric_averaged"] and told in report.errors[0].evidence


def test_networks_of_anyone(toy: Setup) -> None:
    """A module that returns a dictionary, at its own stride, on a DataLoader of tensors."""

    class Strided(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, outputs, 1)
            )

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.layers(x)}

    loader = DataLoader(Foreign(toy.dataset.subset(range(33))), 4, drop_last=True)
    report = diagnose.check(loader, model=Strided(9))
    assert report.names("error") == report.names("warning") == [], report
    assert "classes_of_the_network" in diagnose.check(loader, model=Strided(10)).names("error")


# --- faults that nobody chose


@pytest.mark.parametrize("seed", range(12))
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
        files.append(
            (save(root / f"images/{index}.png", image.astype(np.uint8)), save(root / f"masks/{index}.png", label))
        )
    return SegmentationDataset(files, [f"class {k}" for k in range(classes)], voc_palette())


# --- histories, doubtful labels, the command, the report


def test_histories() -> None:
    steps = np.arange(10, 1001, 10)
    poly = 0.1 * (1 - steps / 1000) ** 0.9
    falling = 2 * np.exp(-steps / 150) + 0.3

    def found(losses: np.ndarray, rates: np.ndarray) -> list[str]:
        rows = [{"iteration": i, "loss": a, "lr": b} for i, a, b in zip(steps, losses, rates, strict=True)]
        return diagnose.check(run=rows, classes=9).names()

    assert found(falling, poly) == []
    assert found(falling, np.maximum(0.1 * (1 - steps / 500), 0)) == ["schedule_ends_early"]
    assert found(2.2 - steps / 1000, poly) == ["too_few_steps"]
    assert found(np.full(100, 2.2), poly) == ["loss_not_falling"]
    assert found(falling, 0.1 * (1 - steps / 3000) ** 0.9) == ["schedule_cut_off"]


def test_labels_that_the_network_doubts(toy: Setup) -> None:
    val = toy.val_dataset.subset(range(20))
    truth = [val.read(index)[1] for index in range(20)]
    probabilities = [np.stack([0.9 * (y == k) + 0.1 / 9 for k in range(9)]).astype(np.float32) for y in truth]
    probabilities[7] = np.roll(probabilities[7], 1, axis=0)  # all of it is called something else
    report = diagnose.check(val_dataset=val, predictions=probabilities)
    [doubted] = [each for each in report.findings if each.name == "labels_suspect"]
    assert val.names[7] in doubted.evidence and val.names[6] not in doubted.evidence
    probabilities[7] = np.roll(probabilities[7], -1, axis=0)
    assert "labels_suspect" not in diagnose.check(val_dataset=val, predictions=probabilities).names()


def test_a_run_on_other_data_and_other_classes(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(SMALL, tmp_path / "run", data).fit(until=2)
    run, train = str(trainer.checkpoint), build_dataset(SMALL, "trainaug", data)
    assert not {"other_data", "class_order"} & {*diagnose.check(train, run=run, steps=0).names()}
    assert "other_data" in diagnose.check(train.subset(range(8)), run=run, steps=0).names("error")
    others = Altered(train, classes=(train.classes[1], train.classes[0], *train.classes[2:]))
    assert "class_order" in diagnose.check(others, run=run, steps=0).names("error")


def test_a_folder_is_diagnosed_before_it_is_trained_on(folder: Path, tmp_path: Path) -> None:
    FILE_FAULTS["jpeg_masks"].plant(folder)
    with pytest.raises(SystemExit, match="mask_lossy; mend it"):
        main(["train", "folder", "--data-root", str(folder), "--run-dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit, match="a mask in JPEG format"):  # the loader's own refusal
        main(["train", "folder", "--data-root", str(folder), "--run-dir", str(tmp_path / "run"), "--no-diagnose"])


def test_the_command_with_a_run(capsys: pytest.CaptureFixture) -> None:
    root = PROJECT / "data/toy_cityscapes"
    assert main(["diagnose", str(root), "--data", "toy_cityscapes", "--checkpoint", str(CHECKPOINT)]) == 0
    assert "checked: train: 48 samples, val: 12 samples" in capsys.readouterr().out


def test_a_report_prints_and_shows_a_table(toy: Setup) -> None:
    report = FAULTS["flipped_apart"].plant(replace(toy, model=None)).check()
    text = str(report)
    assert re.search(r"^error   misaligned: train: \d+ of \d+ labels fit .* mirrored", text, re.MULTILINE)
    assert "(notebook 14, section 2)" in text
    assert "<img" in report._repr_html_() and report._repr_html_().count("<tr>") == 1 + len(report.findings)
    assert diagnose.check().names() == [] and "checked: nothing" in str(diagnose.check())


def test_every_finding_has_a_planter_or_a_test() -> None:
    planted = {fault.finding for fault in (*FAULTS.values(), *FILE_FAULTS.values())}
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in catalogue() if name not in planted and name not in text] == []


@pytest.mark.parametrize("name", ["camvid", "voc"])
def test_healthy_photographs(name: str, seglib_data: Path) -> None:
    chosen = {"camvid": "camvid_crop", "voc": "voc_laptop"}[name]
    convention = {"weights": "mobilenet_v2_imagenet.pth", "normalisation": "unit"}
    recipe = Recipe.load(chosen).replace(partial=name == "voc", **convention)
    report = healthy(recipe).check()
    assert report.names("error") == report.names("warning") == [], report
    assert {*report.names()} == NOTES[name]


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
    ],
)  # fmt: skip
def test_other_findings(toy: Setup, name: str, given: Callable) -> None:
    assert name in diagnose.check(**given(toy), samples=20).names()


def test_inputs_unlike_those_of_the_training(trained: Setup) -> None:
    dark = Altered(trained.dataset, image=lambda image: image // 12)
    assert "statistics_do_not_fit" in diagnose.check(dark, run=str(CHECKPOINT), steps=0).names("warning")
