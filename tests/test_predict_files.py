"""Masks, overlays and areas of image files, and the scores of mask files."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from refusal import refused
from test_predict import Noise, Placed

from seglib.crf import dense_crf
from seglib.data import voc_palette
from seglib.data.base import SegmentationDataset
from seglib.data.transforms import UNIT, Normalisation
from seglib.metrics import ConfusionMatrix
from seglib.metrics.cityscapes_labels import train_ids_to_ids
from seglib.predict import Scoring, predict, predict_image
from seglib.predict_files import describe_scores, find_images, score_masks, write_masks

CLASSES = ("sky", "road", "tree", "car", "water")
SCORING = Scoring(window=(16, 24))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder in(a.png, SUB/b.JPG, SUB/._b.JPG, notes.txt); EXIF turns b."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(("a.png", "sub/b.JPG")):
        exif = Image.Exif()
        exif[0x0112] = 1 + 5 * index
        Image.fromarray(Noise().read(index)[0]).save(folder / name, exif=exif)
    (folder / "sub" / "._b.JPG").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("nor this")
    return folder


def test_areas_of_a_name_that_is_no_text(pictures: Path, tmp_path: Path) -> None:
    try:
        image = (pictures / "a.png").rename(tmp_path / os.fsdecode(b"M\xf6we.png"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    targets = find_images([image], tmp_path / "masks")
    list(write_masks(Placed(), targets, CLASSES, voc_palette(), UNIT, SCORING, areas=tmp_path / "areas.csv"))
    assert "M\\udcf6we.png,sky," in (tmp_path / "areas.csv").read_text(encoding="utf-8")


def test_masks_overlays_and_areas(pictures: Path, tmp_path: Path) -> None:
    output, model = pictures / "masks", Placed()
    options = {"overlay": 0.25, "areas": tmp_path / "new" / "areas.csv"}
    for _ in range(2):  # what was written is no picture the next time
        targets = find_images([pictures], output)
        done = list(write_masks(model, targets, CLASSES, voc_palette(), UNIT, SCORING, **options))
        assert done == [output / "a.png", output / "sub" / "b.png"] == [*targets.values()]
    rows = list(csv.reader(options["areas"].read_text().splitlines()))
    assert rows[0] == ["image", "class", "pixels", "share"] and len(rows) == 11
    for image, target in targets.items():
        pixels = np.array(ImageOps.exif_transpose(Image.open(image)))
        expected = predict_image(model, pixels, UNIT, SCORING)
        assert len(np.unique(expected)) > 2
        with Image.open(target) as mask:
            assert (mask.mode, mask.size) == ("P", pixels.shape[1::-1])
            assert np.array_equal(np.asarray(mask), expected)
            assert np.array_equal(np.asarray(mask.convert("RGB")), voc_palette()[expected])
        drawn = np.asarray(Image.open(target.with_name(f"{target.stem}_overlay.jpg")), float)
        assert np.abs(drawn - (0.75 * pixels + 0.25 * voc_palette()[expected])).mean() < 9, "as JPEG stores noise"
        for k, name in enumerate(CLASSES):
            count = int((expected == k).sum())
            assert [str(image), name, str(count), f"{count / expected.size:.6f}"] in rows
    (path,) = write_masks(model, {pictures / "a.png": tmp_path / "ids.png"}, CLASSES, voc_palette(), ids=True)
    with Image.open(path) as mask:
        ids = train_ids_to_ids(predict_image(model, Noise().read(0)[0]))
        assert mask.mode == "L" and np.array_equal(np.asarray(mask), ids)


def test_masks_through_the_crf(pictures: Path, tmp_path: Path) -> None:
    """Of another picture than the plain mask, and the one that the CRF makes of the network's probabilities."""
    image, model, scoring = pictures / "a.png", Placed(), Scoring(flip=True)
    pixels = np.array(Image.open(image))
    probabilities = predict(model, torch.from_numpy(pixels).permute(2, 0, 1)[None], UNIT, scoring)[0].numpy()
    masks = {}
    for crf in (False, True):
        (path,) = write_masks(model, {image: tmp_path / f"{crf}.png"}, CLASSES, voc_palette(), UNIT, scoring, crf=crf)
        masks[crf] = np.array(Image.open(path))
    assert np.array_equal(masks[True], dense_crf(pixels, probabilities).argmax(axis=0))
    assert (masks[True] != masks[False]).any()
    grey = Normalisation((0.5,), (0.5,))
    for message, where in (("channels", (grey, scoring)), ("no window, found", (UNIT, SCORING))):
        refused(f"crf: .*{message}", list, write_masks(model, {}, CLASSES, voc_palette(), *where, crf=True))


def test_a_broken_file_does_not_stop_the_others(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:99])
    targets = find_images([pictures / "gone.png", pictures], tmp_path / "out")
    found = write_masks(Placed(), targets, CLASSES, voc_palette(), overlay=0.5, areas=tmp_path / "areas.csv")
    assert [next(found), next(found)] == [tmp_path / "out" / "a.png", tmp_path / "out" / "sub" / "b.png"]
    both = r"gone\.png: no such file; .*broken\.png: not an image that can be read.*\. The other 2 are done"
    refused(both, next, found)
    assert len((tmp_path / "areas.csv").read_text().splitlines()) == 11
    written, save = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}, Image.Image.save

    def save_half(image: Image.Image, path: Path, **options: object) -> None:
        save(image, path, **options)
        if path.suffix == full:
            path.write_bytes(b"half")
            raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", save_half)
    for full in (".png", ".jpg"):
        message = rf"in/a\.png: .*out/a(_overlay)?\{full}: could not be written \(no space left"
        refused(message, list, write_masks(Placed(), targets, CLASSES, voc_palette(), overlay=0.5))
        assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == written
    for wrong, message in (
        ({"scoring": Scoring(pad_to=9)}, "a.png: pad_to = 9; exp"),
        ({"overlay": 2}, "overlay = 2; expected an opacity"),
    ):
        refused(message, list, write_masks(Placed(), targets, CLASSES, voc_palette(), **wrong))


