"""The trained networks that the notebooks load: small, and as good as their runs' stored results, or our masks, say."""

from pathlib import Path

import pytest
import torch
from refusal import refused
from small_set import SMALL, make_trainer

from seglib.data import FolderSegmentation, build_dataset
from seglib.data.transforms import UNIT, Normalisation
from seglib.files import PROJECT, load_tensors, write_json
from seglib.metrics import ConfusionMatrix
from seglib.models.build import build_model
from seglib.predict import Scoring, evaluate, predict_image
from seglib.recipe import Recipe
from seglib.studies.results import stored_results
from seglib.train import Trainer
from seglib.train.checkpoint import load_run
from seglib.train.results import load_result, seal
from seglib.zoo import load_checkpoint
from tools import small_checkpoint

KEPT = sorted((PROJECT / "data" / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_weights_score_as_their_run(path: Path) -> None:
    model, recipe, *_ = load_run(path)
    val = build_dataset(recipe, recipe.val_split)
    scores = evaluate(model, val, Normalisation.named(recipe.normalisation), Scoring.of(recipe)).compute()
    if path.stem.startswith("toy_fcn"):  # trained again for the notebooks, on another processor than the stored runs
        known = [result["scores"]["miou"] for result in stored_results(recipe)]
        assert min(known) - 0.02 < scores.miou < max(known) + 0.02
    else:
        result = load_result(PROJECT / "data" / "results" / f"{recipe.name}.json")
        assert scores.miou == pytest.approx(result["scores"]["miou"], abs=1e-3)
        assert list(scores.iou) == pytest.approx(result["scores"]["iou"], abs=0.01)
    assert path.stat().st_size < (3_500_000 if path.stem.startswith("toy_fcn") else 2_000_000)


def test_the_published_network_finds_what_we_drew() -> None:
    photographs = FolderSegmentation(PROJECT / "data" / "photographs", "val")
    model = load_checkpoint(PROJECT / "data" / "checkpoints" / "deeplabv3_mobilenet_v2_voc.pth", "tf-mobilenet")
    found = {}
    for index, name in enumerate(photographs.names):
        image, label = photographs.read(index)
        assert max(label.shape) == 513, name
        matrix = ConfusionMatrix(photographs.num_classes)
        matrix.update(label, predict_image(model, image, UNIT, Scoring(pad_to=513)))
        found[name] = dict(zip(photographs.classes, matrix.compute().iou, strict=True))
    assert found["cat"]["cat"] > 0.95 and found["astronaut"]["person"] > 0.9 and found["cameraman"]["person"] > 0.95
    assert found["motorcycle"]["motorbike"] > 0.88 and 0.6 < found["coffee"]["diningtable"] < 0.75
    assert found["rocket"]["background"] == 1 and found["flower"]["bird"] == 0
    readme = (PROJECT / "data" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in readme for name in found), "every picture has its source and licence there"


@pytest.mark.parametrize("name", ["toy_mini", "voc_short"])
def test_bundled_backbones_are_found_and_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLIB_DATA", raising=False)
    recipe = Recipe.load(name)
    loaded, drawn = (build_model(r, 9).backbone.state_dict() for r in (recipe, recipe.replace(weights="")))
    kernels = [key for key, value in loaded.items() if value.ndim > 1]
    assert all(loaded[key].dtype == torch.float32 and not torch.equal(loaded[key], drawn[key]) for key in kernels)


def test_a_file_of_ones_own_goes_before_a_bundled_one_of_its_name(tmp_path: Path) -> None:
    recipe = Recipe.load("toy_mini")
    torch.manual_seed(5)
    own = build_model(recipe.replace(weights=""), 9).backbone.state_dict()
    torch.save(own, tmp_path / recipe.weights)
    kernel = "layer1.0.conv1.weight"
    for folder, equal in ((tmp_path, True), (tmp_path / "empty", False), (None, False)):
        found = build_model(recipe, 9, folder).backbone.state_dict()
        assert torch.equal(found[kernel], own[kernel]) == equal, folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    recipe = SMALL.replace(iterations=2, eval_every=2, patience=5)
    return make_trainer(recipe, tmp_path_factory.mktemp("run"), None).fit()


def test_a_run_is_kept(run: Trainer, tmp_path: Path) -> None:
    target = tmp_path / "new" / "kept.pt"
    miou = small_checkpoint.keep(run.run_dir, target)
    assert miou == pytest.approx(load_result(run.run_dir / "result.json")["scores"]["miou"], abs=1e-3)
    content = load_tensors(target)
    assert content.keys() == {"recipe", "model"}, "no optimiser, no history"
    model, recipe, *_ = load_run(target)
    assert recipe == run.recipe and not model.training
    best = load_tensors(run.best)
    for name, value in model.state_dict().items():
        assert value.dtype == best[name].dtype, "computes in float32"
        assert torch.equal(value, best[name].half().to(value.dtype) if value.ndim > 1 else best[name]), name
    assert target.stat().st_size < 0.7 * run.best.stat().st_size


def test_a_run_whose_score_is_lost_is_not_kept(run: Trainer, tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "best.pt"):
        (tmp_path / name).write_bytes((run.run_dir / name).read_bytes())
    result = load_result(run.run_dir / "result.json")
    for wrong, message in (
        ({"scores": {**result["scores"], "miou": result["scores"]["miou"] + 0.002}}, "rounded weights score"),
        ({"name": SMALL.name}, "checkpoint.pt of"),
    ):
        (tmp_path / "result.json").unlink(missing_ok=True)
        write_json(tmp_path / "result.json", seal({**result, **wrong}))
        refused(message, small_checkpoint.keep, tmp_path, tmp_path / "kept.pt")
        assert not (tmp_path / "kept.pt").exists()
