"""Cross-entropy over valid pixels and the poly schedule, against plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from seglib.losses import cross_entropy
from seglib.schedules import poly


def by_hand(logits: torch.Tensor, labels: torch.Tensor) -> float:
    total, valid = 0.0, 0
    for b in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = int(labels[b, y, x])
                if label != 255:
                    scores = logits[b, :, y, x].double()
                    total += float(torch.logsumexp(scores, 0) - scores[label])
                    valid += 1
    return total / max(valid, 1)


@given(seed=st.integers(0, 10_000), void=st.floats(0.0, 1.0))
def test_mean_over_valid_pixels_of_the_batch(seed: int, void: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 5), generator=generator).to(torch.uint8)
    labels[torch.rand(2, 3, 5, generator=generator) < void] = 255
    assert float(cross_entropy(logits, labels)) == pytest.approx(by_hand(logits, labels), abs=1e-5)


def test_half_void_is_not_half_the_loss() -> None:
    logits, labels = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [255, 255]]])
    assert float(cross_entropy(logits, labels)) == pytest.approx(math.log(2))


def test_all_void_is_zero_with_zero_gradients() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), 255)
    assert torch.isnan(F.cross_entropy(logits, labels, ignore_index=255))  # what goes wrong without us
    loss = cross_entropy(logits, labels)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.zeros(1, 2, 400, 400, dtype=torch.float16)  # the sum, 110,904, is beyond float16
    labels = torch.zeros(1, 400, 400, dtype=torch.uint8)
    assert float(cross_entropy(logits, labels)) == pytest.approx(math.log(2), rel=1e-5)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\).*\(1, 8, 8\)"):
        cross_entropy(torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 8))


def test_poly_is_the_papers_formula() -> None:
    assert poly(0, 30_000, 0.007) == 0.007
    assert poly(15_000, 30_000, 0.007) == pytest.approx(0.007 * 0.5**0.9)
    assert poly(29_999, 30_000, 0.007) == pytest.approx(0.007 * (1 / 30_000) ** 0.9)
    assert poly(90_000, 90_000, 0.007, end_lr=0.001) == pytest.approx(0.001)
    assert poly(120_000, 90_000, 0.007, end_lr=0.001) == pytest.approx(0.001)  # decay steps shorter than the run


def test_poly_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="iteration -1 of 10"):
        poly(-1, 10, 0.1)
    with pytest.raises(ValueError, match="of 0"):
        poly(0, 0, 0.1)
