"""Cityscapes' scores against its own evaluation script, on files that both read; and what is said of wrong files."""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS
from seglib.metrics.cityscapes_scores import find_frames, main, score_folders, score_frame
from seglib.metrics.street_scores import StreetResult, StreetScores

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
    for number, (label, prediction, instances) in enumerate(frames):
        write_frame(folder, number, label, prediction, instances)
        scores.update(label, prediction, instances)
    found = find_frames(folder / "gt", folder / "predictions")
    expected = official_scores(found)
    for frame, arrays_ in zip(found, frames, strict=True):
        one = StreetScores()
        one.update(*arrays_)
        for other in (score_frame(frame), *(score_frame(frame, folder / "cache") for _ in range(2))):
            assert np.array_equal(other.matrix, one.matrix)
            assert np.array_equal(other.instances, one.instances)
            assert np.array_equal(other.category_instances, one.category_instances)
    from_files = StreetScores()
    for frame in found:
        from_files.merge(score_frame(frame))
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


@pytest.fixture(scope="module")
def toy_predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for the toy streets' twelve val frames, in one folder."""
    folder, rng = tmp_path_factory.mktemp("predictions"), np.random.default_rng(0)
    for path in sorted((TOY / "val").rglob("*_labelIds.png")):
        name = path.name.replace("_gtFine_labelIds", "_pred")
        Image.fromarray(worsened(np.array(Image.open(path)), rng)).save(folder / name)
    return folder


def test_toy_streets_score_as_by_the_script(toy_predictions: Path) -> None:
    frames = find_frames(TOY / "val", toy_predictions)
    assert len(frames) == 12
    scores = score_folders(TOY / "val", toy_predictions)
    result = assert_equal(scores, official_scores(frames))
    assert not any(math.isnan(value) for value in [*result.iou.values(), *result.iiou.values()])
    assert list(result.category_iiou) == ["human", "vehicle"] and len(result.iou) == 19 and len(result.iiou) == 8


def test_processes_change_no_bit(toy_predictions: Path) -> None:
    one, two = (score_folders(TOY / "val", toy_predictions, workers=workers) for workers in (1, 2))
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(two, name)), name


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
    result = check(tmp_path, [street()])
    assert 0 < result.iiou["person"] < result.iou["person"], "the crowd counts for the IoU alone"
    assert result.category_iiou["human"] > result.iiou["rider"], "a rider taken for a person is human"


@pytest.mark.parametrize("value", [0, 1, ROAD, CAR, CARAVAN, 33])
def test_prediction_of_one_id(tmp_path: Path, value: int) -> None:
    label, _, instances = street()
    check(tmp_path, [(label, np.full_like(label, value), instances)])


def test_all_ignored(tmp_path: Path) -> None:
    label, prediction, _ = street()
    ignored = np.full_like(label, 3)
    result = check(tmp_path, [(ignored, prediction, ignored)])
    assert all(math.isnan(value) for value in [result.miou, result.miiou, *result.iou.values(), result.category_miou])


def test_perfect_prediction(tmp_path: Path) -> None:
    label, _, instances = street()
    result = check(tmp_path, [(label, label, instances)])
    assert result.miou == result.miiou == result.category_miou == result.category_miiou == 1
    assert math.isnan(result.iou["bus"]) and math.isnan(result.iiou["bus"]), "absent"


def test_predicted_but_absent_counts_as_zero(tmp_path: Path) -> None:
    label, prediction, instances = street()
    label[label == BICYCLE] = instances[instances == 33000] = ROAD
    result = check(tmp_path, [(label, prediction, instances)])
    assert result.iou["bicycle"] == result.iiou["bicycle"] == 0


def test_instances_that_contradict_the_labels(tmp_path: Path) -> None:
    """A vehicle's plate, a bad edit: each score reads its own file."""
    label, prediction, instances = street()
    instances[0:3, 10:20], instances[14:16, 26:30], label[14:16, 26:30] = 24007, BICYCLE, CAR
    check(tmp_path, [(label, prediction, instances)])


def test_ids_up_to_a_thousand_are_no_instances(tmp_path: Path) -> None:
    label, prediction, instances = street()
    instances[0, 10:14] = (34, 999, 1000, 1001)  # 1001 would be an ego vehicle, which is ignored
    check(tmp_path, [(label, prediction, instances)])


