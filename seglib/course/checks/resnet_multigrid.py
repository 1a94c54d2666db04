"""Checks of notebook 03: a pre-activated unit, three rates without a gap, strides turned into rates."""

from collections.abc import Callable, Sequence
from math import prod
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, diagnose, exercise, expect
from seglib.course.reach import Head, reach, shares_in_view
from seglib.models.layers import atrous_plan

Plan = Sequence[tuple[int, int]]  # stride and rate of each unit


@exercise("3.1", "Norm, ReLU, convolution, three times, and the input added untouched.")
@torch.no_grad()
def pre_activation(answer: Callable[[Tensor, Sequence[nn.Module], Sequence[nn.Module]], Tensor]) -> None:
    """Takes a bottleneck unit with an identity shortcut, whose norms have random parameters."""
    sizes = ((8, 4, 1), (4, 4, 3), (4, 8, 1))
    norms = [nn.BatchNorm2d(channels).double().eval() for channels, _, _ in sizes]
    convs = [nn.Conv2d(*size, padding="same", bias=False).double() for size in sizes]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.5)
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)

    def residual(y: Tensor, relu: Callable[[Tensor], Tensor] = F.relu) -> Tensor:
        for norm, conv in zip(norms, convs, strict=True):
            y = conv(relu(norm(y)))
        return y

    usual = {
        "it is F(x) only. The shortcut adds x.": residual(x),
        "there is no ReLU after the sum: the shortcut stays untouched.": F.relu(x + residual(x)),
        "the shortcut starts at x itself, before the first norm and ReLU.": F.relu(norms[0](x)) + residual(x),
        "a ReLU belongs between each norm and its convolution.": x + residual(x, relu=nn.Identity()),
    }
    found = call(answer, x.clone(), norms, convs)
    diagnose("The result", found, x + residual(x), usual, "in each of the three steps: norm, ReLU, convolution.")


@exercise("3.2", "Small rates fill the gaps that large ones leave; together they reach as far as their sum.")
def choose_rates(answer: Callable[[], Sequence[int]]) -> None:
    """Takes any three rates that see a beacon at every distance from 8 to 64 pixels."""
    rates = tuple(call(answer))
    whole = len(rates) == 3 and all(isinstance(rate, Integral) and rate >= 1 for rate in rates)
    expect(whole, f"Three whole numbers of at least 1 are expected, found {rates}.")
    rates = tuple(map(int, rates))
    head, distances = Head(units=rates), range(8, 65)
    blind = [place for place, share in zip(distances, shares_in_view(head, distances), strict=True) if share < 1]
    hint = "add up one of -r, 0 and r for each rate: neighbouring sums may lie 2 apart, and not more."
    nearest = min(blind, default=0)
    if nearest > reach(head):
        hint = "the sum of the rates has to grow; where it comes from is your choice."
    elif len({*rates}) == 1:
        hint = "equal rates see a grid; a small one beside them fills it."
    expect(not blind, f"Rates {rates} do not see every beacon {nearest} pixels away. They reach {reach(head)}.", hint)


@exercise("3.3", "Your dilated chain gives, on the strided chain's pixels, the strided chain's numbers.")
def strides_to_rates(answer: Callable[[Sequence[int], int], Plan]) -> None:
    """Compares chains of random kernels; only if these differ, the plan with that of seglib's networks."""
    for units in ((1, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 1, 2), (1, 2, 1, 2, 1, 2, 1, 1)):
        for output_stride in (stride for stride in (32, 16, 8) if stride <= 4 * prod(units)):
            found = [(int(stride), int(rate)) for stride, rate in call(answer, units, output_stride)]
            if _same_numbers(units, found, output_stride):
                continue
            plans = [atrous_plan(units, output_stride, 4, dilate_first_unit=first) for first in (False, True)]
            right, early = ([(step.stride, step.rate) for step in plan] for plan in plans)
            usual = {
                "a unit keeps its stride only until the output stride is reached.": [(stride, 1) for stride in units],
                "a unit after a removed stride must look farther.": [(stride, 1) for stride, _ in right],
                "the unit that loses its stride reads the same map as before; only those after it are dilated.": early,
                "every removed stride multiplies the rate.": [(stride, min(rate, 2)) for stride, rate in right],
            }
            diagnose(f"strides_to_rates({units}, {output_stride})", found, right, usual, "walk along the units.")


def _same_numbers(units: Sequence[int], plan: Plan, output_stride: int) -> bool:
    """Runs a strided chain of 1-d convolutions and the plan's; compares them on the strided chain's pixels."""
    if len(plan) != len(units) or 4 * prod(stride for stride, _ in plan) != output_stride:
        return False
    strided = dilated = torch.randn(1, 1, 128, dtype=torch.float64)
    for own, (stride, rate) in zip(units, plan, strict=True):
        kernel = torch.randn(1, 1, 3, dtype=torch.float64)
        strided = torch.tanh(F.conv1d(strided, kernel, stride=own, padding=1))
        dilated = torch.tanh(F.conv1d(dilated, kernel, stride=stride, padding=rate, dilation=rate))
    return torch.allclose(dilated[..., :: 4 * prod(units) // output_stride], strided)