def test_masks_do_not_overwrite_one_another_or_their_image(pictures: Path, tmp_path: Path) -> None:
    a, twin = pictures / "a.png", tmp_path / "a.jpg"
    overwrite = r"a\.(png|jpg): its mask would overwrite another file"
    refused(overwrite, find_images, [a, twin], tmp_path / "masks")
    refused(overwrite, find_images, [a], pictures)
    refused(overwrite, find_images, [pictures, a], pictures)
    refused(overwrite, find_images, [pictures], pictures / "sub" / "..")
    above = {a: tmp_path / "a.png", pictures / "sub" / "b.JPG": tmp_path / "sub" / "b.png"}
    (pictures / "folder.png").mkdir()  # no image
    assert find_images([pictures], tmp_path) == above
    refused(r"a\.png: a file; expected a folder for the masks", find_images, [pictures], a)
    overlay, before = pictures / "a_overlay.jpg", a.read_bytes()
    Image.open(a).save(overlay)
    targets = {a: pictures / "a.png", overlay: tmp_path / "b.png"}
    for options, lost in (({"overlay": 0.5}, "a_overlay.jpg"), ({"areas": pictures / "sub" / ".." / "a.png"}, "a.png")):
        found = write_masks(Placed(), targets, CLASSES, voc_palette(), **options)
        refused(f"{lost}: an image that the overlays or the table would overwrite", list, found)
    assert a.read_bytes() == before
    refused("images: expected at least one file or folder", find_images, [], tmp_path)
    (tmp_path / "empty").mkdir()
    refused("empty: expected a folder with images", find_images, [tmp_path / "empty"], tmp_path / "masks")


# --- scores


class Labelled(Noise):
    """The labels of `Noise` as files' own."""

    def __init__(self) -> None:
        names = [f"city{index // 3}/frame{index % 3}" for index in range(6)]
        SegmentationDataset.__init__(
            self, [(Path(f"{n}.jpg"), Path(str(i))) for i, n in enumerate(names)], CLASSES, voc_palette()
        )

    def read_label(self, path: Path) -> np.ndarray:
        return self.read(int(path.name))[1]


def write_predictions(folder: Path) -> np.ndarray:
    """Writes masks that are right but for some pixels, and counts the matrix by hand."""
    matrix = np.zeros((5, 5), np.int64)
    for index, (image, label_path) in enumerate(Labelled().files):
        label = Labelled().read_label(label_path)
        mask = np.where(label == 255, 0, label)
        mask[:, : 3 * index] = 2
        np.add.at(matrix, (label[label != 255], mask[label != 255]), 1)
        (folder / image.parent).mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / image.with_suffix(".png"))
    return matrix


def test_mask_files_are_counted(tmp_path: Path) -> None:
    matrix = write_predictions(tmp_path)
    assert np.array_equal(score_masks(Labelled(), tmp_path).matrix, matrix)
    broken = Labelled()
    broken.read_label = lambda path: Labelled().read_label(path) | (64 if path.name == "2" else 0)
    refused(r"^2: holds the label values \[64, .*expected 0 to 4", score_masks, broken, tmp_path)
    frame = tmp_path / "city0" / "frame1.png"
    mask = np.array(Image.open(frame))
    for change, message in (
        (mask[1:], r"frame1.png: a mask of \(52, 37\); expected \(53, 37\), the size of 1"),
        (np.where(mask == 0, 26, mask), "frame1.png: holds the value 26; expected class indices, 0 to 4"),
    ):
        Image.fromarray(change.astype(np.uint8)).save(frame)
        refused(message, score_masks, Labelled(), tmp_path)
    renumbered = Image.fromarray(mask)
    renumbered.putpalette(voc_palette()[::-1].tobytes())
    renumbered.save(frame)
    refused("frame1.png: its palette shows index 0 as", score_masks, Labelled(), tmp_path)
    frame.rename(tmp_path / "city1" / "other.png")
    (tmp_path / "city2").mkdir()
    for name in ("frame0.png", "frame2.png"):
        (tmp_path / "city1" / name).rename(tmp_path / name)
    refused(r"expected one mask of frame0.jpg, found .*", score_masks, Labelled().subset([3]), tmp_path)
    for path in tmp_path.rglob("frame[12].png"):
        path.unlink()
    lacks = r"lacks 4 of 6 masks: frame1.png, frame2.png"
    refused(lacks, score_masks, Labelled(), tmp_path, error=FileNotFoundError)


def test_scores_name_what_no_label_has() -> None:
    matrix = np.diag([6, 0, 0, 4, 0])
    matrix[0, 1] = 2
    text = describe_scores(ConfusionMatrix.from_matrix(matrix).compute(), CLASSES, [8, 0, 0, 4, 0, 4])
    assert "mIoU 0.5833 over 3 of 5 classes; pixel accuracy 0.8333" in text
    assert "road (predicted: its IoU is 0), tree (left out), water (left out)" in text
    assert "Void, not scored: 25.00% of the pixels" in text and "sky    0.7500         66.67%" in text
