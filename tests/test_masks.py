"""`python -m seglib.predict`: masks of image files, by a run's checkpoint or another library's weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from small_set import SMALL, write_small_set

from seglib.data import ToyCityscapes, ToyVOC, cityscapes_palette, voc_palette
from seglib.data.transforms import UNIT
from seglib.metrics.cityscapes import score_folders
from seglib.metrics.cityscapes_labels import train_ids_to_ids
from seglib.predict import evaluate, main, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run
from seglib.train.trainer import Trainer
from seglib.zoo import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent
SCORED = {"eval_scales": (0.5, 1.0), "eval_flip": True, "eval_output_stride": 8, "eval_window": (72, 96)}
VOC_RECIPE = SMALL.replace(iterations=2, **SCORED)
STREETS = SMALL.replace(data="toy_cityscapes", train_split="train", iterations=2)


def trained(recipe: Recipe, folder: Path) -> Trainer:
    return Trainer(recipe, folder, progress=False, device="cpu").fit(until=1)  # does not score the val list


def with_all_classes(run: Trainer) -> Trainer:
    """The run with a classifier, in its checkpoint too, that finds every class in the first image, not one for all."""
    image = torch.from_numpy(run.val_set.read(0)[0])[None].permute(0, 3, 1, 2)
    run.model.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        torch.nn.init.normal_(run.model.classifier.weight)
        logits = run.model(run.normalisation(image), upsample=False)
        deviation, mean = torch.std_mean(logits, (0, 2, 3))
        run.model.classifier.bias -= mean
        run.model.classifier.weight /= deviation[:, None, None, None]
        run.model.classifier.bias /= deviation
    content = torch.load(run.checkpoint, weights_only=True)
    torch.save({**content, "model": run.model.state_dict()}, run.checkpoint)
    return run


@pytest.fixture(scope="module")
def voc_run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return with_all_classes(trained(VOC_RECIPE, tmp_path_factory.mktemp("voc")))


@pytest.fixture(scope="module")
def street_run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return with_all_classes(trained(STREETS, tmp_path_factory.mktemp("streets")))


@pytest.fixture(scope="module")
def smp_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("smp") / "weights.pth"
    torch.save(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=5).state_dict(), path)
    return path


def run(checkpoint: Path, images: list[Path], output: Path, *more: str) -> list[Image.Image]:
    main([str(checkpoint), *map(str, images), "--output", str(output), "--device", "cpu", *more])
    return [Image.open(output / f"{image.stem}.png") for image in images]


def test_a_run_predicts_as_its_recipe_evaluates(
    voc_run: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = ToyVOC("val")
    files = [image for image, _ in data.files[:3]]
    masks = run(voc_run.checkpoint, files, tmp_path / "new" / "masks")
    assert capsys.readouterr().out.split() == [str(tmp_path / "new" / "masks" / f"{f.stem}.png") for f in files]
    voc_run.model.eval().set_output_stride(8)
    for index, mask in enumerate(masks):
        image = data.read(index)[0]
        expected = predict_image(voc_run.model, image, scales=(0.5, 1.0), flip=True, window=(72, 96))
        assert len(np.unique(expected)) > 3
        assert mask.mode == "P" and mask.size == image.shape[1::-1]
        assert np.array_equal(np.asarray(mask), expected)
        assert np.array_equal(np.asarray(mask.convert("RGB")), voc_palette()[expected])


def test_options_go_before_the_recipe(voc_run: Trainer, tmp_path: Path) -> None:
    data = ToyVOC("val")
    options = "--scales 1.0 --no-flip --output-stride 16 --window 64 80 --overlap 0.5 --normalisation unit --pad-to 200"
    mask = run(voc_run.checkpoint, [data.files[0][0]], tmp_path, *options.split())[0]
    voc_run.model.eval().set_output_stride(16)
    expected = predict_image(voc_run.model, data.read(0)[0], UNIT, window=(64, 80), overlap=0.5, pad_to=200)
    assert np.array_equal(np.asarray(mask), expected)
    for changed in ({"pad_to": None}, {"window": None}, {"overlap": 0.1}, {"flip": True}, {"scales": (0.5,)}):
        protocol = {"window": (64, 80), "overlap": 0.5, "pad_to": 200, **changed}
        assert not np.array_equal(expected, predict_image(voc_run.model, data.read(0)[0], UNIT, **protocol)), changed


def test_submissions_hold_ids(street_run: Trainer, tmp_path: Path) -> None:
    """What is written for a benchmark can be scored as it is."""
    data = ToyCityscapes("val")
    files = [image for image, _ in data.files]
    masks = run(street_run.checkpoint, files, tmp_path / "ids", "--ids")
    street_run.model.eval()
    expected = predict_image(street_run.model, data.read(0)[0])
    assert masks[0].mode == "L" and masks[0].size == (512, 256)
    assert np.array_equal(np.asarray(masks[0]), train_ids_to_ids(expected))
    scores = score_folders(ROOT / "data" / "toy_cityscapes" / "gtFine" / "val", tmp_path / "ids")
    by_train_ids = evaluate(street_run.model, data, batch_size=1).compute()
    assert list(scores.compute().iou.values()) == pytest.approx(by_train_ids.iou.tolist(), nan_ok=True)
    colours = run(street_run.checkpoint, files[:1], tmp_path / "colours")[0]
    assert np.array_equal(np.asarray(colours.convert("RGB")), cityscapes_palette()[expected])


def test_other_libraries_weights(smp_weights: Path, tmp_path: Path) -> None:
    data = ToyVOC("val")
    mask = run(smp_weights, [data.files[0][0]], tmp_path, "--source", "smp")[0]
    expected = predict_image(load_checkpoint(smp_weights, "smp"), data.read(0)[0])
    assert np.array_equal(np.asarray(mask), expected)


def test_an_early_stopped_run_gives_its_best_weights(tmp_path: Path) -> None:
    recipe = SMALL.replace(iterations=6, eval_every=2, patience=3)
    data = write_small_set(tmp_path / "data")
    trainer = Trainer(recipe, tmp_path / "run", data_root=data, progress=False, device="cpu").fit()
    best = torch.load(trainer.best, weights_only=True)
    key = "classifier.weight"
    best[key] = best[key] + 1
    torch.save(best, trainer.best)
    model, found = load_run(trainer.checkpoint)
    assert found == recipe and torch.equal(model.state_dict()[key], best[key]) and not model.training
    trainer.best.unlink()
    stored = torch.load(trainer.checkpoint, weights_only=True)["model"]
    assert torch.equal(load_run(trainer.checkpoint)[0].state_dict()[key], stored[key])


@pytest.mark.parametrize(
    ("model", "options"),
    [("deeplabv3", {}), ("unet", {"output_stride": 8}), ("fcn32s", {"output_stride": 32, "backbone": "vgg16"})],
)
def test_every_kind_of_network_is_read(tmp_path: Path, model: str, options: dict) -> None:
    recipe = SMALL.replace(model=model, iterations=2, **options)
    trainer = trained(recipe, tmp_path)
    trainer.best.write_bytes(b"of a recipe with patience alone")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    loaded, found = load_run(trainer.checkpoint)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
    assert found == recipe and loaded.num_classes == 9
    state = trainer.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def refusal(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_what_cannot_be_is_refused(
    voc_run: Trainer, smp_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    image = str(ToyVOC("val").files[0][0])
    run_, output = str(voc_run.checkpoint), ["--output", str(tmp_path / "masks"), "--device", "cpu"]
    assert refusal([run_, image, *output, "--ids"], capsys) == (
        f"error: --ids are those of Cityscapes' 19 classes; {run_} has 9\n"
    )
    assert "holds no recipe; expected the checkpoint.pt of a run" in refusal([str(smp_weights), image, *output], capsys)
    assert "gone.pt" in refusal([str(tmp_path / "gone.pt"), image, *output], capsys)
    assert "gone.jpg" in refusal([run_, str(tmp_path / "gone.jpg"), *output], capsys)
    (tmp_path / "text.jpg").write_text("no image")
    assert "text.jpg: not an image that can be read" in refusal([run_, str(tmp_path / "text.jpg"), *output], capsys)
    assert "would overwrite another file" in refusal([run_, image, str(tmp_path / Path(image).name), *output], capsys)
    Image.new("RGB", (9, 9)).save(tmp_path / "same.png")
    here = ["--output", str(tmp_path), "--device", "cpu"]
    assert "would overwrite another file" in refusal([run_, str(tmp_path / "same.png"), *here], capsys)
    assert "each to be more than 0" in refusal([run_, image, *output, "--scales", "-1"], capsys)
    assert not list((tmp_path / "masks").glob("*")), "nothing is written then"


def test_as_a_program(street_run: Trainer, tmp_path: Path) -> None:
    image = ToyCityscapes("val").files[0][0]
    command = [sys.executable, "-m", "seglib.predict", str(street_run.checkpoint), str(image)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Image.open(tmp_path / f"{image.stem}.png").size == (512, 256)
