"""The three levels of augmentation: what each may touch, and that one step never shifts another's draws."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglib.data.transforms import LEVELS, RandomBlur, RandomOcclusion, augmentation


def sample(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.integers(0, 9, (height, width), dtype=np.uint8)


@given(seed=st.integers(0, 10_000))
def test_occlusion_hides_one_rectangle_and_asks_nothing_of_it(seed: int) -> None:
    image, label = sample()
    hide = RandomOcclusion(p=1.0, area_range=(0.05, 0.3))
    hidden_image, hidden_label = hide(image, label, np.random.default_rng(seed))
    hidden = hidden_label == 255
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    assert hidden.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert 0.03 * label.size < hidden.sum() < 0.33 * label.size
    assert (hidden_image[hidden] == hide.fill).all()
    assert np.array_equal(hidden_image[~hidden], image[~hidden])
    assert np.array_equal(hidden_label[~hidden], label[~hidden])
    assert not (label == 255).any(), "the stored sample is not written to"


def test_blur_leaves_the_label_and_the_mean() -> None:
    image, label = sample()
    blurred, same = RandomBlur(p=1.0, sigma_range=(2.0, 2.0))(image, label, np.random.default_rng(0))
    assert same is label
    assert blurred.std() < 0.4 * image.std()
    assert abs(float(blurred.mean()) - float(image.mean())) < 2


@pytest.mark.parametrize("step", [RandomBlur, RandomOcclusion])
def test_draws_do_not_depend_on_the_outcome(step: type) -> None:
    image, label = sample()
    after = []
    for p in (0.0, 1.0):
        rng = np.random.default_rng(3)
        step(p=p)(image, label, rng)
        after.append(rng.random())
    assert after[0] == after[1]


def test_each_level_does_what_the_one_before_does() -> None:
    levels = [augmentation(level, 33).steps for level in LEVELS]
    for lower, higher in itertools.pairwise(levels):
        assert set(lower) < set(higher)


@pytest.mark.parametrize("level", LEVELS)
def test_padding_keeps_its_colour(level: str) -> None:
    """Jitter and blur come before it."""
    image, label = sample(20, 20)
    fill = (124, 116, 104)
    for seed in range(20):
        found, labels = augmentation(level, 64, (1.0, 1.0), fill=fill)(image, label, np.random.default_rng(seed))
        assert found.shape == (64, 64, 3)
        assert (found[labels == 255] == fill).all()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="level = 'strong'"):
        augmentation("strong", 33)
    with pytest.raises(ValueError, match="p: expected"):
        RandomBlur(p=2)
    with pytest.raises(ValueError, match="area_range"):
        RandomOcclusion(area_range=(0.0, 0.5))
