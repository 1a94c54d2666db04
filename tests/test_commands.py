"""The command line: every command tells what it does, and what a user can mend ends it with one line."""

import functools
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from small_set import SMALL, TRAIN, make_trainer, write_recipe, write_small_set
from torch import nn

from seglib import diagnose
from seglib.__main__ import COMMANDS, _load, main
from seglib.data import ToyCityscapes, ToyVOC, cityscapes_palette, voc_palette
from seglib.data.transforms import IMAGENET, UNIT
from seglib.metrics.cityscapes_labels import train_ids_to_ids
from seglib.predict import Scoring, evaluate, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run
from seglib.zoo import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent
SCORED = {"eval_scales": (0.5, 1.0), "eval_flip": True, "eval_output_stride": 8, "eval_window": (72, 96)}


def refusal(*arguments: str | Path) -> str:
    """The message of a command that ends with one line."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    message = stopped.value.code
    assert isinstance(message, str) and message.startswith("error: ") and "\n" not in message
    return message.removeprefix("error: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_docstring(name: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert not stopped.value.code
    out = capsys.readouterr().out
    function = _load(name)
    summary, _, described = inspect.getdoc(function).partition("Args:")
    assert f"python -m seglib {name}" in out and summary.splitlines()[0] in out
    for parameter in inspect.signature(function).parameters.values():
        if is_dataclass(parameter.default):
            for field in fields(parameter.default):
                found = out.partition(f"--{field.name.replace('_', '-')} ")[2].partition("(default:")[0]
                assert re.search(r"[a-z]+ [a-z].*\.\s*$", found), f"{field.name} not described"
            continue
        assert parameter.kind is not parameter.POSITIONAL_OR_KEYWORD, "an argument that the line would want as a flag"
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert f"--{parameter.name.replace('_', '-')}" in out
        line = next(line for line in described.splitlines() if line.strip().startswith(f"{parameter.name}:"))
        assert line.split(": ", 1)[1].split(" (")[0] in out, "not described"


@pytest.mark.parametrize("document", ["README.md", "data/README.md", "docs/instructors.md", "docs/results.md"])
def test_commands_of_the_documents_can_be_read(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def unrun(name: str) -> Callable[..., None]:
        return functools.wraps(_load(name))(lambda *_, **__: read.append(name))

    monkeypatch.setattr("seglib.__main__._load", unrun)
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = re.findall(r"(?<=`|!)python -m seglib ([a-z-]+ [^`]*)`", text)
    lines += re.findall(r"(?m)^(?: {4}|\.venv/bin/|)python -m seglib ([^#\n]*)", text)
    for line in lines:
        main(shlex.split(line))
    assert lines and read == [line.split()[0] for line in lines]


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 0), (["trian"], 1)])
def test_all_commands_are_listed(arguments: list[str], status: int, capsys: pytest.CaptureFixture) -> None:
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert err == ("no command 'trian'\n" if status else "")
    for name in COMMANDS:
        assert f"  {name:17} {_load(name).__doc__.splitlines()[0]}\n" in out


@pytest.mark.parametrize("workers", ["0", "1"])
def test_train_prints_the_result_or_the_message(workers: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, recipe = write_small_set(tmp_path / "data"), write_recipe(tmp_path / "r.toml", SMALL.replace(iterations=2))
    command = ["train", recipe, "--data-root", data, "--workers", workers, "--seed", "3", "--run-dir"]
    main([*map(str, command), str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    printed = capsys.readouterr().out
    assert f"mIoU {result['scores']['miou']:.4f} over " in printed
    assert f"{tmp_path / 'run' / 'result.json'}: these" in printed
    assert result["recipe"] == SMALL.replace(iterations=2, seed=3).changes()
    for name in TRAIN:
        (data / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg").write_bytes(b"cut")
    assert "jpg: not an image that can be read" in refusal(*command, tmp_path / "other")


def test_train_refuses_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGLIB_RUNS", str(tmp_path / "runs"))
    assert "nope.toml: no such recipe; the package has ['camvid_crop'" in refusal("train", "nope")
    recipe = tmp_path / "r.toml"
    recipe.write_text('backbone = "resnet19"')
    assert "r.toml: recipe: backbone = 'resnet19'; expected one of ['resnet18'" in refusal("train", recipe)
    write_recipe(recipe, SMALL)
    assert "expected a folder that holds VOCdevkit" in refusal("train", recipe, "--data-root", tmp_path)
    assert "recipe: seed = -1" in refusal("train", recipe, "--seed=-1")
    assert "--eval-every -1; expected a number of iterations" in refusal("train", recipe, "--eval-every=-1")
    assert not (tmp_path / "runs").exists()


def test_home_is_found_where_the_shell_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):  # USERPROFILE is Windows'
        monkeypatch.setenv(name, str(tmp_path))
    assert f"{tmp_path / 'gone.pt'}: no such file" in refusal("export", "~/gone.pt", "--labels", "~/x.onnx")
    assert f"{tmp_path / 'gone'}: no such file" in refusal("diagnose", "gone~", "--data=toy_voc", "--checkpoint=~/gone")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd", reason="Windows asks its environment only")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # as in a container with a --user of its own
    assert refusal("check-folder", "gone") == "gone: no such folder"


def test_another_python_is_told_which_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert "a Python without the package tyro; expected the course's: .venv/bin/python" in refusal("check-folder", ".")


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seglib.recipe.Recipe.load", interrupt)
    with pytest.raises(SystemExit) as raised:
        main(["train", "toy_voc"])
    assert raised.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of small runs whose networks find several classes in the first val image."""

    def run(recipe: Recipe) -> Path:
        trainer = make_trainer(recipe, tmp_path_factory.mktemp("run"), None).fit(until=1)  # does not score
        image = torch.from_numpy(trainer.val_set.read(0)[0])[None].permute(0, 3, 1, 2)
        classifier = trainer.model.eval().classifier
        torch.manual_seed(0)
        with torch.no_grad():
            torch.nn.init.normal_(classifier.weight)
            logits = trainer.model(trainer.normalisation(image), upsample=False)
            deviation, mean = torch.std_mean(logits, (0, 2, 3))
            classifier.bias.sub_(mean).div_(deviation)
            classifier.weight /= deviation[:, None, None, None]
        state = torch.load(trainer.checkpoint, weights_only=True)
        torch.save({**state, "model": trainer.model.state_dict()}, trainer.checkpoint)
        return trainer.checkpoint

    weights = tmp_path_factory.mktemp("smp") / "weights.pth"
    torch.save(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=9).state_dict(), weights)
    streets = SMALL.replace(data="toy_cityscapes", train_split="train")
    return {"voc": run(SMALL.replace(**SCORED)), "streets": run(streets), "smp": weights}


