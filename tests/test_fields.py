"""Receptive fields against brute force: single pixels switched on, and published sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refused
from torch import Tensor, nn

from seglib.course.fields import (
    effective_field,
    effective_size,
    path_counts,
    settle_batch_norm,
    share_on_map,
    valid_weight_fractions,
    valid_weights,
)
from seglib.models import MobileNetV2, ResNet
from seglib.models.fields import Field, Layer, backbone_layers, theoretical_field


class High(nn.Module):
    """A backbone's last map, with an atrous 3x3 convolution after it if a rate is given."""

    def __init__(self, backbone: nn.Module, rate: int = 0):
        super().__init__()
        self.backbone = backbone
        head = nn.Conv2d(backbone.high_channels, 1, 3, padding=rate, dilation=rate, bias=False)
        self.head = head if rate else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images).high)


def positive(network: nn.Module) -> nn.Module:
    """All weights positive and no biases, in evaluation mode: a pixel that is seen makes the output positive."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    return network.eval()


def who_sees(network: nn.Module, side: int, index: int, pixels: list[int]) -> tuple[list[bool], list[bool]]:
    """Tells if output pixel `index` is positive when one pixel of a black strip is on; strip upright and lying.

    The strip is 9 pixels wide, which every output pixel sees from edge to edge.
    """
    upright = torch.zeros(len(pixels), 3, side, 9)
    for strip, pixel in zip(upright, pixels, strict=True):
        strip[:, pixel, 4] = 1
    with torch.no_grad():
        down, across = network(upright), network(upright.mT.contiguous())
    return (down.amax(dim=(1, 3))[:, index] > 0).tolist(), (across.amax(dim=(1, 2))[:, index] > 0).tolist()


LAYERS = st.lists(
    st.builds(Layer, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4
)


@settings(max_examples=40)
@given(LAYERS)
def test_chain_sees_what_path_counts_say(layers: list[Layer]) -> None:
    """Along one axis: the pixels that are seen, one by one, and the number of paths from each."""
    field = theoretical_field(layers)
    index = max(0, -(field.start // field.stride))  # its field begins in the image
    first, last = field.span(index)
    side = last + 12
    settings = ((*layer[:2], layer.padding, layer.dilation) for layer in layers)
    network = nn.Sequential(*(nn.Conv2d(1, 1, *setting) for setting in settings)).double()
    for conv in network:
        nn.init.ones_(conv.weight)
    images = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    output = network(images)
    if min(output.shape[2:]) <= index:
        return  # padding on the right was needed to reach that pixel
    (gradient,) = torch.autograd.grad(output[0, 0, index, index], images)
    expected = torch.zeros(side, dtype=torch.float64)
    expected[first : last + 1] = path_counts(layers)
    assert torch.equal(gradient[0, 0], torch.outer(expected, expected))
    assert expected[first] > 0 and expected[last] > 0


CASES = {
    "18 at 8, multi-grid": (lambda: ResNet(18, 8, (1, 2), width=2), 0),
    "18 at 32, stride first": (lambda: ResNet(18, 32, (1, 1), width=2, stride_unit="first"), 0),
    "50 at 16, multi-grid, stem": (lambda: ResNet(50, 16, (1, 2, 4), width=1, stem="3x3"), 0),
    "50 at 8, stride first": (lambda: ResNet(50, 8, (1, 1, 1), width=1, stride_unit="first"), 0),
    "50 at 32, rate 6": (lambda: ResNet(50, 32, (1, 1, 1), width=1), 6),
    "mobilenet at 16, rate 3": (lambda: MobileNetV2(16), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_backbone_sees_its_field_and_no_pixel_more(case: str) -> None:
    build, rate = CASES[case]
    backbone = build()
    field = theoretical_field([*backbone_layers(backbone), *([Layer(3, 1, rate, rate)] if rate else [])])
    index = field.size // 2 // field.stride + 1
    first, last = field.span(index)
    assert first > 0, "the whole field lies in the image"
    network = positive(High(backbone, rate))
    seen = who_sees(network, last + 20, index, [first - 1, first, last, last + 1])
    assert seen == ([False, True, True, False], [False, True, True, False])


@pytest.mark.parametrize(("depth", "size"), [(50, 483), (101, 1027), (152, 1507)])
def test_published_sizes(depth: int, size: int) -> None:
    """TF-slim's resnet_v1 networks, as listed by Araujo et al., Computing Receptive Fields (Distill, 2019)."""
    for stride in (32, 8):  # dilation keeps the field of the stride it replaces
        field = theoretical_field(backbone_layers(ResNet(depth, stride, (1, 1, 1), width=1)))
        assert field == Field(size, stride, start=-(size // 2))


def test_gridding() -> None:
    twos, mixed = ([Layer(3, 1, rate, rate) for rate in rates] for rates in ((2, 2, 2), (1, 2, 3)))
    assert path_counts(twos).tolist() == [1, 0, 3, 0, 6, 0, 7, 0, 6, 0, 3, 0, 1]
    assert path_counts(mixed).min() > 0
    assert theoretical_field(twos).size == theoretical_field(mixed).size == 13


def test_effective_field_is_the_mean_over_images() -> None:
    """Against finite differences, image by image."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1)).double().eval()
    images = torch.randn(3, 1, 7, 7, dtype=torch.float64)
    expected = torch.zeros(7, 7, dtype=torch.float64)
    for row in range(7):
        for column in range(7):
            step = torch.zeros_like(images)
            step[:, :, row, column] = 1e-5
            with torch.no_grad():
                change = (network(images + step) - network(images - step))[:, :, 3, 2].sum(dim=1) / 2e-5
            expected[row, column] = change.abs().mean()
    found = effective_field(network, images, 3, 2)
    torch.testing.assert_close(found, expected / expected.max(), atol=1e-8, rtol=0)


def test_refusals() -> None:
    refused("0: expected a square layer", backbone_layers, nn.Sequential(nn.Conv2d(3, 1, (1, 3))))
    conv = nn.Conv2d(1, 1, 3)
    refused("found training mode", effective_field, conv, torch.zeros(1, 1, 5, 5), 0, 0)
    for row, column in ((3, 0), (0, 3), (-1, 0), (0, -1)):
        refused("a pixel of the 3 x 3 output", effective_field, conv.eval(), torch.zeros(1, 1, 5, 5), row, column)


def test_settled_batch_norm_normalises_these_images() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))
    images = 5 + 3 * torch.randn(8, 3, 16, 16)
    network(images + 7)  # leaves other statistics behind
    before = [parameter.clone() for parameter in network.parameters()]
    settle_batch_norm(network, images)
    assert not network.training and network[1].momentum == network[3].momentum == 0.1
    output = network(images)
    torch.testing.assert_close(output.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(output.std(dim=(0, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_effective_size_counts_pixels() -> None:
    field = torch.zeros(20, 20)
    field[3:7, 5:14] = 2
    field[0, 0] = 0.09  # below 4.55 % of 2
    field[1, 1] = 0.1
    assert effective_size(field) == pytest.approx(37**0.5) and effective_size(field * 0) == 0


@pytest.mark.parametrize("side", [5, 8, 65])
@pytest.mark.parametrize("rate", [1, 2, 4, 7, 24, 32, 33, 64, 65, 90])
def test_valid_weights_counted_one_by_one(side: int, rate: int) -> None:
    along = [sum(0 <= x + step < side for step in (-rate, 0, rate)) for x in range(side)]
    expected = torch.tensor([[down * across for across in along] for down in along])
    assert torch.equal(valid_weights(side, rate), expected)
    assert share_on_map(side, rate) == pytest.approx(float(expected.sum()) / (9 * side**2))
    shares = valid_weight_fractions(side, rate)
    assert shares == {n: float((expected == n).double().mean()) for n in (1, 2, 4, 6, 9)}
    assert sum(shares.values()) == pytest.approx(1)