def test_frames_add_up_and_instances_do_not_meet(tmp_path: Path) -> None:
    """The same instanceId in two frames is two instances."""
    label, prediction, instances = street()
    mirrored = tuple(np.ascontiguousarray(plane[:, ::-1]) for plane in (label, np.full_like(label, CAR), instances))
    check(tmp_path, [(label, prediction, instances), mirrored, (label, label, instances)])


IDS = st.sampled_from([0, 3, ROAD, BUILDING, PERSON, RIDER, CAR, CARAVAN, BICYCLE])
INSTANCES = st.sampled_from([ROAD, PERSON, 999, 1000, 24000, 24001, 25000, 26000, 26001, 26999, 29001, 33002, 5001])


@settings(max_examples=40)
@given(st.data())
def test_random_ids(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    planes = [arrays(np.int64, shape, elements=elements) for elements in (IDS, IDS, INSTANCES)]
    frames = data.draw(st.lists(st.tuples(*planes), min_size=1, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), frames)


def test_instances_that_cross_pieces() -> None:
    """A frame is read in pieces of some rows, and an instance may lie in all of them."""
    rng = np.random.default_rng(0)
    label = np.repeat(rng.integers(24, 26, (1, 200)), 900, 0)
    instances, prediction = label * 1000 + 1, np.where(rng.random(label.shape) < 0.5, label, ROAD)
    scores = StreetScores()
    scores.update(label, prediction, instances)
    sizes = {24: 3462.4756337644, 25: 3930.4788056518}
    for value, size in sizes.items():
        right = (prediction == label)[label == value].mean()
        assert scores.instances[value] == pytest.approx([right * size, (1 - right) * size])
    assert np.array_equal(scores.instances, scores.category_instances)


# --- arrays that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "value", "message"),
    [
        (0, 34, r"label_ids: expected ids, 0 to 33, found \[34\]$"),
        (0, -1, r"label_ids: expected ids, 0 to 33, found \[-1\]$"),
        (0, 255, r"label_ids: .* found \[255\]; 255 is void among trainIds: are these trainIds\?"),
        (1, 34, r"prediction_ids: expected ids, 0 to 33, found \[34\]$"),
        (1, 255, r"prediction_ids: .*are these trainIds\? `seglib\.cityscapes_labels\.train_ids_to_ids`"),
        (2, 34000, r"instance_ids: .* found \[34000\]"),
        (
            2,
            7001,
            r"instance_ids: expected ids, or id \* 1000 \+ k for the classes that have instances; found \[7001\]",
        ),
    ],
)
def test_impossible_values(which: int, value: int, message: str) -> None:
    planes, scores = street(), StreetScores()
    planes[which][5, 5] = value
    with pytest.raises(ValueError, match=message):
        scores.update(*planes)
    assert not scores.matrix.any() and not scores.instances.any()


def test_wrong_shapes_and_types() -> None:
    label, prediction, instances = street()
    scores = StreetScores()
    with pytest.raises(
        ValueError, match=r"prediction_ids: expected the shape of label_ids, \(24, 32\), found \(24, 31\)"
    ):
        scores.update(label, prediction[:, 1:], instances)
    with pytest.raises(TypeError, match="instance_ids: expected integers, found float64"):
        scores.update(label, prediction, instances.astype(float))
    scores.update(*(np.zeros((0, 5), np.uint8),) * 3)
    assert not scores.matrix.any()


# --- trainIds --------------------------------------------------------------------------------------------------------


def as_train_ids(label: np.ndarray) -> np.ndarray:
    """Ids to trainIds; what has none becomes 0, as an argmax over 19 classes never says void."""
    table = np.array([row.train_id % 255 for row in CITYSCAPES_LABELS[:34]])
    return table[label]


def test_predictions_left_as_train_ids_are_noticed(tmp_path: Path) -> None:
    """The script scores them without a word, as nearly nothing; so do the counts, which say what they suspect."""
    label, _, instances = street()
    result = check(tmp_path, [(label, as_train_ids(label), instances)])
    assert result.miou < 0.05
    with pytest.raises(ValueError, match=r"predictions: holds no id above 18, .*are these trainIds\?"):
        score_folders(tmp_path / "gt", tmp_path / "predictions")


@pytest.mark.parametrize(
    "make", [lambda label: label, lambda label: label * 0, lambda label: np.where(label > 18, 0, 7)]
)
def test_ids_are_not_suspected(make: object) -> None:
    label, _, instances = street()
    scores = StreetScores()
    scores.update(label, make(label), instances)
    assert not scores.suspects_train_ids
    assert not StreetScores().suspects_train_ids


