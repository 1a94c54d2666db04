"""A map's values lie where strided convolutions left them, at every image size and in every part of the package."""

import pytest
import torch
import torch.nn.functional as F

from seglib.data.transforms import IMAGENET
from seglib.geometry import RULES, Grid
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet
from seglib.predict import Scoring, predict, predict_labels
from tests.networks import NETWORKS, randomise_norms

# Networks of first-pixel maps beside those of tests.networks: how they are built, and the stride of their logits.
MORE = {
    "stride in the first units, stem of 3x3": (
        lambda: DeepLabV3(3, ResNet(18, 8, width=4, stride_unit="first", stem="3x3"), channels=4), 8
    ),
    "stem of stride 1": (lambda: DeepLabV3(3, ResNet(18, width=4, stem="3x3", stem_stride=1), channels=4), 4),
    "decoder on it": (lambda: DeepLabV3Plus(3, ResNet(18, width=4, stem="3x3", stem_stride=1), channels=4), 1),
    "deep cascade": (lambda: DeepLabV3(3, ResNet(18, 128, width=4, cascade_blocks=2)), 128),
    "two decoders": (
        lambda: DeepLabV3Plus(3, ResNet(18, width=4), channels=4, variant=HeadVariant(decoder_conv3=True)), 4
    ),
}  # fmt: skip
FIRST_PIXEL = {name: made for name, made in {**NETWORKS, **MORE}.items() if "vgg" not in name and name != "unet"}


@pytest.mark.parametrize("size", [(97, 97), (112, 113), (120, 160), (375, 500)], ids=str)
@pytest.mark.parametrize("name", FIRST_PIXEL)
@torch.no_grad()
def test_every_stride_th_pixel_is_a_value_of_the_map(name: str, size: tuple[int, int]) -> None:
    build, stride = FIRST_PIXEL[name]
    model = randomise_norms(build()).eval()
    images = torch.randn(1, 3, *size)
    logits, full = model(images, upsample=False), model(images)
    assert full.shape[2:] == size and model.logits_grid == Grid(stride) and logits.std() > 0
    torch.testing.assert_close(full[..., ::stride, ::stride], logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(97, 113), (112, 96), (120, 375)], ids=str)
def test_rules_by_sizes_are_torchs_and_agree_with_the_others_where_they_can(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *(-(-side // 16) for side in size))
    by = {rule: Grid(16, rule).resize(x, size) for rule in RULES}
    torch.testing.assert_close(by["centred"], F.interpolate(x, size, mode="bilinear", align_corners=False))
    torch.testing.assert_close(by["stretched"], F.interpolate(x, size, mode="bilinear", align_corners=True))
    assert torch.allclose(by["first_pixel"], by["stretched"], atol=1e-5) == all(side % 16 == 1 for side in size)
    assert torch.allclose(by["cell_centre"], by["centred"], atol=1e-5) == all(side % 16 == 0 for side in size)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(33, 49), (40, 56), (32, 16)], ids=str)
def test_resize_is_interpolation_between_places(rule: str, size: tuple[int, int]) -> None:
    """An independent reference: every pixel from its four values, by the definition of bilinear interpolation."""
    grid = Grid(8, rule)
    x = torch.randn(1, 1, *(-(-side // 8) for side in size), dtype=torch.float64)
    weights = []
    for side, n in zip(size, x.shape[2:], strict=True):
        places = grid.places(torch.arange(side, dtype=torch.float64), n, side)
        weights.append((1 - (places[:, None] - torch.arange(n)).abs()).clamp(min=0))  # (side, n)
    torch.testing.assert_close(grid.resize(x, size)[0, 0], weights[0] @ x[0, 0] @ weights[1].T)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(33, 49), (40, 56), (32, 17), (61, 1)], ids=str)
@pytest.mark.parametrize("smooth", [True, False])
def test_classes_are_those_of_the_full_size_logits(rule: str, size: tuple[int, int], smooth: bool) -> None:
    grid = Grid(8, rule)
    x = torch.randn(3, 5, *(-(-side // 8) for side in size), generator=torch.Generator().manual_seed(4))
    if smooth:  # whole cells of one class too
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
    best = grid.resize(x.double(), size).topk(2, dim=1)
    clear = best.values[:, 0] - best.values[:, 1] > 1e-5
    assert clear.float().mean() > 0.99
    found = grid.argmax(x, size)
    assert found.dtype == torch.uint8 and found.shape == (3, *size)
    assert torch.equal(found[clear].long(), best.indices[:, 0][clear])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_networks_labels_are_those_of_its_full_size_logits(name: str) -> None:
    model = randomise_norms(NETWORKS[name][0]()).eval()
    images = torch.randint(0, 256, (2, 3, 71, 90), dtype=torch.uint8)
    scoring = Scoring(continued=False)
    probabilities = predict(model, images, scoring=scoring)
    with torch.inference_mode():
        torch.testing.assert_close(probabilities, model(IMAGENET(images)).softmax(dim=1), rtol=1e-4, atol=1e-5)
    best = probabilities.topk(2, dim=1)
    clear = best.values[:, 0] - best.values[:, 1] > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(predict_labels(model, images, scoring=scoring)[clear].long(), best.indices[:, 0][clear])


def test_a_label_is_picked_where_the_value_lies() -> None:
    labels = torch.arange(40)[None, :, None].expand(1, 40, 1)
    picked = {rule: Grid(8, rule).pick(labels, (5, 1))[0, :, 0].tolist() for rule in RULES}
    assert picked["first_pixel"] == [0, 8, 16, 24, 32]
    assert picked["cell_centre"] == picked["centred"] == [4, 12, 20, 28, 36]
    assert picked["stretched"] == [0, 10, 20, 29, 39]
    uneven = torch.randint(0, 9, (2, 41, 53))
    nearest = F.interpolate(uneven[:, None].float(), (6, 7), mode="nearest-exact")[:, 0].long()
    assert torch.equal(Grid(8, "centred").pick(uneven, (6, 7)), nearest)
    assert torch.equal(Grid(8).pick(uneven, (6, 7)), uneven[:, ::8, ::8])


@torch.no_grad()
def test_scoring_continues_images_to_the_next_value() -> None:
    model = DeepLabV3(3, ResNet(18, 16, width=4), atrous_rates=(2,), channels=4).eval()
    randomise_norms(model)
    images = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    wider = F.pad(images.float(), (0, 15, 0, 9), mode="replicate").to(torch.uint8)
    whole = predict(model, wider, scoring=Scoring(continued=False))
    torch.testing.assert_close(predict(model, images), whole[..., :40, :50])
    assert not torch.allclose(predict(model, images, scoring=Scoring(continued=False)), whole[..., :40, :50], atol=1e-3)
    windows = Scoring(window=(40, 50))
    torch.testing.assert_close(predict(model, images, scoring=windows), whole[..., :40, :50])
    model.variant = HeadVariant(resize="centred")  # a peer's: scored as the peer does
    torch.testing.assert_close(predict(model, images), predict(model, images, scoring=Scoring(continued=False)))


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a map of \(3, 3\) at strides \(16, 16\) fits no image of \(49, 50\)"):
        Grid(16).resize(torch.zeros(1, 1, 3, 3), (49, 50))
    with pytest.raises(ValueError, match="rule = 'corner'; expected one of"):
        Grid(16, "corner")
