"""What practitioners expect: parts of a batch, curves, transforms of other libraries, pictures of other channels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusal import refused
from small_set import SMALL, make_trainer, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from timm.models import adapt_input_conv
from torchvision import tv_tensors
from torchvision.transforms import v2

from seglib.data import PackedDataset, SegmentationDataset, pack
from seglib.data.adapters import AlbumentationsTransform, TorchvisionTransform
from seglib.data.transforms import Normalisation
from seglib.models import ResNet
from seglib.models.weights import adapt_kernel, set_in_channels
from seglib.predict import predict_image
from seglib.train import Trainer
from seglib.train.checkpoint import load_run
from seglib.train.start import build_network

SHORT = SMALL.replace(iterations=2)
WHOLE = SMALL.replace(model="unet", output_stride=2, batch_size=8, iterations=3, norm="group", norm_groups=2)


# --- accumulation


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"loss": "upsampled_cross_entropy", "class_weights": "enet"},
        {"loss": "focal", "class_weights": "inverse"},
        {"model": "deeplabv3", "output_stride": 16, "downsample_labels": True, "dropout": 0.0},
    ],
)
def test_parts_of_a_batch_have_the_gradient_of_the_whole(tmp_path: Path, data: Path, change: dict[str, Any]) -> None:
    """Void is spread unevenly over the parts, so that a mean of their means would be another loss."""
    gradients = []
    for accumulate in (1, 4):
        run = make_trainer(WHOLE.replace(accumulate=accumulate, **change), tmp_path / str(accumulate), data)
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 3, 33, 33), dtype=np.uint8))
        labels = torch.from_numpy(np.random.default_rng(1).integers(0, 9, (8, 33, 33), dtype=np.uint8))
        for index in range(7):
            labels[index, : 4 * index] = 255
        labels[6:] = 255  # a part that is all void
        loss = run._step(images, labels)
        gradients.append((loss, torch.cat([p.grad.flatten() for p in run.model.parameters()])))
    (first, whole), (second, parts) = gradients
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(second, first, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)


# --- curves


def test_curves_have_every_step_once_after_a_kill(tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(iterations=40)
    options = {"tensorboard": True, "eval_every": 10}
    make_trainer(recipe, tmp_path, data, **options).fit(until=20)
    killed = make_trainer(recipe, tmp_path, data, **options)
    killed._curves.write([*killed.log, {"iteration": 30, "loss": 0.5, "lr": 0.1}])  # and no checkpoint of it
    run = make_trainer(recipe, tmp_path, data, **options).fit()
    found = EventAccumulator(str(tmp_path), purge_orphaned_data=False).Reload()
    rows = {name: [(event.step, event.value) for event in found.Scalars(name)] for name in ("loss", "lr", "miou")}
    for name, events in rows.items():
        expected = [(row["iteration"], row[name]) for row in run.log if name in row]
        assert [step for step, _ in events] == [10, 20, 30, 40] == [step for step, _ in expected]
        np.testing.assert_allclose([v for _, v in events], [v for _, v in expected], rtol=1e-6)


# --- transforms of other libraries

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
LABEL = np.random.default_rng(1).choice(np.array([0, 1, 8, 255], np.uint8), (40, 48))


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_torchvisions_transforms_keep_image_and_label_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.manual_seed_all", lambda seed: pytest.fail("the GPU's generator was seeded"))
    both = np.repeat(LABEL[..., None], 3, axis=2)
    turn = TorchvisionTransform(v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(24)]))
    for seed in range(6):
        image, label = turn(both, LABEL, np.random.default_rng(seed))
        assert label.shape == (24, 24) and np.array_equal(image[..., 0], label)
    before = torch.get_rng_state()
    first, again, other = (turn(IMAGE, LABEL, np.random.default_rng(seed))[0] for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("fill", [0, {tv_tensors.Image: 9, tv_tensors.Mask: 255}])
def test_what_a_transform_fills_in_is_void(fill: Any) -> None:
    grow = TorchvisionTransform(v2.Pad(4, fill=fill))
    image, label = grow(IMAGE, LABEL, rng())
    assert image.shape == (48, 56, 3) and (label[:4] == 255).all() and (label[:, -4:] == 255).all()
    assert np.array_equal(label[4:-4, 4:-4], LABEL)


def test_a_transform_that_makes_numbers_is_refused() -> None:
    wrong = TorchvisionTransform(v2.ToDtype(torch.float32))
    refused("class 254; expected at most 254 classes", wrong, IMAGE, np.full_like(LABEL, 254), rng())
    refused(r"returned image \(40, 48, 3\) float32.*the recipe's normalisation", wrong, IMAGE, LABEL, rng())


def test_albumentations() -> None:
    albumentations = pytest.importorskip("albumentations")
    steps = [albumentations.HorizontalFlip(p=0.5), albumentations.PadIfNeeded(64, 64)]
    turn = AlbumentationsTransform(albumentations.Compose(steps))
    both = np.repeat(LABEL[..., None], 3, axis=2)
    found = [turn(both, LABEL, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert np.array_equal(found[0][0], found[1][0]) and len({label.tobytes() for _, label in found}) == 2
    image, label = found[0]
    inside = label != 255
    assert label.shape == (64, 64) and np.array_equal(image[..., 0][inside], label[inside])
    assert inside.sum() == (LABEL < 255).sum()


def test_an_adapter_trains(tmp_path: Path, data: Path) -> None:
    plain = make_trainer(SHORT, tmp_path, data)
    crop = TorchvisionTransform(v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(33, pad_if_needed=True)]))
    plain.train_set.transform = crop
    sets = {"train_set": plain.train_set, "val_set": plain.val_set, "device": "cpu"}
    first, second = (Trainer(SHORT, tmp_path / str(n), num_workers=n, **sets).fit() for n in (0, 1))
    assert torch.equal(weights(first.model), weights(second.model))


# --- grey pictures and pictures of more channels


class Stacked(SegmentationDataset):
    """The small set with as many channels as asked, the later ones darker."""

    channels = 5

    def read_image(self, path: Path) -> np.ndarray:
        grey = super().read_image(path).mean(axis=2)
        return np.stack([grey / (1 + channel) for channel in range(self.channels)], axis=2).astype(np.uint8)


class Grey(Stacked):
    channels = 1


def sets_of(kind: type[SegmentationDataset], tmp_path: Path, data: Path) -> dict[str, SegmentationDataset]:
    plain = make_trainer(SHORT, tmp_path / "plain", data)
    sets = {"train_set": plain.train_set, "val_set": plain.val_set}
    return {name: kind(each.files, each.classes, each.palette) for name, each in sets.items()}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Grey, {"augmentation": "occlusion"}),
        (Stacked, {"model": "unet", "output_stride": 4}),
        (Stacked, {"model": "fcn8s", "output_stride": 32, "backbone": "vgg16"}),
        (Grey, {"backbone": "mobilenet_v2", "weights": "mobilenet_v2_imagenet.pth"}),
        (Stacked, {"stem": "3x3"}),
        (Stacked, {"backbone": "xception41", "eval_flip": True, "eval_scales": (0.75, 1.0)}),
    ],
)
def test_channels_and_measured_statistics(tmp_path: Path, data: Path, kind: type, change: dict[str, Any]) -> None:
    recipe = SHORT.replace(in_channels=kind.channels, normalisation="measured", iterations=1, **change)
    sets = sets_of(kind, tmp_path, data)
    run = Trainer(recipe, tmp_path / "run", device="cpu", progress=False, **sets).fit()
    pixels = np.concatenate([sets["train_set"].read(i)[0].reshape(-1, kind.channels) for i in range(12)]) / 255
    np.testing.assert_allclose(run.normalisation.mean, pixels.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(run.normalisation.std, pixels.std(axis=0), rtol=1e-6)
    loaded = load_run(run.checkpoint)
    assert loaded.normalisation == run.normalisation
    image = sets["val_set"].read(0)[0]
    found, expected = (predict_image(model, image, run.normalisation) for model in (loaded.model, run.model))
    assert np.array_equal(found, expected)
    packed = PackedDataset(pack(sets["train_set"], tmp_path / "packed", progress=False))
    assert np.array_equal(packed.read(3)[0], sets["train_set"].read(3)[0])


def test_statistics_are_measured_once(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SHORT.replace(normalisation="measured")
    first = make_trainer(recipe, tmp_path, data).fit(until=1)
    monkeypatch.setattr("seglib.data.open.measure_normalisation", None)
    assert make_trainer(recipe, tmp_path, data).normalisation == first.normalisation


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_trained_kernels_are_adapted_as_timm_does(channels: int) -> None:
    kernel = torch.randn(4, 3, 3, 3)
    torch.testing.assert_close(adapt_kernel(kernel, channels), adapt_input_conv(channels, kernel))
    model = ResNet(18, 16, width=8)
    set_in_channels(model, channels, trained=False)
    expected = (2 / (8 * 49) * 3 / channels) ** 0.5
    assert float(model.conv1.weight.detach().std()) == pytest.approx(expected, rel=0.2)


def test_a_run_on_colours_starts_one_on_grey(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    first = make_trainer(SHORT, tmp_path / "first", data).fit(until=1)
    recipe = SHORT.replace(in_channels=1, start_from=str(first.checkpoint))
    model = build_network(recipe, first.train_set.classes)
    assert "its first kernel is adapted to in_channels = 1" in capsys.readouterr().err
    assert torch.equal(model.backbone.conv1.weight, first.model.backbone.conv1.weight.sum(dim=1, keepdim=True))


def test_channels_that_do_not_fit_are_refused(tmp_path: Path, data: Path) -> None:
    refused(r"2007_000001\.jpg: a picture \(40, 48, 3\); expected \(height, width, 1\)", make_trainer,
            SHORT.replace(in_channels=1), tmp_path, data)  # fmt: skip
    refused("expected 1 or 3 channels, found 5", Normalisation.named, "imagenet", 5)
    assert Normalisation.named("unit", 2).mean == (0.5, 0.5) and len(Normalisation.named("imagenet", 1).mean) == 1
