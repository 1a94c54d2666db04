"""Folders that the code has not seen, from raw pictures and masks to an ONNX file that runs, through commands only."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusal import refused
from small_set import SMALL, write_recipe

from seglib.files import PROJECT

RECIPE = SMALL.replace(
    data="folder", train_split="train", model="unet", output_stride=4, iterations=60, normalisation="measured"
)
COLOURS = {"earth": (90, 60, 30), "beet": (0, 200, 30), "weed": (250, 250, 0)}
MASK_COLOURS = np.array([*COLOURS.values()], np.uint8)


def draw(number: int) -> np.ndarray:
    """Draws a label of three classes, 36 x 52."""
    label = np.zeros((36, 52), np.uint8)
    label[5 : 20 + number, 4:20] = 1
    label[9:30, 25 : 38 + number] = 2
    return label


def save_raw(root: Path) -> None:
    """Phone pictures that lie on their side; palettes whose order differs; names as people give them."""
    for number in range(6):
        label, rng = draw(number), np.random.default_rng(number)
        place = Path("train" if number < 4 else "val") / f"Beet {number}.März"
        picture = MASK_COLOURS[label] // 2 + rng.integers(0, 90, (*label.shape, 3), dtype=np.uint8)
        order, tag = rng.permutation(3), Image.Exif()
        tag[0x0112] = 8  # shown after a quarter turn to the left
        mask = Image.fromarray(np.argsort(order).astype(np.uint8)[label])
        mask.putpalette(MASK_COLOURS[order].tobytes())
        for kind in ("images", "masks"):
            (root / kind / place).parent.mkdir(parents=True, exist_ok=True)
        stored = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_270)
        stored.save(f"{root}/images/{place}.JPG", exif=tag, quality=95)
        mask.save(f"{root}/masks/{place}_label.PNG")
    (root / "images" / "train" / "Thumbs.db").touch()


def use_elsewhere(network: Path, picture: Path, mask: Path) -> str:
    """Runs the script that knows nothing of seglib."""
    line = [sys.executable, PROJECT / "tools" / "use_onnx.py", network, picture, mask]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=300).stdout


def show(path: Path) -> np.ndarray:
    """Reads the colours of a mask."""
    return np.array(Image.open(path).convert("RGB"))


def test_from_raw_masks_to_a_network_elsewhere(tmp_path: Path, command: Callable) -> None:
    raw, folder, run = tmp_path / "raw", tmp_path / "mine", tmp_path / "run"
    save_raw(raw)
    assert "6 masks, palette" in command("convert-masks", raw, folder)
    text = (folder / "classes.toml").read_text()
    for entry in tomllib.loads(text)["classes"]:  # as its reader would: the names by the colours
        name = next(name for name, colour in COLOURS.items() if [*colour] == entry["colour"])
        text = text.replace(f'"{entry["name"]}"', f'"{name}"')
    (folder / "classes.toml").write_text(text)
    assert "6 pictures; faults: 0" in command("check-folder", folder)
    recipe = write_recipe(tmp_path / "recipe.toml", RECIPE)
    command("train", recipe, "--run-dir", run, "--data-root", folder)
    result = json.loads((run / "result.json").read_text())
    assert sorted(result["classes"]) == sorted(COLOURS) and min(result["scores"]["iou"]) > 0.8
    found = command("score", run / "checkpoint.pt", "--data-root", folder)
    assert f"mIoU {result['scores']['miou']:.4f}" in found
    picture = raw / "images" / "val" / "Beet 5.März.JPG"
    command("predict", run / "checkpoint.pt", picture, "--output", tmp_path / "masks")
    command("export", run / "checkpoint.pt", tmp_path / "network.onnx")
    assert "earth" in use_elsewhere(tmp_path / "network.onnx", picture, tmp_path / "mask.png")
    here, elsewhere = show(tmp_path / "masks" / "Beet 5.März.png"), show(tmp_path / "mask.png")
    assert here.shape == (36, 52, 3) and (here == MASK_COLOURS[draw(5)]).all(axis=2).mean() > 0.9
    assert (here == elsewhere).all(axis=2).mean() > 0.99


@pytest.mark.parametrize(("channels", "deep"), [(1, False), (3, True)])
def test_grey_and_deep_pictures_are_read_alike(tmp_path: Path, channels: int, deep: bool, command: Callable) -> None:
    folder, run, network = tmp_path / "mine", tmp_path / "run", tmp_path / "network.onnx"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    table = "".join(f'[[classes]]\nname = "{name}"\n' for name in COLOURS)
    lead = f"in_channels = {channels}\n" + "pixel_range = [100, 40000]\n" * deep
    (folder / "classes.toml").write_text(lead + table)
    for number in range(6):
        label, rng = draw(number), np.random.default_rng(number)
        grey = label * 80 + rng.integers(0, 50, label.shape)
        picture = Image.fromarray((100 + grey * 150).astype(np.uint16) if deep else grey.astype(np.uint8))
        picture.save(folder / "images" / f"{number}.png")
        Image.fromarray(label).save(folder / "masks" / f"{number}.png")
    recipe = write_recipe(tmp_path / "recipe.toml", RECIPE.replace(in_channels=channels))
    train = ["train", recipe, "--run-dir", run, "--data-root", folder]
    command(*train)
    result = json.loads((run / "result.json").read_text())
    assert min(result["scores"]["iou"]) > 0.5
    own, other = run / "checkpoint.pt", tmp_path / "weights.safetensors"
    command("export", own, other)
    for checkpoint in (own, other):
        masks, score = tmp_path / checkpoint.stem, ["score", checkpoint, "--data-root", folder]
        assert f"mIoU {result['scores']['miou']:.4f}" in command(*score)
        command("predict", checkpoint, folder / "images", "--output", masks)
        assert np.mean([np.array(Image.open(masks / f"{n}.png")) == draw(n) for n in range(6)]) > 0.9
    command("export", own, network)
    use_elsewhere(network, folder / "images" / "3.png", tmp_path / "mask.png")
    assert (show(tmp_path / "mask.png") == show(tmp_path / "checkpoint" / "3.png")).mean() > 0.99
    # pictures that are read otherwise
    (folder / "classes.toml").write_text((lead + table).replace("40000", "50000") if deep else table)
    found = r"pixel_range = \(100.*50000.*\); expected .*40000" if deep else "of 3 channels, .*; expected 1"
    refused(found, command, *score, error=SystemExit)
    changed = r"pixel_range = \[100.*40000.*\] there, \[100.*50000.*\] here" if deep else r"\(36, 52, 3\); expected"
    refused(changed, command, *train, error=SystemExit)
    swapped = (lead + table).replace("beet", "?").replace("weed", "beet").replace("?", "weed")
    (folder / "classes.toml").write_text(swapped)
    refused("other classes .earth, beet, weed there, earth, weed, beet here", command, *train, error=SystemExit)
    refused("classes are earth, weed, beet; those of .* are earth, beet", command, *score, error=SystemExit)
    Image.new("RGB" if deep else "I;16", (52, 36)).save(tmp_path / "wrong.png")
    predict = ["predict", own, tmp_path / "wrong.png", "--output", tmp_path / "masks"]
    refused(r"wrong\.png: .*bits a channel", command, *predict, error=SystemExit)


def test_the_cure_for_smoothed_masks_makes_masks_that_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable
) -> None:
    colours = np.array([[0, 0, 0], [220, 20, 60], [0, 160, 60]], np.uint8)
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for number in range(6):
        drawn = Image.fromarray(colours[draw(number)])
        drawn.save(tmp_path / "mine" / "images" / f"{number}.png")
        large = drawn.resize((520, 360), Image.Resampling.NEAREST)
        smooth = large.resize((52, 36), Image.Resampling.LANCZOS, box=(3, 3, 517, 357))
        smooth.save(tmp_path / "mine" / "masks" / f"{number}.png")
    check = ["check-folder", tmp_path / "mine", "--write"]
    refused(r"different values or colours; .*data/README\.md has a cure", command, *check, error=SystemExit)
    monkeypatch.chdir(tmp_path)
    _, _, rest = (PROJECT / "data" / "README.md").read_text(encoding="utf-8").partition("```python\nfrom pathlib")
    exec("from pathlib" + rest.partition("```")[0], {})
    assert "faults: 0" in command(*check)
    label = np.array(Image.open(tmp_path / "mine" / "masks" / "3.png"))
    assert 0 < (label == 255).mean() < 0.2 and (label == draw(3))[label != 255].mean() > 0.98
