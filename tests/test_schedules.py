"""Schedules against their formulas and PyTorch's own schedulers."""

from collections.abc import Callable

import pytest
import torch

from seglib.train.optim import cosine, poly, step, warm_up


def test_poly_is_the_papers_formula() -> None:
    assert poly(0, 30_000, 0.007) == 0.007
    assert poly(15_000, 30_000, 0.007) == pytest.approx(0.007 * 0.5**0.9)
    assert poly(29_999, 30_000, 0.007) == pytest.approx(0.007 * (1 / 30_000) ** 0.9)
    assert poly(90_000, 90_000, 0.007, end_lr=0.001) == pytest.approx(0.001)
    assert poly(120_000, 90_000, 0.007, end_lr=0.001) == pytest.approx(0.001)  # decay steps shorter than the run


def test_cosine_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    for iteration in range(51):
        assert cosine(iteration, 50, 0.1, 0.01) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert cosine(80, 50, 0.1, 0.01) == pytest.approx(0.01)


def test_step_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 7], gamma=0.5)
    for iteration in range(10):
        assert step(iteration, (3, 7), 0.1, 0.5) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_warm_up_ends_on_the_other_schedule() -> None:
    rates = [warm_up(i, 10, poly(i, 100, 0.1), start=0.2) for i in range(30)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[5] == pytest.approx(0.6 * poly(5, 100, 0.1))
    assert rates[10:] == pytest.approx([poly(i, 100, 0.1) for i in range(10, 30)])
    assert warm_up(0, 0, 0.1) == 0.1


@pytest.mark.parametrize("schedule", [poly, cosine])
def test_nonsense_is_refused(schedule: Callable[[int, int, float], float]) -> None:
    with pytest.raises(ValueError, match="iteration -1 of 10"):
        schedule(-1, 10, 0.1)
    with pytest.raises(ValueError, match="of 0"):
        schedule(0, 0, 0.1)
