"""Cityscapes' scores against its own evaluation script, on files that both read; and what is said of wrong files."""

import json
import math
import subprocess
import sys
import tempfile
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from refusal import refused

from seglib.__main__ import main
from seglib.metrics import runs
from seglib.metrics.cityscapes import (
    StreetResult,
    StreetScores,
    find_frames,
    score_folders,
    score_frame,
)
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

ROOT = Path(__file__).resolve().parent.parent
TOY = ROOT / "data" / "toy_cityscapes" / "gtFine"
ROAD, SIDEWALK, BUILDING, SKY, PERSON, RIDER, CAR, CARAVAN, BICYCLE = 7, 8, 11, 23, 24, 25, 26, 29, 33
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _in1d(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 2.4 removed it, and the evaluation script calls it."""
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)


def official_scores(frames: list[tuple[Path, Path, Path]]) -> dict:
    """The evaluation script's result on (labelIds, prediction, instanceIds) files."""
    official.args.quiet, official.args.JSONOutput = True, False
    labels, predictions = [str(frame[0]) for frame in frames], [str(frame[1]) for frame in frames]
    with np.errstate(invalid="ignore"):  # it divides 0 by 0 for the priors of an empty matrix
        return official.evaluateImgLists(predictions, labels, official.args)


def assert_equal(scores: StreetScores, expected: dict) -> StreetResult:
    """Matrix, all four lists and all four means; what only the script lists is nan there."""
    result = scores.compute()
    assert scores.matrix.tolist() == expected["confMatrix"]
    for ours, theirs in (
        (result.iou, "classScores"),
        (result.iiou, "classInstScores"),
        (result.category_iou, "categoryScores"),
        (result.category_iiou, "categoryInstScores"),
    ):
        assert ours.keys() <= expected[theirs].keys()
        for name, value in expected[theirs].items():
            assert ours.get(name, math.nan) == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), (theirs, name)
    means = (result.miou, result.miiou, result.category_miou, result.category_miiou)
    names = ("Classes", "InstClasses", "Categories", "InstCategories")
    for mean, name in zip(means, names, strict=True):
        assert mean == pytest.approx(expected[f"averageScore{name}"], rel=1e-9, nan_ok=True), name
    return result


def write_frame(folder: Path, number: int, label: np.ndarray, prediction: np.ndarray, instances: np.ndarray) -> None:
    """Writes gt/CITY_..._{labelIds,instanceIds}.png and predictions/CITY_....png into the folder."""
    for name in ("gt", "predictions"):
        (folder / name).mkdir(exist_ok=True)
    frame = f"town_{number:06d}_000019"
    Image.fromarray(label.astype(np.uint8)).save(folder / "gt" / f"{frame}_gtFine_labelIds.png")
    Image.fromarray(instances.astype(np.uint16)).save(folder / "gt" / f"{frame}_gtFine_instanceIds.png")
    Image.fromarray(prediction.astype(np.uint8)).save(folder / "predictions" / f"{frame}_result.png")


def check(folder: Path, frames: list[Arrays]) -> StreetResult:
    """Arrays and files give the script's scores on the same files."""
    scores = StreetScores()
    for number, frame in enumerate(frames):
        write_frame(folder, number, *frame)
        scores.update(*frame)
    found = find_frames(folder / "gt", folder / "predictions")
    from_files = StreetScores()
    for frame in found:
        from_files.merge(score_frame(frame))
    expected = official_scores(found)
    assert_equal(from_files, expected)
    return assert_equal(scores, expected)