# --- files that are wrong --------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two frames of the special street."""
    for number in range(2):
        write_frame(tmp_path, number, *street())
    return tmp_path / "gt", tmp_path / "predictions"


def test_predictions_are_found_as_the_script_finds_them(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any folder, with anything behind the frame's number."""
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
    with pytest.raises(FileNotFoundError, match="nowhere: expected a folder, found nothing"):
        find_frames(gt, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"expected files CITY_NUMBER_NUMBER_gtFine_labelIds\.png, found none"):
        find_frames(predictions, predictions)
    (predictions / "town_000001_000019_again.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected one prediction town_000001_000019\*\.png, found .*_again.*_result"):
        find_frames(gt, predictions)
    (predictions / "town_000001_000019_again.png").unlink()
    (predictions / "town_000001_000019_result.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"expected a prediction town_000001_000019\*\.png for .*000001.*found none"
    ):
        find_frames(gt, predictions)
    (gt / "town_000000_000019_gtFine_instanceIds.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"town_000000_000019_gtFine_instanceIds\.png: no such file"):
        find_frames(gt, predictions)
    (gt / "a_labelIds.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a_labelIds\.png: expected a name such as"):
        find_frames(gt, predictions)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_with_a_wrong_content(folders: tuple[Path, Path], workers: int) -> None:
    gt, predictions = folders
    path = predictions / "town_000001_000019_result.png"
    whole, label = path.read_bytes(), street()[0].astype(np.uint8)
    for content, message in (
        (
            label[:-1],
            "_result.png: expected 32 x 24, the size of town_000001_000019_gtFine_labelIds.png, found 32 x 23",
        ),
        (np.stack([label] * 3, 2), "_result.png: an image of mode RGB; expected one id for each pixel"),
        (label * 0 + 255, "_result.png: prediction_ids: expected ids, .*are these trainIds"),
        (whole[: len(whole) // 2], "_result.png: not an image that can be read"),
        (whole[:-20] + bytes([whole[-20] ^ 255]) + whole[-19:], "_result.png: not an image that can be read"),
        (b"", "_result.png: not an image that can be read"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
        with pytest.raises(ValueError, match=message):
            score_folders(gt, predictions, workers)
    with pytest.raises(ValueError, match="workers: expected at least 1, found 0"):
        score_folders(gt, predictions, workers=0)


def test_palette_images_hold_ids(folders: tuple[Path, Path]) -> None:
    gt, predictions = folders
    before = score_folders(gt, predictions)
    for path in predictions.iterdir():
        image = Image.fromarray(np.array(Image.open(path)))
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        image.save(path)
    assert Image.open(path).mode == "P"
    assert np.array_equal(score_folders(gt, predictions).matrix, before.matrix)


@pytest.mark.parametrize(
    ("as_mode", "options"),
    [
        ("L", {"format": "PNG", "bits": 4}),  # shades of 4 bits: 1 is 17 of 255
        ("L", {"format": "PNG", "transparency": ROAD}),  # decodes to two planes elsewhere
        ("I;16", {"format": "PNG"}),
        ("L", {"format": "TIFF"}),
        ("L", {"format": "BMP"}),
    ],
)
def test_images_of_other_kinds_are_read_as_by_the_script(
    folders: tuple[Path, Path], as_mode: str, options: dict[str, object]
) -> None:
    gt, predictions = folders
    for path in predictions.iterdir():
        ids = np.array(Image.open(path))
        ids = np.minimum(ids, 1) if "bits" in options else ids
        Image.fromarray(ids.astype(np.uint16) if as_mode == "I;16" else ids).save(path, **options)
        assert Image.open(path).mode == as_mode
    assert_equal(score_folders(gt, predictions), official_scores(find_frames(gt, predictions)))


# --- the cache -------------------------------------------------------------------------------------------------------


def assert_same(first: StreetScores, second: StreetScores) -> None:
    for name, value in vars(first).items():
        assert np.array_equal(value, getattr(second, name)), name


@pytest.mark.parametrize("workers", [1, 2])
def test_cached_ground_truth_is_not_decoded_again(folders: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    gt, predictions = folders
    cache = tmp_path / "new" / "cache"
    expected = score_folders(gt, predictions)
    for _ in range(2):
        assert_same(score_folders(gt, predictions, workers, cache=cache), expected)
    assert len(list(cache.iterdir())) == 2
    for path in gt.iterdir():  # size and time stay: only what does not decode goes on without a word
        status = path.stat()
        path.write_bytes(path.read_bytes()[:60] + bytes(status.st_size - 60))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match="not an image that can be read"):
        score_folders(gt, predictions)
    assert_same(score_folders(gt, predictions, workers, cache=cache), expected)


@pytest.mark.parametrize("kind", ["labelIds", "instanceIds"])
def test_changed_ground_truth_is_decoded_again(folders: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    gt, predictions = folders
    path = gt / f"town_000001_000019_gtFine_{kind}.png"
    plane = np.array(Image.open(path))
    path.write_bytes(path.read_bytes().ljust(2000, b"\0"))  # bytes behind a PNG's end are not read
    before = score_folders(gt, predictions, cache=tmp_path / "cache")
    status = path.stat()
    plane[15, 15] = BUILDING
    Image.fromarray(plane).save(path)
    path.write_bytes(path.read_bytes().ljust(2000, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed = score_folders(gt, predictions)
    assert_same(score_folders(gt, predictions, cache=tmp_path / "cache"), changed)
    assert not (np.array_equal(before.matrix, changed.matrix) and np.array_equal(before.instances, changed.instances))
    with Image.open(path) as image:
        image.crop((0, 0, 32, 23)).save(path)
    with pytest.raises(
        ValueError, match=r"_gtFine_instanceIds\.png: expected .* the size of .*labelIds.png, found 32 x 2"
    ):
        score_folders(gt, predictions, cache=tmp_path / "cache")


def test_damaged_cache_files_are_written_anew(folders: tuple[Path, Path], tmp_path: Path) -> None:
    gt, predictions = folders
    cache = tmp_path / "cache"
    expected = score_folders(gt, predictions, cache=cache)
    path = sorted(cache.iterdir())[1]
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:-40], b"\x93NUMPY" + bytes(100)):
        path.write_bytes(content)
        assert_same(score_folders(gt, predictions, cache=cache), expected)
        assert path.read_bytes() == whole
    np.save(path, np.zeros(5))
    assert_same(score_folders(gt, predictions, cache=cache), expected)
    runs = np.load(path)
    np.save(path, runs[:-1])
    assert_same(score_folders(gt, predictions, cache=cache), expected)
    assert path.read_bytes() == whole and len(list(cache.iterdir())) == 2, "no part of a file is left"


def test_wrong_predictions_are_seen_with_a_cache(folders: tuple[Path, Path], tmp_path: Path) -> None:
    gt, predictions = folders
    score_folders(gt, predictions, cache=tmp_path / "cache")
    Image.new("L", (32, 23)).save(predictions / "town_000001_000019_result.png")
    with pytest.raises(
        ValueError, match=r"_result\.png: expected 32 x 24, the size of town.*labelIds.png, found 32 x 23"
    ):
        score_folders(gt, predictions, cache=tmp_path / "cache")


# --- command line ----------------------------------------------------------------------------------------------------


def test_command_prints_the_tables_and_writes_json(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "scores.json"
    main([*map(str, folders), "--output", str(output), "--cache", str(tmp_path / "cache")])
    assert len(list((tmp_path / "cache").iterdir())) == 2
    scores = score_folders(*folders)
    result = scores.compute()
    assert json.loads(output.read_text()) == {**result.to_dict(), "matrix": scores.matrix.tolist()}
    rows = {line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if "  " in line}
    assert rows["person"] == [f"{result.iou['person']:.3f}", f"{result.iiou['person']:.3f}"]
    assert rows["road"] == [f"{result.iou['road']:.3f}", "-"] and rows["bus"] == ["-", "-"]
    assert rows["human"] == [f"{result.category_iou['human']:.3f}", f"{result.category_iiou['human']:.3f}"]
    assert rows["mean"] == [f"{result.category_miou:.3f}", f"{result.category_miiou:.3f}"], "the second of two"
    assert result.to_dict()["iou"]["bus"] is None


def test_command_is_short_about_errors(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "gone"), str(tmp_path)])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone'}: expected a folder, found nothing\n"


def test_command_does_without_torch() -> None:
    """To import it takes longer than to score twenty frames."""
    code = "import seglib.metrics.cityscapes_scores, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