def as_the_command(model: nn.Module) -> nn.Module:
    """The network in the memory format in which the command runs it: sums in another order decide near ties anew."""
    return model.to(memory_format=torch.channels_last)


def predict(checkpoint: Path, image: Path, output: Path, *more: str) -> Image.Image:
    main(["predict", str(checkpoint), str(image), "--output", str(output), "--device", "cpu", *more])
    return Image.open(output / f"{image.stem}.png")


OPTIONS = "--scales 0.5 --flip False --output-stride 16 --window 64 80 --overlap 0.5 --normalisation unit --pad-to 200"


@pytest.mark.parametrize(
    ("options", "scoring", "normalisation"),
    [
        ("", Scoring((0.5, 1.0), True, 8, (72, 96)), IMAGENET),
        (OPTIONS, Scoring((0.5,), False, 16, (64, 80), 0.5, 200), UNIT),
    ],
)
def test_predict(runs: dict, tmp_path: Path, options: str, scoring: Scoring, normalisation: object) -> None:
    data = ToyVOC("val")
    mask = predict(runs["voc"], data.files[0][0], tmp_path / "new" / "masks", *options.split())
    model, image = as_the_command(load_run(runs["voc"])[0]), data.read(0)[0]
    expected = predict_image(model, image, normalisation, scoring)
    for changed in ({"scales": (1.0,)}, {"flip": not scoring.flip}, {"window": None}, {"overlap": 0.7}):
        assert (predict_image(model, image, normalisation, replace(scoring, **changed)) != expected).any(), changed
    assert mask.mode == "P" and np.array_equal(np.asarray(mask), expected)
    assert np.array_equal(np.asarray(mask.convert("RGB")), voc_palette()[expected])