def worsened(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A prediction with shifted boundaries, a wrong region and noise, ignored ids among it."""
    found = np.roll(label, (2, -3), (0, 1))
    top, left = rng.integers(0, label.shape[0] // 2), rng.integers(0, label.shape[1] // 2)
    found[top : top + 60, left : left + 90] = rng.integers(34)
    noise = rng.random(label.shape) < 0.02
    found[noise] = rng.integers(0, 34, noise.sum())
    return found


def test_toy_streets_score_as_by_the_script_in_any_number_of_processes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted((TOY / "val").rglob("*_labelIds.png")):
        name = path.name.replace("_gtFine_labelIds", "_pred")
        Image.fromarray(worsened(np.array(Image.open(path)), rng)).save(tmp_path / name)
    frames = find_frames(TOY / "val", tmp_path)
    assert len(frames) == 12
    one, two = (score_folders(TOY / "val", tmp_path, workers=workers) for workers in (1, 2))
    assert all(np.array_equal(value, getattr(two, name)) for name, value in vars(one).items())
    result = assert_equal(one, official_scores(frames))
    assert not any(math.isnan(value) for value in [*result.iou.values(), *result.iiou.values()])
    assert list(result.category_iiou) == ["human", "vehicle"] and len(result.iou) == 19 and len(result.iiou) == 8


def test_real_frames_score_as_by_the_script(seglib_data: Path, tmp_path: Path) -> None:
    labels = sorted((seglib_data / "cityscapes" / "gtFine").rglob("*_labelIds.png"))
    if not labels:
        pytest.skip("SEGLIB_DATA holds no cityscapes/gtFine")
    rng = np.random.default_rng(0)
    for number, path in enumerate(labels[:2]):
        label, instances = (
            np.array(Image.open(str(path).replace("labelIds", f"{kind}Ids"))) for kind in ("label", "instance")
        )
        write_frame(tmp_path, number, label, worsened(label, rng), instances)
    frames = find_frames(tmp_path / "gt", tmp_path / "predictions")
    assert_equal(score_folders(tmp_path / "gt", tmp_path / "predictions"), official_scores(frames))


def street() -> Arrays:
    """A small street of everything that is special, and a prediction of it with faults of every kind."""
    label = np.full((24, 32), ROAD)
    label[:6], label[6:10] = SKY, BUILDING
    label[20:] = 1  # the ego vehicle
    instances = label.copy()
    boxes = {
        (0, 4, 0, 5): (CAR, 26000),  # in a corner, and the first of its class
        (10, 14, 27, 32): (CAR, 26001),  # at the border
        (12, 13, 3, 4): (PERSON, 24000),  # a single pixel, found
        (12, 13, 5, 6): (PERSON, 24001),  # a single pixel, missed
        (14, 18, 4, 10): (PERSON, PERSON),  # a crowd
        (10, 13, 12, 16): (CARAVAN, 29000),  # ignored
        (15, 19, 14, 20): (BICYCLE, 33000),
        (15, 19, 20, 24): (RIDER, 25003),
        (19, 24, 0, 6): (CAR, 26002),
    }
    for (top, bottom, left, right), (label_id, instance) in boxes.items():
        label[top:bottom, left:right], instances[top:bottom, left:right] = label_id, instance
    prediction = np.roll(label, 1, 1)
    prediction[12, 3], prediction[12, 5] = PERSON, ROAD
    prediction[10:12, 27:] = CARAVAN  # the right category, which does not count for the IoU but does for the iIoU
    prediction[15:17, 20:24] = PERSON  # the right category, the wrong class
    prediction[22:] = CAR  # on ignored pixels
    prediction[0, 20:] = 0
    return label, prediction, instances


def test_street_of_special_cases(tmp_path: Path) -> None:
    """Frames add up, and the same instanceId in two frames is two instances."""
    label, _, instances = street()
    result = check(tmp_path, [street()])
    assert 0 < result.iiou["person"] < result.iou["person"], "the crowd counts for the IoU only"
    assert result.category_iiou["human"] > result.iiou["rider"], "a rider taken for a person is human"
    mirrored = tuple(np.ascontiguousarray(plane[:, ::-1]) for plane in (label, np.full_like(label, CAR), instances))
    check(tmp_path, [street(), mirrored, (label, label, instances)])


def test_all_ignored_perfect_and_absent(tmp_path: Path) -> None:
    label, prediction, instances = street()
    ignored = np.full_like(label, 3)
    result = check(tmp_path, [(ignored, prediction, ignored)])
    assert all(math.isnan(value) for value in [result.miou, result.miiou, *result.iou.values(), result.category_miou])
    result = check(tmp_path, [(label, label, instances)])
    assert result.miou == result.miiou == result.category_miou == result.category_miiou == 1
    assert math.isnan(result.iou["bus"]) and math.isnan(result.iiou["bus"]), "absent"
    label[label == BICYCLE] = instances[instances == 33000] = ROAD
    result = check(tmp_path, [(label, prediction, instances)])
    assert result.iou["bicycle"] == result.iiou["bicycle"] == 0, "predicted but absent"


IDS = st.sampled_from([0, 3, ROAD, BUILDING, PERSON, RIDER, CAR, CARAVAN, BICYCLE])
INSTANCES = st.sampled_from([ROAD, PERSON, 999, 1000, 24000, 24001, 25000, 26000, 26001, 26999, 29001, 33002, 5001])


@settings(max_examples=30)
@given(st.data())
def test_random_ids(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    planes = [arrays(np.int64, shape, elements=elements) for elements in (IDS, IDS, INSTANCES)]
    frames = data.draw(st.lists(st.tuples(*planes), min_size=1, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), frames)


def test_instances_that_cross_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = StreetScores(), StreetScores()
    whole.update(*street())
    monkeypatch.setattr(runs, "PIECE", 50)
    cut.update(*street())
    assert np.array_equal(whole.matrix, cut.matrix)
    assert whole.instances == pytest.approx(cut.instances, rel=1e-12) and whole.instances.any()
    assert whole.category_instances == pytest.approx(cut.category_instances, rel=1e-12)


def test_impossible_values() -> None:
    for which, value, message in (
        (0, 34, r"label_ids: expected ids, 0 to 33, found \[34\]$"),
        (0, -1, r"label_ids: expected ids, 0 to 33, found \[-1\]$"),
        (0, 255, r"label_ids: .* found \[255\]; 255 is void among trainIds: are these trainIds\?"),
        (1, 34, r"prediction_ids: expected ids, 0 to 33, found \[34\]$"),
        (1, 255, r"prediction_ids: .*are these trainIds\? `seglib\.metrics\.cityscapes_labels\.train_ids_to_ids`"),
        (2, 34000, r"instance_ids: .* found \[34000\]"),
        (2, 7001, r"instance_ids: expected ids, or id \* 1000 \+ k for the classes .*instances; found \[7001\]"),
    ):
        planes, scores = street(), StreetScores()
        planes[which][5, 5] = value
        refused(message, scores.update, *planes)
        assert not scores.matrix.any() and not scores.instances.any()


def test_wrong_shapes_and_types() -> None:
    label, prediction, instances = street()
    scores = StreetScores()
    shape = r"prediction_ids: expected the shape of label_ids, \(24, 32\), found \(24, 31\)"
    refused(shape, scores.update, label, prediction[:, 1:], instances)
    with pytest.raises(TypeError, match="instance_ids: expected integers, found float64"):
        scores.update(label, prediction, instances.astype(float))
    scores.update(*(np.zeros((0, 5), np.uint8),) * 3)
    assert not scores.matrix.any()


def test_predictions_left_as_train_ids_are_noticed(tmp_path: Path) -> None:
    """The script scores them without a word, as nearly nothing; so do the counts, which say what they suspect."""
    label, _, instances = street()
    # What has no trainId becomes 0, as an argmax over 19 classes never says void.
    train_ids = np.array([row.train_id % 255 for row in CITYSCAPES_LABELS[:34]])[label]
    result = check(tmp_path, [(label, train_ids, instances)])
    assert result.miou < 0.05
    with pytest.raises(ValueError, match=r"predictions: holds no id above 18, .*are these trainIds\?"):
        score_folders(tmp_path / "gt", tmp_path / "predictions")
    for make in (lambda label: label, lambda label: label * 0, lambda label: np.where(label > 18, 0, 7)):
        scores = StreetScores()
        assert not scores.suspects_train_ids
        scores.update(label, make(label), instances)
        assert not scores.suspects_train_ids, "ids"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two frames of the special street."""
    for number in range(2):
        write_frame(tmp_path, number, *street())
    return tmp_path / "gt", tmp_path / "predictions"


def test_predictions_are_found(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In any folder, with anything after the frame's number."""
    gt, predictions = folders
    (predictions / "deep" / "er").mkdir(parents=True)
    (predictions / "town_000001_000019_result.png").rename(predictions / "deep" / "er" / "town_000001_000019.png")
    (predictions / "town_000000_000019_result.txt").write_text("no image")
    (predictions / "town_000002_000019_result.png").write_text("of no frame")
    frames = find_frames(gt, predictions)
    assert [frame[1].name for frame in frames] == ["town_000000_000019_result.png", "town_000001_000019.png"]
    monkeypatch.setattr(official.args, "predictionPath", str(predictions))
    monkeypatch.setattr(official.args, "predictionWalk", None)
    assert [official.getPrediction(official.args, str(frame[0])) for frame in frames] == [str(f[1]) for f in frames]
    assert score_folders(gt, predictions).matrix.sum() == 2 * 24 * 32


def test_missing_and_double_files(folders: tuple[Path, Path], tmp_path: Path) -> None:
    gt, predictions = folders
    missing = partial(refused, error=FileNotFoundError)
    missing("nowhere: expected a folder, found nothing", find_frames, gt, tmp_path / "nowhere")
    missing(r"CITY_NUMBER_NUMBER_gtFine_labelIds\.png, found none", find_frames, predictions, predictions)
    (predictions / "town_000001_000019_again.png").write_bytes(b"")
    refused(r"expected one prediction town_000001_000019\*\.png, found .*_again.*_result", find_frames, *folders)
    (predictions / "town_000001_000019_again.png").unlink()
    (predictions / "town_000001_000019_result.png").unlink()
    missing(r"expected a prediction town_000001_000019\*\.png for .*000001.*found none", find_frames, *folders)
    (gt / "town_000000_000019_gtFine_instanceIds.png").unlink()
    missing(r"town_000000_000019_gtFine_instanceIds\.png: no such file", find_frames, *folders)
    (gt / "a_labelIds.png").write_bytes(b"")
    refused(r"a_labelIds\.png: expected a name such as", find_frames, *folders)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_with_a_wrong_content(folders: tuple[Path, Path], workers: int) -> None:
    gt, predictions = folders
    path = predictions / "town_000001_000019_result.png"
    whole, label = path.read_bytes(), street()[0].astype(np.uint8)
    Image.fromarray(label % 2).save(few := BytesIO(), "PNG", bits=4)
    size = "_result.png: expected 32 x 24, the size of town_000001_000019_gtFine_labelIds.png, found 32 x 23"
    for content, message in (
        (label[:-1], size),
        (np.stack([label] * 3, 2), "_result.png: an image of mode RGB; expected one id for each pixel"),
        (label * 0 + 255, "_result.png: prediction_ids: expected ids, .*are these trainIds"),
        (whole[: len(whole) // 2], "_result.png: not an image that can be read"),
        (whole[:-20] + bytes([whole[-20] ^ 255]) + whole[-19:], "_result.png: not an image that can be read"),
        (b"", "_result.png: not an image that can be read"),
        (few.getvalue(), "_result.png: 4 bits of grey, which may be ids or shades; expected 8"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
        refused(message, score_folders, gt, predictions, workers)
    path.write_bytes(whole)
    Image.new("I;16", (32, 23)).save(gt / "town_000001_000019_gtFine_instanceIds.png")
    with pytest.raises(ValueError, match=r"_gtFine_instanceIds\.png: expected 32 x 24, .*labelIds\.png, found 32 x 23"):
        score_folders(gt, predictions, workers)
    refused("workers: expected at least 1, found 0", score_folders, gt, predictions, workers=0)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {"format": "PNG", "transparency": ROAD}),  # decodes to two planes elsewhere
        ("P", {"format": "PNG"}),
        ("I;16", {"format": "PNG"}),
        ("L", {"format": "TIFF"}),
        ("L", {"format": "BMP"}),
    ],
)
def test_images_of_other_kinds(folders: tuple[Path, Path], mode: str, options: dict[str, object]) -> None:
    gt, predictions = folders
    for path in predictions.iterdir():
        ids = np.array(Image.open(path))
        image = Image.fromarray(ids.astype(np.uint16) if mode == "I;16" else ids)
        if mode == "P":
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        image.save(path, **options)
        assert Image.open(path).mode == mode
    assert_equal(score_folders(gt, predictions), official_scores(find_frames(gt, predictions)))


def test_command(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "scores.json"
    main(["score-cityscapes", *map(str, folders), "--output", str(output), "--workers", "2"])
    scores = score_folders(*folders)
    result = scores.compute()
    assert json.loads(output.read_text()) == {**result.to_dict(), "matrix": scores.matrix.tolist()}
    rows = {line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if "  " in line}
    assert rows["person"] == [f"{result.iou['person']:.3f}", f"{result.iiou['person']:.3f}"]
    assert rows["road"] == [f"{result.iou['road']:.3f}", "-"] and rows["bus"] == ["-", "-"]
    assert rows["human"] == [f"{result.category_iou['human']:.3f}", f"{result.category_iiou['human']:.3f}"]
    assert rows["mean"] == [f"{result.category_miou:.3f}", f"{result.category_miiou:.3f}"], "the second of two"
    assert result.to_dict()["iou"]["bus"] is None


def test_command_does_without_torch(folders: tuple[Path, Path]) -> None:
    """To import it takes longer than to score twenty frames."""
    code = (
        "import sys; from pathlib import Path; from seglib.metrics.cityscapes import score_cityscapes;"
        "score_cityscapes(*map(Path, sys.argv[1:])); assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, *map(str, folders)]
    assert "vehicle" in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
