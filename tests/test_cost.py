"""The Mult-Adds columns of v3+ Tables 3 and 5, the counter itself, and the time of a training by stored ones."""

import math
from functools import cache

import pytest
import torch
from networks import meta
from small_set import SMALL
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet
from seglib.studies import cost
from seglib.studies.cost import mult_adds, parameter_count


@cache
def paper_network(output_stride: int, decoder: bool) -> nn.Module:
    backbone = meta(ResNet, 101, output_stride, stem="3x3")
    return meta(DeepLabV3Plus if decoder else DeepLabV3, 21, backbone=backbone).eval()


def test_table_3() -> None:
    """The paper's billions, and an ordinary counter's: another tool's, computed before this one was written."""
    for output_stride, decoder, paper, plain in (
        (16, False, 81.02, 76.05),
        (8, False, 276.18, 252.25),
        (8, True, 297.92, 273.99),
        (32, True, 74.20, 73.17),
    ):
        network = paper_network(output_stride, decoder)
        assert mult_adds(network, 513, 513) / 1e9 == pytest.approx(paper, rel=0.004)
        assert mult_adds(network, 513, 513, space_to_batch=False) / 1e9 == pytest.approx(plain, abs=0.005)
    # Its cell of one scale with the decoder, 101.28, contradicts this one of six; mirrored images double it.
    count = sum(mult_adds(paper_network(16, decoder=True), side, side) for side in (257, 385, 513, 641, 769, 897))
    assert (count / 1e9, 2 * count / 1e9) == pytest.approx((898.69, 1797.23), rel=0.004)


def test_table_5() -> None:
    for output_stride, decoder, separable, billions in [
        (16, False, False, 68.00),
        (8, True, False, 262.59),
        (8, True, True, 177.10),
    ]:
        variant = HeadVariant(separable="paper" if separable else "none")
        head = DeepLabV3Plus if decoder else DeepLabV3
        model = meta(head, 21, "xception65", output_stride, variant=variant).eval()
        assert mult_adds(model, 513, 513) / 1e9 == pytest.approx(billions, rel=0.003)


def test_each_kind_of_convolution_by_hand() -> None:
    assert mult_adds(nn.Conv2d(3, 8, 3, padding=1), 7, 5) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 8, 3, stride=2, padding=1), 7, 5) == 4 * 3 * 9 * 3 * 8
    assert mult_adds(nn.Conv2d(3, 6, 3, padding=1, groups=3), 7, 5) == 7 * 5 * 9 * 6
    assert mult_adds(nn.ConvTranspose2d(3, 8, 4, stride=2), 7, 5) == 7 * 5 * 16 * 3 * 8
    atrous = nn.Conv2d(3, 8, 3, padding=4, dilation=4)
    assert mult_adds(atrous, 7, 5, space_to_batch=False) == 7 * 5 * 9 * 3 * 8
    assert mult_adds(atrous, 7, 5) == 8 * 8 * 9 * 3 * 8
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


def test_times_are_taken_in_proportion_from_the_most_similar_training() -> None:
    wide = SMALL.replace(iterations=24, lr=0.1)
    known = {SMALL: [100.0, 80.0, 600.0], wide: [500.0], SMALL.replace(width=16): [1.0]}
    assert cost.tell_seconds(SMALL.replace(seed=3, eval_flip=True), known) == 100, "measured: the median"
    assert cost.tell_seconds(SMALL.replace(batch_size=6), known) == 300
    assert cost.tell_seconds(wide.replace(iterations=48), known) == 1000
    assert math.isnan(cost.tell_seconds(SMALL.replace(width=32), known))


def test_a_training_of_any_network_is_counted() -> None:
    for changes in [{"norm": "group", "norm_groups": 4}, {"model": "fcn32s", "backbone": "vgg16", "output_stride": 32}]:
        recipe = SMALL.replace(**changes, batch_size=3, iterations=5)
        one = mult_adds(meta(cost.build_model, recipe, 21), 33, 33, space_to_batch=False)
        assert cost.training_mult_adds(recipe) == 15 * one