def test_ids_and_colours_of_streets_and_other_libraries_weights(runs: dict[str, Path], tmp_path: Path) -> None:
    data = ToyCityscapes("val")
    expected = predict_image(as_the_command(load_run(runs["streets"])[0]), data.read(0)[0])
    ids = predict(runs["streets"], data.files[0][0], tmp_path / "ids", "--ids")
    assert ids.mode == "L" and np.array_equal(np.asarray(ids), train_ids_to_ids(expected))
    colours = predict(runs["streets"], data.files[0][0], tmp_path / "colours")
    assert np.array_equal(np.asarray(colours.convert("RGB")), cityscapes_palette()[expected])
    toy = ToyVOC("val")
    mask = predict(runs["smp"], toy.files[0][0], tmp_path, "--source", "smp", "--palette", "toy_voc")
    expected = predict_image(as_the_command(load_checkpoint(runs["smp"], "smp")), toy.read(0)[0])
    assert np.array_equal(np.asarray(mask), expected)


def test_predict_refuses_what_it_cannot_do(runs: dict[str, Path], tmp_path: Path) -> None:
    image = ToyVOC("val").files[0][0]
    output = ["--output", tmp_path / "masks", "--device", "cpu"]
    for arguments, message in (
        ([runs["voc"], image, "--ids"], "--ids: ids are Cityscapes'; the network's classes are background, house"),
        ([runs["voc"], image, "--palette", "voc"], "--palette: only for other libraries' weights"),
        ([runs["smp"], image, "--source", "smp", "--palette", "voc"], "voc has 21 classes; "),
        ([runs["smp"], image, "--source", "smp", "--palette", "x"], "recipe: data = 'x'; expected one of ['toy_voc'"),
        ([runs["voc"], image, "--overlay", "2"], "overlay = 2.0; expected an opacity"),
        ([runs["voc"], image, "--scales", "-1"], "scales = (-1.0,); expected"),
        ([runs["voc"], image, "--scales", "1", "nan"], "scales = (1.0, nan); expected finite numbers"),
        ([runs["voc"], image, "--scales", "inf"], "scales = (inf,); expected finite numbers"),
        ([runs["voc"], tmp_path / "gone.jpg"], "gone.jpg: no such file"),
        ([runs["smp"], image], "weights.pth: holds no recipe; expected the checkpoint.pt of a run"),
        ([runs["smp"], image, "--source", "smp"], "do not say what their classes are: expected --palette or --data"),
        ([tmp_path / "gone.pt", image], "gone.pt: no such file or folder"),
    ):
        assert message in refusal("predict", *arguments, *output)
    for device in ("gpu", "cuda:99"):
        told = refusal("predict", runs["voc"], image, *output[:2], "--device", device)
        assert f"--device {device}: expected cpu, or cuda where there is a GPU (" in told
    assert not list((tmp_path / "masks").glob("*")), "nothing is written then"


def test_a_run_folder_is_taken_for_its_checkpoint(runs: dict[str, Path], data: Path, tmp_path: Path) -> None:
    run, image = runs["voc"].parent, ToyVOC("val").files[0][0]
    masks = [np.asarray(predict(given, image, tmp_path / given.name)) for given in (run, runs["voc"])]
    assert np.array_equal(*masks)
    for given in (run, runs["voc"]):
        scored = [given, "--data-root", data, "--device", "cpu", "--output", tmp_path / f"{given.name}.json"]
        main(["score", *map(str, scored)])
        main(["export", str(given), str(tmp_path / f"{given.name}.safetensors")])
    for end in ("safetensors", "json"):
        first, second = ((tmp_path / f"{given.name}.{end}").read_text("latin-1") for given in (run, runs["voc"]))
        assert first.replace(str(run), "") == second.replace(str(runs["voc"]), "")
    assert str(diagnose.check(run=run)) == str(diagnose.check(run=runs["voc"])) != str(diagnose.check())
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "checkpoint.pt").touch()
    (tmp_path / "empty").mkdir()
    for given, found in (("runs", "found runs inside it, mine"), ("empty", "found nothing")):
        told = f"{given}: a folder without checkpoint.pt; expected a run's folder, or a file; {found}"
        assert told in refusal("predict", tmp_path / given, image, "--output", tmp_path / "masks")
        assert told in refusal("export", tmp_path / given, tmp_path / "x.safetensors")
    assert "x.pth: expected a file NAME.onnx, NAME.pt2 or NAME.safetensors" in refusal(
        "export", run, tmp_path / "x.pth"
    )
    with pytest.raises(OSError, match=r"a folder; expected a file of weights, such as .*checkpoint\.pt"):
        load_run(run)


