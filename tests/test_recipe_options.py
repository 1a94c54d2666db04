"""Settings that the papers' ablations vary: norms, the stride of the loss, the decoder's structure, statistics."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import meta, randomise_norms
from refusal import refused
from small_set import SMALL, make_trainer, weights
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.data.batches import EpochBatches
from seglib.data.transforms import UNIT
from seglib.models import DeepLabV3Plus, HeadVariant, ResNet
from seglib.models.build import build_model
from seglib.models.norms import GhostBatchNorm2d, group_norm_like
from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds, parameter_count
from seglib.train import optim
from seglib.train.optim import freeze_batch_norm, reestimate_batch_norm
from seglib.train.results import load_result


@pytest.mark.parametrize("batch", [6, 7])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_ghost_batch_norm(batch: int, momentum: float | None, memory_format: object) -> None:
    plain = randomise_norms(nn.BatchNorm2d(5, eps=1e-3, momentum=momentum))
    ghost = GhostBatchNorm2d.like(copy.deepcopy(plain), group_size=3)
    assert {k: v.shape for k, v in ghost.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    for _ in range(2):
        x = (3 * torch.randn(batch, 5, 4, 6) + torch.arange(batch)[:, None, None, None]).to(memory_format=memory_format)
        inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        y = ghost(inputs[0])
        expected = torch.cat([plain(inputs[1][first : first + 3]) for first in range(0, batch, 3)])
        gradient = torch.randn_like(y)
        y.backward(gradient)
        expected.backward(gradient)
        assert y.is_contiguous(memory_format=memory_format)
        pairs = [(y, expected), (inputs[0].grad, inputs[1].grad), (ghost.weight.grad, plain.weight.grad)]
        pairs += [(ghost.bias.grad, plain.bias.grad)]
        pairs += [(ghost.state_dict()[key], value) for key, value in plain.state_dict().items()]
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert ghost.num_batches_tracked == 2 * -(-batch // 3)
    other = F.batch_norm(x, None, None, plain.weight, plain.bias, True, 0.0, plain.eps)
    assert (y - other).abs().max() > 0.1, "the whole batch's statistics give something else"


def test_ghost_batch_norm_evaluates_and_freezes_as_batch_norm() -> None:
    plain = randomise_norms(nn.BatchNorm2d(5)).eval()
    ghost = GhostBatchNorm2d.like(plain, group_size=2)
    x, before = torch.randn(3, 5, 4, 6), weights(ghost)
    assert not ghost.training and "group_size=2" in repr(ghost) and torch.equal(ghost(x), plain(x))
    freeze_batch_norm(model := nn.Sequential(ghost).train())
    model(x)
    assert torch.equal(weights(ghost), before) and not ghost.weight.requires_grad


def test_statistics_are_re_estimated_over_all_batches() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU()).train()
    model[1].running_mean.fill_(7.0)
    batches = [torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8) for _ in range(3)]
    reestimate_batch_norm(model, batches, UNIT)
    with torch.no_grad():
        maps = [model[0](UNIT(batch)) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([m.mean(dim=(0, 2, 3)) for m in maps]).mean(dim=0))
    torch.testing.assert_close(model[1].running_var, torch.stack([m.var(dim=(0, 2, 3)) for m in maps]).mean(dim=0))
    assert model.training and model[2].training and model[1].momentum == 0.1
    refused("found none", reestimate_batch_norm, model, [], UNIT)


def test_statistics_are_re_estimated_over_groups() -> None:
    batches = [torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8) for _ in range(3)]
    model = nn.Sequential(randomise_norms(GhostBatchNorm2d(3, group_size=2, momentum=0.3)))
    reestimate_batch_norm(model, batches, lambda images: images.float())
    groups = torch.cat(batches).float().view(6, 2, 3, 5, 5)
    variance = groups.transpose(1, 2).flatten(2).var(dim=2).mean(dim=0)
    torch.testing.assert_close(model[0].running_mean, groups.mean(dim=(0, 1, 3, 4)))
    torch.testing.assert_close(model[0].running_var, variance)
    assert model[0].momentum == 0.3


def test_a_recipes_batch_norm_takes_groups() -> None:
    recipe = SMALL.replace(batch_size=4, bn_batch=2, bn_momentum=0.03, dropout=0.0)
    grouped, plain = build_model(recipe, 9), build_model(recipe.replace(bn_batch=None), 9)
    norms = [m for m in grouped.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(type(m), m.group_size, m.momentum) for m in norms} == {(GhostBatchNorm2d, 2, 0.03)}
    plain.load_state_dict(grouped.state_dict())
    x = torch.randn(4, 3, 33, 33)
    expected = torch.cat([plain(part) for part in x.split(2)])
    torch.testing.assert_close(grouped(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("channels", "most", "groups"), [(256, 32, 32), (48, 32, 24), (304, 32, 19), (7, 32, 7), (37, 32, 1), (64, 1, 1)]
)
def test_number_of_groups(channels: int, most: int, groups: int) -> None:
    norm = group_norm_like(nn.BatchNorm2d(channels, eps=1e-3), most)
    assert (norm.num_groups, norm.num_channels, norm.eps) == (groups, channels, 1e-3)


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        SMALL.replace(model="deeplabv3", backbone="resnet50", pre_activation=True),
        SMALL.replace(backbone="mobilenet_v2", separable="paper"),
        SMALL.replace(model="unet"),
        SMALL.replace(model="fcn8s", output_stride=32),
    ],
    ids=lambda recipe: f"{recipe.model}-{recipe.backbone}",
)
def test_group_norm_stands_in_place_of_every_batch_norm(recipe: Recipe) -> None:
    groups = recipe.replace(norm="group", norm_groups=4)
    plain, model = (dict(meta(build_model, each, 9).named_modules()) for each in (recipe, groups))
    norms = {name: module.num_features for name, module in plain.items() if isinstance(module, nn.BatchNorm2d)}
    assert norms and model.keys() == plain.keys()
    assert {name: m.num_channels for name, m in model.items() if isinstance(m, nn.GroupNorm)} == norms
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.values())


def test_norms_refuse_what_does_not_go_with_them() -> None:
    x, recipe = torch.randn(2, 3, 33, 33), SMALL.replace(norm="group")
    model = build_model(recipe, 9)
    for mode in (True, False):  # one channel per group is all zeros after the image pooling, and no error of torch's
        refused(r"8 groups of one channel.*norm_groups", model.train(mode), x)
    build_model(recipe.replace(image_pooling=False), 9)(x)
    model = build_model(SMALL.replace(bn_batch=1), 9)
    refused(r"groups of one image.*bn_batch", model, x)
    assert model.eval()(x).isfinite().all()
    assert build_model(SMALL.replace(bn_batch=1, image_pooling=False), 9)(x).isfinite().all()
    vgg = recipe.replace(model="fcn8s", backbone="vgg16", output_stride=32)
    refused("FCN: expected batch norm to replace, found none", meta, build_model, vgg, 9)


def test_the_loss_is_taken_at_the_heads_stride(tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(iterations=2, downsample_labels=True, model="deeplabv3", dropout=0.0, batch_size=3)
    run = make_trainer(recipe, tmp_path / "run", data)
    images = torch.randint(0, 256, (3, 3, 33, 33), dtype=torch.uint8)
    labels = torch.randint(0, 9, (3, 33, 33), dtype=torch.uint8)
    labels[0, :20] = 255
    small = labels[:, ::16, ::16]  # 3 x 3
    logits = copy.deepcopy(run.model)(run.normalisation(images), upsample=False)
    expected = F.cross_entropy(logits, small.long(), ignore_index=255)
    run.model.train()
    torch.testing.assert_close(run._step(images, labels), expected.detach())
    assert run.evaluate().matrix.sum() > 4 * 30 * 40, "scores are at full size"


# the rows of v3+ Table 2 (with 16 channels for its 256, 8 for its 128), and one more
@pytest.mark.parametrize(("depth", "kernel", "width"), [(1, 3, None), (2, 3, None), (3, 3, None), (1, 3, 8), (1, 1, 8)])
@pytest.mark.parametrize("conv3", [False, True])
def test_the_decoders_size_and_cost_by_hand(depth: int, kernel: int, width: int | None, conv3: bool) -> None:
    classes, channels, projected = 9, 16, 4
    recipe = SMALL.replace(channels=channels, decoder_channels=projected, decoder_depth=depth, decoder_kernel=kernel)
    model = meta(build_model, recipe.replace(decoder_width=width, decoder_conv3=conv3), classes)
    bare = meta(build_model, recipe.replace(model="deeplabv3"), classes)

    def convolution(kernel: int, inputs: int, outputs: int) -> int:
        return kernel**2 * inputs * outputs

    out = width or channels
    again = (depth - 1) * convolution(kernel, out, out)
    low, middle = model.backbone.tap_channels[4], model.backbone.tap_channels[8]
    met = out if conv3 else channels
    at_4 = low * projected + convolution(kernel, met + projected, out) + again
    at_8 = (middle * projected + convolution(kernel, channels + projected, out) + again) if conv3 else 0
    norms = 2 * (projected + depth * out) * (1 + conv3)  # scale and shift
    head = channels * classes + classes  # without the decoder
    assert parameter_count(model) - parameter_count(bare) == at_4 + at_8 + norms + out * classes + classes - head
    # 65 x 97 pixels are 17 x 25 at stride 4, 9 x 13 at stride 8, 5 x 7 at stride 16
    added = (at_4 + out * classes) * 17 * 25 + at_8 * 9 * 13 - channels * classes * 5 * 7
    assert mult_adds(model, 65, 97, False) - mult_adds(bare, 65, 97, False) == added


@pytest.mark.parametrize("order", ["aspp_first", "low_first"])
@pytest.mark.parametrize("stride_unit", ["last", "first"])
def test_conv3_is_refined_before_conv2(order: str, stride_unit: str) -> None:
    variant = HeadVariant(decoder_depth=1, decoder_width=6, decoder_conv3=True, decoder_order=order)
    backbone = ResNet(50, width=4, stride_unit=stride_unit)
    model = DeepLabV3Plus(5, backbone, channels=8, decoder_channels=3, variant=variant).eval()
    x = torch.randn(1, 3, 65, 97)

    def join(high: Tensor, low: Tensor) -> Tensor:
        high = F.interpolate(high, low.shape[2:], mode="bilinear", align_corners=True)  # exact at sides of 16 k + 1
        return torch.cat((high, low) if order == "aspp_first" else (low, high), 1)

    with torch.no_grad():
        stem = backbone.maxpool(F.relu(backbone.bn1(backbone.conv1(x))))
        last = stride_unit == "last"
        conv2 = backbone.layer1[:-1](stem) if last else backbone.layer1(stem)
        block2 = backbone.layer1[-1](conv2) if last else conv2
        conv3 = backbone.layer2[:-1](block2) if last else backbone.layer2(block2)
        assert (conv2.shape[2:], conv3.shape[2:]) == ((17, 25), (9, 13))
        y = model.aspp(backbone(x).high)
        y = model.conv3_decoder(join(y, model.conv3_projection(conv3)))
        y = model.classifier(model.decoder(join(y, model.low_projection(conv2))))
        torch.testing.assert_close(model(x, upsample=False), y)
        assert model(x).shape == (1, 5, 65, 97)
        for output_stride in (8, 32):
            model.set_output_stride(output_stride)
            assert model(x, upsample=False).shape == y.shape


def test_every_new_convolution_begins_and_learns_as_the_others() -> None:
    model = build_model(SMALL.replace(decoder_conv3=True, channels=64, decoder_channels=32, dropout=0.0), 9)
    for conv in (model.conv3_projection[0], model.conv3_decoder[0][0], model.decoder[1][0]):
        fan_in = conv.weight[0].numel()
        assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
    model(torch.randn(2, 3, 33, 33)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.conv3_decoder.parameters() if p.ndim > 1)


def test_statistics_are_estimated_over_crops_that_the_training_had_not(tmp_path: Path, data: Path) -> None:
    # four batches of three are an epoch of the twelve images; five iterations reach into the second
    recipe = SMALL.replace(iterations=5, batch_size=3, lr=0.01, reestimate_bn=2)
    run = make_trainer(recipe, tmp_path, data).fit()
    stored = torch.load(run.checkpoint, weights_only=True)["model"]
    expected = copy.deepcopy(run.model)
    expected.load_state_dict(stored)
    of_training = copy.deepcopy(expected).state_dict()
    order = EpochBatches(12, 3, 12, recipe.seed).permutation(2)
    crops = [np.stack([run.train_set[2, int(index)][0] for index in part]) for part in (order[:3], order[3:6])]
    reestimate_batch_norm(expected, [torch.from_numpy(part).permute(0, 3, 1, 2) for part in crops], run.normalisation)
    state = run.model.state_dict()
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(state[key], value, atol=1e-6, rtol=1e-6)
        assert torch.equal(value, of_training[key]) != ("running" in key or "num_batches" in key), key
    assert int(state["backbone.bn1.num_batches_tracked"]) == 2

    confusion = load_result(tmp_path / "result.json")["confusion"]
    assert confusion == run.evaluate().matrix.tolist(), "scored with the new statistics"
    (tmp_path / "result.json").unlink()
    again = make_trainer(recipe, tmp_path, data, num_workers=2)
    assert torch.equal(again.model.state_dict()["backbone.bn1.running_mean"], stored["backbone.bn1.running_mean"])
    assert torch.equal(weights(again.fit().model), weights(run.model)), "a resumed run finds the same"
    without = make_trainer(recipe.replace(reestimate_bn=0), tmp_path, data).fit()
    assert load_result(tmp_path / "result.json")["confusion"] == without.evaluate().matrix.tolist() != confusion


def test_statistics_are_estimated_over_the_parts_that_the_training_saw(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(optim, "reestimate_batch_norm", lambda model, parts, _: sizes.extend(map(len, parts)))
    recipe = SMALL.replace(iterations=1, batch_size=4, accumulate=2, reestimate_bn=2)
    make_trainer(recipe, tmp_path, data).fit()
    assert sizes == [2] * 4
