"""A run belongs to its data: the fingerprint of labels, and runs that are called again on others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusal import refused
from small_set import SIZE, SMALL, TRAIN, VAL, make_trainer, write_label, write_small_set

from seglib.data import SegmentationDataset, build_dataset
from seglib.data.fingerprint import count_labels, describe_difference, fingerprint

SHORT = SMALL.replace(iterations=2)
LABELS = "VOCdevkit/VOC2012/SegmentationClassAug"
VAL_LABELS = "VOCdevkit/VOC2012/SegmentationClass"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_small_set(tmp_path / "data")


def identify(dataset: SegmentationDataset) -> dict[str, Any]:
    return fingerprint(dataset, count_labels(dataset, {}))


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_it_counts_the_labels_as_they_are_stored(root: Path) -> None:
    found = identify(build_dataset(SHORT, "trainaug", root, train=True))
    labels = np.stack([read(root / LABELS / f"{name}.png") for name in TRAIN])
    assert found["pixels"] == [int((labels == value).sum()) for value in (*range(9), 255)]
    assert found["images"] == len(TRAIN) and sum(found["pixels"]) == labels.size


def test_packed_noisy_and_copied_data_are_the_same_and_a_subset_is_not(root: Path, tmp_path: Path) -> None:
    plain = identify(build_dataset(SHORT, "trainaug", root, train=True))
    shutil.copytree(root, tmp_path / "copy")  # other times
    noisy = build_dataset(SHORT.replace(label_noise=3), "trainaug", root, train=True)
    for other in (
        build_dataset(SHORT, "trainaug", root, train=True, packed_root=tmp_path / "packed"),
        build_dataset(SHORT, "trainaug", tmp_path / "copy", train=True),
        noisy,
    ):
        assert identify(other) == plain
    half = identify(build_dataset(SHORT, "train", root))
    assert describe_difference(plain, half) == "12 images there, 6 here"


def test_only_changed_labels_are_read_again(root: Path) -> None:
    dataset = build_dataset(SHORT, "trainaug", root)
    reads: list[str] = []
    read_label = dataset.read_label
    dataset.read_label = lambda path: reads.append(path.stem) or read_label(path)
    first = count_labels(dataset, {})
    assert reads == list(TRAIN)
    assert count_labels(dataset, first) == first and len(reads) == len(TRAIN)
    write_label(root / LABELS / f"{TRAIN[3]}.png", np.full(SIZE, 8, np.uint8))
    changed = count_labels(dataset, first)
    assert reads[len(TRAIN) :] == [TRAIN[3]]
    assert "pixels of the labels: 0: " in describe_difference(
        *(fingerprint(dataset, each) for each in (first, changed))
    )


def test_a_resumed_run_reads_no_label_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(SHORT, tmp_path / "run", root).fit(until=1)
    monkeypatch.setattr(SegmentationDataset, "read_label", None)
    assert make_trainer(SHORT, tmp_path / "run", root).data == trainer.data


def repaint(root: Path) -> None:
    path = root / LABELS / f"{TRAIN[0]}.png"
    write_label(path, np.where(read(path) == 0, 7, read(path)).astype(np.uint8))


def exchange(root: Path) -> None:
    first, second = (root / LABELS / f"{name}.png" for name in TRAIN[:2])
    a, b = read(first), read(second)
    write_label(first, b)
    write_label(second, a)


def mirror(root: Path) -> None:
    path = root / LABELS / f"{TRAIN[0]}.png"
    write_label(path, np.ascontiguousarray(read(path)[:, ::-1]))


def correct_val(root: Path) -> None:
    write_label(root / VAL_LABELS / f"{VAL[0]}.png", np.full(SIZE, 2, np.uint8))


def rename(root: Path) -> None:
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
        path = root / "VOCdevkit" / "VOC2012" / folder / f"{TRAIN[9]}.{suffix}"
        path.rename(path.with_stem("other"))
    names = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "trainaug.txt"
    names.write_text(names.read_text(encoding="utf-8").replace(TRAIN[9], "other"), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "until", "message"),
    [
        (repaint, 1, r"other train data \(pixels of the labels: 0: \d+ there, \d+ here, 7: \d+ there, \d+ here\)"),
        (exchange, 1, r"other train data \(the labels' pixels lie elsewhere\)"),
        (mirror, None, r"other train data \(the labels' pixels lie elsewhere\)"),
        (correct_val, 1, r"other val data \(pixels of the labels: "),
        (correct_val, None, r"other val data \(pixels of the labels: "),
        (rename, None, r"other train data \(12 images of other names or in another order\)"),
    ],
)
def test_other_data_are_refused(
    root: Path, tmp_path: Path, change: Callable[[Path], None], until: int | None, message: str
) -> None:
    make_trainer(SHORT, tmp_path / "run", root).fit(until)
    make_trainer(SHORT, tmp_path / "run", root)
    change(root)
    refused(rf"checkpoint\.pt: a run on {message}.*Choose another run_dir", make_trainer, SHORT, tmp_path / "run", root)


def test_a_wrong_val_label_is_found_before_the_training(root: Path, tmp_path: Path) -> None:
    write_label(root / VAL_LABELS / f"{VAL[2]}.png", np.full(SIZE, 9, np.uint8))
    with pytest.raises(ValueError, match=rf"{VAL[2]}\.png: holds the label values \[9\]; expected 0 to 8"):
        make_trainer(SHORT, tmp_path / "run", root)
