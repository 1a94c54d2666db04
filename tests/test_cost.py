"""The Mult-Adds columns of v3+ Tables 3 and 5, and the counter itself."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet
from seglib.studies.cost import mult_adds, multi_scale_mult_adds, parameter_count

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


@cache
def paper_network(output_stride: int, decoder: bool) -> nn.Module:
    with torch.device("meta"):
        backbone = ResNet(101, output_stride, stem="3x3")
        return (DeepLabV3Plus if decoder else DeepLabV3)(21, backbone=backbone).eval()


@pytest.mark.parametrize(
    ("output_stride", "decoder", "paper", "plain"),
    [
        (16, False, 81.02, 76.05),
        (8, False, 276.18, 252.25),
        (16, True, None, 97.81),  # the paper's 101.28 contradicts the table's own MS cell
        (8, True, 297.92, 273.99),
        (32, False, 52.43, 51.41),
        (32, True, 74.20, 73.17),
    ],
)
def test_table_3_single_scale(output_stride: int, decoder: bool, paper: float | None, plain: float) -> None:
    """The paper's billions, and an ordinary counter's: another tool's, computed before this one was written."""
    network = paper_network(output_stride, decoder)
    if paper is not None:
        assert mult_adds(network, 513, 513) / 1e9 == pytest.approx(paper, rel=0.004)
    assert mult_adds(network, 513, 513, space_to_batch=False) / 1e9 == pytest.approx(plain, abs=0.005)


@pytest.mark.parametrize(
    ("output_stride", "decoder", "billions", "flipped"),
    [(8, False, 2435.37, 4870.59), (16, True, 898.69, 1797.23), (8, True, 2623.61, 5247.07)],
)
def test_table_3_multi_scale(output_stride: int, decoder: bool, billions: float, flipped: float) -> None:
    count = multi_scale_mult_adds(paper_network(output_stride, decoder), 513, SCALES)
    assert count / 1e9 == pytest.approx(billions, rel=0.004)
    assert 2 * count / 1e9 == pytest.approx(flipped, rel=0.004)


@pytest.mark.parametrize(
    ("output_stride", "decoder", "separable", "billions"),
    [
        *((16, False, False, 68.00), (8, False, False, 240.85), (16, True, False, 89.76)),
        *((8, True, False, 262.59), (16, True, True, 54.17), (8, True, True, 177.10)),
    ],
)
def test_table_5(output_stride: int, decoder: bool, separable: bool, billions: float) -> None:
    variant = HeadVariant(separable="paper" if separable else "none")
    with torch.device("meta"):
        model = (DeepLabV3Plus if decoder else DeepLabV3)(21, "xception65", output_stride, variant=variant).eval()
    assert mult_adds(model, 513, 513) / 1e9 == pytest.approx(billions, rel=0.003)


def test_each_kind_of_convolution_by_hand() -> None:
    assert mult_adds(nn.Conv2d(3, 8, 3, padding=1), 7, 5) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 8, 3, stride=2, padding=1), 7, 5) == 4 * 3 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 6, 3, padding=1, groups=3), 7, 5) == 7 * 5 * 9 * 6
    assert mult_adds(nn.ConvTranspose2d(3, 8, 4, stride=2), 7, 5) == 7 * 5 * 16 * 3 * 8
    atrous = nn.Conv2d(3, 8, 3, padding=4, dilation=4)
    assert mult_adds(atrous, 7, 5, space_to_batch=False) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(atrous, 7, 5) == 8 * 8 * 9 * 3 * 8
    assert multi_scale_mult_adds(nn.Conv2d(3, 1, 1), 9, (0.5, 1.25), flip=True) == 2 * 3 * (5 * 5 + 11 * 11)
    assert parameter_count(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))) == 3 * 8 * 9 + 8 + 16


def test_torch_counts_the_same_and_the_model_is_left_alone() -> None:
    model = DeepLabV3Plus(5, ResNet(18, width=8), channels=16, decoder_channels=8).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = mult_adds(model, 65, 97, space_to_batch=False)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(torch.zeros(1, 3, 65, 97))
    assert 2 * count == counter.get_total_flops()
