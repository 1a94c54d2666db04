"""The Mult-Adds column of v3+ Table 3, and the counter itself."""

from functools import cache

import pytest
import torch
from torch import nn

from seglib.models import DeepLabV3, DeepLabV3Plus, ResNet
from seglib.studies.cost import mult_adds, multi_scale_mult_adds, parameter_count

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
BILLION = 1e9


@cache
def paper_network(output_stride: int, decoder: bool) -> nn.Module:
    with torch.device("meta"):
        backbone = ResNet(101, output_stride, stem="3x3")
        return (DeepLabV3Plus if decoder else DeepLabV3)(21, backbone=backbone).eval()


# Output stride, decoder, v3+ Table 3's billions; 101.28 (16, with decoder) contradicts the table's own MS cell.
SINGLE_SCALE = [(16, False, 81.02), (8, False, 276.18), (8, True, 297.92), (32, False, 52.43), (32, True, 74.20)]
# Output stride, decoder, the MS cell, the MS and Flip cell.
MULTI_SCALE = [(8, False, 2435.37, 4870.59), (16, True, 898.69, 1797.23), (8, True, 2623.61, 5247.07)]
PLAIN = [
    (16, False, 76.05),
    (8, False, 252.25),
    (16, True, 97.81),
    (8, True, 273.99),
    (32, False, 51.41),
    (32, True, 73.17),
]


@pytest.mark.parametrize(("output_stride", "decoder", "billions"), SINGLE_SCALE)
def test_table_3_single_scale(output_stride: int, decoder: bool, billions: float) -> None:
    count = mult_adds(paper_network(output_stride, decoder), 513, 513)
    assert count / BILLION == pytest.approx(billions, rel=0.004)


@pytest.mark.parametrize(("output_stride", "decoder", "billions", "flipped"), MULTI_SCALE)
def test_table_3_multi_scale(output_stride: int, decoder: bool, billions: float, flipped: float) -> None:
    count = multi_scale_mult_adds(paper_network(output_stride, decoder), 513, SCALES)
    assert count / BILLION == pytest.approx(billions, rel=0.004)
    assert 2 * count / BILLION == pytest.approx(flipped, rel=0.004)


def test_flip_runs_every_scale_twice() -> None:
    model = nn.Conv2d(3, 1, 1)
    assert multi_scale_mult_adds(model, 9, (0.5, 1.25), flip=True) == 2 * 3 * (5 * 5 + 11 * 11)


@pytest.mark.parametrize(("output_stride", "decoder", "billions"), PLAIN)
def test_without_the_padded_positions(output_stride: int, decoder: bool, billions: float) -> None:
    """An ordinary counter's values: another tool's, computed before this one was written."""
    count = mult_adds(paper_network(output_stride, decoder), 513, 513, space_to_batch=False)
    assert count / BILLION == pytest.approx(billions, abs=0.005)


def test_each_kind_of_convolution_by_hand() -> None:
    assert mult_adds(nn.Conv2d(3, 8, 3, padding=1), 7, 5) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 8, 3, stride=2, padding=1), 7, 5) == 4 * 3 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 6, 3, padding=1, groups=3), 7, 5) == 7 * 5 * 9 * 6
    assert mult_adds(nn.ConvTranspose2d(3, 8, 4, stride=2), 7, 5) == 7 * 5 * 16 * 3 * 8
    atrous = nn.Conv2d(3, 8, 3, padding=4, dilation=4)
    assert mult_adds(atrous, 7, 5, space_to_batch=False) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(atrous, 7, 5) == 8 * 8 * 9 * 3 * 8


def test_torch_counts_the_same() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = DeepLabV3Plus(5, ResNet(18, width=8), channels=16, decoder_channels=8).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, 65, 97))
    assert 2 * mult_adds(model, 65, 97, space_to_batch=False) == counter.get_total_flops()


def test_counting_leaves_the_model_alone() -> None:
    model = DeepLabV3(5, ResNet(18, width=8), channels=16).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mult_adds(model, 65, 65)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_parameter_count() -> None:
    assert parameter_count(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))) == 3 * 8 * 9 + 8 + 16