def test_large_pictures_need_windows(runs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ToyCityscapes("val").files[0][0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "raise PIL.Image.MAX_IMAGE_PIXELS" in refusal("predict", runs["streets"], image, "--output", tmp_path)
    assert predict(runs["streets"], image, tmp_path, "--window", "99", "99").size == (512, 256)


def test_predict_tells_that_scores_were_of_squashed_pictures(
    runs: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state, image = torch.load(runs["streets"], weights_only=True), ToyCityscapes("val").files[0][0]
    torch.save({**state, "recipe": state["recipe"] | {"eval_squash": [64, 96]}}, tmp_path / "squashed.pt")
    assert predict(tmp_path / "squashed.pt", image, tmp_path).size == (512, 256)
    assert "squashed.pt: scored on pictures squashed to 64x96; here each has its own size" in capsys.readouterr().err


def test_score_on_any_list_and_of_masks(runs: dict, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    where = ["--data-root", data, "--split", "train", "--output", tmp_path / "new" / "scores.json"]

    def score(*arguments: str | Path) -> dict:
        main(["score", *map(str, (*arguments, *where))])
        return json.loads((tmp_path / "new" / "scores.json").read_text())

    areas = ["--areas", str(tmp_path / "areas.csv"), "--device", "cpu"]
    pictures, masks = data / "VOCdevkit" / "VOC2012" / "JPEGImages", tmp_path / "masks"
    main(["predict", str(runs["voc"]), str(pictures), "--output", str(masks), *areas])
    assert len([*masks.iterdir()]) == 16 and (tmp_path / "areas.csv").exists()
    network = score(runs["voc"], "--device", "cpu")
    model, dataset = as_the_command(load_run(runs["voc"])[0]), ToyVOC("train", data)
    matrix = evaluate(model, dataset, scoring=Scoring(**{k.removeprefix("eval_"): v for k, v in SCORED.items()}))
    assert network["confusion"] == matrix.matrix.tolist() and network["scoring"]["window"] == [72, 96]
    assert network["scores"]["miou"] == matrix.compute().miou
    assert [network["data"][key] for key in ("name", "split", "images")] == ["toy_voc", "train", 6]
    assert "over 8 of 9 classes" in capsys.readouterr().out
    assert score(runs["voc"], "--device", "cpu", "--scales", "1")["confusion"] != network["confusion"]
    assert score(masks, "--data", "toy_voc")["confusion"] == network["confusion"]
    other = score(runs["smp"], "--source", "smp", "--data", "toy_voc", "--device", "cpu")
    assert sum(map(sum, other["confusion"])) == sum(map(sum, network["confusion"]))
    for arguments, message in (
        ([masks], "so it is a folder of masks, which do not say what they are of"),
        ([masks, "--data", "toy_voc", "--scales", "2"], f"--scales: for a network; {masks} is a folder of masks"),
        ([runs["voc"], "--data", "toy_cityscapes"], "toy_cityscapes: its classes are road, sidewalk"),
        ([runs["smp"], "--source", "smp"], "expected --palette or --data"),
        ([masks, "--data", "toy_voc", "--split", "test"], "test"),
        ([tmp_path / "gone.pt"], "gone.pt"),
    ):
        assert message in refusal("score", *arguments, *([] if "toy_cityscapes" in arguments else where[:2]))


def test_as_a_program(runs: dict[str, Path], tmp_path: Path) -> None:
    image = ToyCityscapes("val").files[0][0]
    command = [sys.executable, "-m", "seglib", "predict", str(runs["streets"]), str(image), "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{tmp_path / image.stem}.png\n")


def test_the_package_without_the_course(data: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "seglib", tmp_path / "seglib", ignore=shutil.ignore_patterns("__pycache__"))
    recipe = SMALL.replace(iterations=1)
    file = write_recipe(tmp_path / "small.toml", recipe)
    program = "import sys; from seglib.__main__ import main; from seglib.files import runs_folder; " + "; ".join(
        (
            "main([])",
            "print(runs_folder())",
            "main(['train', sys.argv[1], '--data-root', sys.argv[2]])",
            "main(['train', 'toy_quick', '--run-dir', 'other'])",
        )
    )
    work = tmp_path / "work"
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("SEGLIB_DATA", "SEGLIB_RUNS")}
    done = subprocess.run(
        [sys.executable, "-c", program, file, data],
        cwd=work, env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert f"{work / 'runs'}\n" in done.stdout and (work / "runs" / recipe.name / "result.json").is_file(), done.stderr
    told = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and told.startswith(f"error: {tmp_path / 'data' / 'toy_voc'}: expected a folder")
    assert told.endswith("without the course's folder: clone that, and `pip install -e .` in it")
