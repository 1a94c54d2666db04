"""What a training starts from: runs, other libraries' networks, forms of files; and what it must not start from."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import segmentation_models_pytorch as smp
import torch
from refusal import refused
from safetensors.torch import save_file
from small_set import SMALL, make_trainer, weights
from torch import nn

from seglib.__main__ import main
from seglib.files import find_state_dict
from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run
from seglib.train.start import build_network
from seglib.zoo import load_checkpoint

SHORT = SMALL.replace(iterations=1)
NINE = [f"thing {number}" for number in range(9)]
SMP = Recipe(model="deeplabv3plus", backbone="resnet18", separable="plain", source="smp", start_from="smp.pth")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return make_trainer(SHORT, tmp_path_factory.mktemp("first"), data).fit().checkpoint


def starts(recipe: Recipe, file: Path | str, classes: list[str] = NINE, folder: Path | None = None) -> nn.Module:
    torch.manual_seed(0)
    return build_network(recipe.replace(start_from=str(file)), classes, folder)


def test_a_run_is_a_start_and_other_classes_draw_a_classifier(run: Path, capsys: pytest.CaptureFixture) -> None:
    first = load_run(run)
    assert torch.equal(weights(starts(SHORT, run, list(first.classes))), weights(first.model))
    assert capsys.readouterr().err == ""
    for classes, found in ((["a", "b"], "9 classes, the data have 2"), (NINE, "other classes")):
        model = starts(SHORT, run, classes)
        assert f"{run}: {found}: the classifier is drawn anew" in capsys.readouterr().err
        assert torch.equal(weights(model.backbone), weights(first.model.backbone))
        assert torch.equal(weights(model.decoder), weights(first.model.decoder))
        torch.manual_seed(0)
        assert torch.equal(model.classifier.weight, build_model(SHORT, len(classes)).classifier.weight)


@pytest.mark.parametrize(
    "change", [{"model": "unet", "output_stride": 4}, {"model": "fcn16s", "output_stride": 32, "backbone": "resnet18"}]
)
def test_every_kind_of_network_gets_new_outputs(tmp_path: Path, change: dict[str, Any]) -> None:
    recipe = SMALL.replace(**change)
    torch.save(build_model(recipe, 9).state_dict(), tmp_path / "nine.pth")
    model = starts(recipe, "nine.pth", ["a", "b"], tmp_path)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 2, 32, 32)


@pytest.mark.parametrize("change", [{"stride_unit": "first"}, {"normalisation": "unit"}, {"norm_groups": 4}])
def test_a_run_that_no_shape_tells_from_another_is_refused(run: Path, change: dict[str, Any]) -> None:
    (field,) = change
    refused(f"trained with {field} = .*, found {change[field]!r}", starts, SHORT.replace(**change), run)


def test_another_librarys_network_trains_and_is_read_again(tmp_path: Path, data: Path) -> None:
    theirs = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=9).eval()
    torch.save({"net": theirs.state_dict()}, tmp_path / "smp.pth")
    images = torch.randn(1, 3, 65, 97)
    loaded = load_checkpoint(tmp_path / "smp.pth", "smp")
    started = starts(SMP, "smp.pth", NINE, tmp_path).eval()
    assert torch.equal(started(images), loaded(images))
    recipe = SMP.replace(crop_size=33, batch_size=2, iterations=1)
    trained = make_trainer(recipe, tmp_path / "run", data, weights_root=tmp_path).fit()
    again = load_run(trained.checkpoint)
    assert again.recipe == recipe and torch.equal(weights(again.model), weights(trained.model))
    assert not torch.equal(weights(again.model), weights(loaded))


def test_wrong_combinations_are_refused() -> None:
    for message, change in (
        (r"source = 'smp': has no deeplabv3plus on resnet18 with separable = 'none'", {"separable": "none"}),
        (r"has no deeplabv3plus on mobilenet_v2", {"backbone": "mobilenet_v2"}),
        (r"source = 'smp'; it fixes multi_grid, decoder_depth: leave", {"multi_grid": (1, 1), "decoder_depth": 1}),
        (r"normalisation = 'unit'; weights of 'smp' were trained with 'imagenet'", {"normalisation": "unit"}),
        (r"weights of 'tf-mobilenet' were trained with 'unit'", {"source": "tf-mobilenet"}),
        (r"stride_unit = 'last'; these weights were trained with the stride in the first unit",
         {"source": "", "weights": "torchvision"}),
        (r"weights of 'torchvision' were trained with 'imagenet'",
         {"source": "", "weights": "torchvision", "stride_unit": "first", "normalisation": "unit"}),
        (r"weights of 'mobilenet_v2_imagenet.pth' were trained with 'unit'",
         {"source": "", "weights": "mobilenet_v2_imagenet.pth", "backbone": "mobilenet_v2"}),
        (r"weights = 'torchvision'; it has none for xception65",
         {"source": "", "weights": "torchvision", "backbone": "xception65"}),
    ):  # fmt: skip
        refused(message, lambda change=change: build_network(SMP.replace(start_from="", **change), NINE))


def test_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", refuse)
    recipe = Recipe(backbone="resnet18", weights="torchvision", stride_unit="first")
    refused(r"weights = 'torchvision': http.*pth could not be fetched.*no network.*put the file into", build_model,
            recipe, 9, error=OSError)  # fmt: skip


BARE = {"backbone.a": torch.ones(1), "model.b": torch.zeros(1)}
LIGHTNING = {f"model.{key}": value for key, value in BARE.items()} | {
    "mean": torch.ones(3),
    "loss.weight": torch.ones(1),
}


def test_forms_of_checkpoints() -> None:
    for content in (
        BARE,
        *({name: BARE, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}} for name in
          ("model_state_dict", "net", "weights", "model_ema", "state_dict", "model", "model_state")),
        {"model": BARE, "model_ema": {"backbone.a": torch.zeros(1)}},
        {f"_orig_mod.{key}": value for key, value in BARE.items()},
        {"state_dict": {f"module._orig_mod.{key}": value for key, value in BARE.items()}},
        {"n_averaged": torch.tensor(3)} | {f"module.{key}": value for key, value in BARE.items()},
        {"state_dict": LIGHTNING, "hyper_parameters": {"lr": 0.1}},
        {f"net.{key}": value for key, value in BARE.items()},
    ):  # fmt: skip
        found, _ = find_state_dict(content, "file")
        assert found == BARE


def test_files_without_one_state_dict_are_refused() -> None:
    for message, content in (
        ("file: holds several state dicts, ema, net; expected one", {"net": BARE, "ema": BARE}),
        ("file: expected a state dict, names to tensors; epoch, net are no tensors", {"epoch": 1, "net": {"a": 1}}),
    ):
        refused(message, find_state_dict, content, "file")
    module = "^expected a file or a state dict, found the network Linear itself$"
    refused(module, load_checkpoint, nn.Linear(2, 2), error=TypeError)


def test_safetensors_are_written_and_read(tmp_path: Path, run: Path) -> None:
    main(["export", str(run), str(tmp_path / "run.safetensors")])
    first, again = load_run(run), load_run(tmp_path / "run.safetensors")
    assert again.recipe == first.recipe and again.classes == first.classes and (again.palette == first.palette).all()
    assert torch.equal(weights(again.model), weights(first.model))
    save_file(first.model.state_dict(), tmp_path / "bare.safetensors")
    assert torch.equal(weights(starts(SHORT, "bare.safetensors", NINE, tmp_path)), weights(first.model))
    (tmp_path / "bare.safetensors").write_bytes(b"damage")
    refused(r"bare\.safetensors: not a readable safetensors file", starts, SHORT, "bare.safetensors", NINE, tmp_path)
