"""Joint transforms against Pillow, exact fractions, and coordinates drawn into the image; levels of augmentation."""

import colorsys
import itertools
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import refused
from torchvision.transforms.functional import normalize

from seglib.data.augmentation import (
    LEVELS,
    ColorJitter,
    RandomBlur,
    RandomOcclusion,
    ResizeKeepAspect,
    build_augmentation,
)
from seglib.data.base import Transform
from seglib.data.resampling import resample_label
from seglib.data.transforms import IMAGENET, UNIT, Compose, Normalisation, RandomFlip, RandomScaleCrop, Squash, to_batch

FILL = (124, 116, 104)
Size = tuple[int, int]
Window = tuple[Size, Size, Size, Size]
generator = np.random.default_rng


def noise(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image and label without any structure: every misplaced pixel shows."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, 21, (height, width), dtype=np.uint8)


def check_padding(image: np.ndarray, label: np.ndarray, size: Size, inside: Size, fill: tuple[int, int, int]) -> None:
    """The rest of `size` beside and below `inside` is void, and of the colour `fill`."""
    void = label == 255
    assert image.shape == (*size, 3) and label.shape == size
    assert not void[: inside[0], : inside[1]].any() and void.sum() == size[0] * size[1] - inside[0] * inside[1]
    assert (image[void] == fill).all()


def check_resized(image: np.ndarray, source: np.ndarray, size: Size) -> None:
    """The upper left part is Pillow's resize."""
    pillow = Image.fromarray(source).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(image[: size[0], : size[1]] - np.asarray(pillow, dtype=int)).max() <= 2


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Source size, resized size, and a window inside the latter."""
    source = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    size = tuple(max(1, int(side * draw(st.floats(0.4, 2.6)))) for side in source)
    extent = tuple(draw(st.integers(1, side)) for side in size)
    corner = tuple(draw(st.integers(0, s - e)) for s, e in zip(size, extent, strict=True))
    return source, size, corner, extent


@given(windows())
@settings(max_examples=100)
def test_label_window_takes_the_pixel_that_holds_the_centre(window: Window) -> None:
    source, size, (top, left), extent = window
    _, label = noise(*source)
    sample = resample_label(label, size, (top, left), extent)
    assert sample.shape == extent
    for row, column in {(0, 0), (extent[0] - 1, extent[1] - 1), (extent[0] // 2, extent[1] // 3)}:
        y = (top + row + Fraction(1, 2)) * source[0] / size[0]
        x = (left + column + Fraction(1, 2)) * source[1] / size[1]
        assert sample[row, column] == label[int(y), int(x)]


def test_image_and_label_stay_aligned() -> None:
    """Every pixel tells where it comes from, in the image by a ramp and in the label by a number."""
    height, width = 150, 230
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack([x, y, np.full_like(x, 77)], axis=-1).astype(np.uint8)
    steps = Compose((RandomScaleCrop(120), RandomFlip()))
    for coordinates, channel in ((x, 0), (y, 1)):
        for seed in range(30):
            new_image, new_label = steps(image, coordinates.astype(np.uint8), generator(seed))
            inside = new_label != 255
            # the first and last pixels of an enlarged image repeat the border and are no ramp
            inside &= (new_label > 1) & (new_label < coordinates.max() - 1)
            assert inside.any()
            offset = new_image[..., channel].astype(int)[inside] - new_label[inside]
            assert np.abs(offset).max() <= 1
            assert abs(offset.mean()) < 0.3, "half a pixel is the largest error of one label, not of all"
            assert (new_image[..., 2][inside] == 77).all()


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 20)])
def test_padding_is_void_and_fill_at_the_bottom_and_the_right(shape: tuple[int, int]) -> None:
    new_image, new_label = RandomScaleCrop((48, 44), scale_range=(1, 1), fill=(1, 2, 3))(*noise(*shape), generator(0))
    check_padding(new_image, new_label, (48, 44), (min(48, shape[0]), min(44, shape[1])), (1, 2, 3))


def test_every_window_is_as_likely_as_any_other() -> None:
    image, _ = noise(6, 9)
    label = np.arange(54, dtype=np.uint8).reshape(6, 9)
    found = np.zeros((3, 3), dtype=int)
    for seed in range(900):
        new_image, new_label = RandomScaleCrop((4, 7), scale_range=(1, 1))(image, label, generator(seed))
        top, left = divmod(int(new_label[0, 0]), 9)
        found[top, left] += 1
        assert np.array_equal(new_label, label[top : top + 4, left : left + 7])
        assert np.array_equal(new_image, image[top : top + 4, left : left + 7])
    assert found.min() > 60 and found.max() < 140


def test_scale_is_the_size_of_things_in_the_result() -> None:
    """A square of 20 pixels is 10 to 40 wide afterwards, and takes its whole range."""
    image, label = np.zeros((60, 60, 3), dtype=np.uint8), np.zeros((60, 60), dtype=np.uint8)
    label[20:40, 20:40] = 1
    sides = []
    for seed in range(60):
        _, new_label = RandomScaleCrop(130)(image, label, generator(seed))
        rows, columns = (new_label == 1).any(1).sum(), (new_label == 1).any(0).sum()
        assert abs(int(rows) - int(columns)) <= 1
        sides.append(rows)
    assert 9 <= min(sides) <= 13 and 36 <= max(sides) <= 41
    for wrong in ((2.0, 0.5), (0.0, 0.5)):
        refused(r"scale_range: expected 0 < smallest <= largest, found \(", RandomScaleCrop, 8, wrong)


def test_a_probability_or_strength_that_cannot_be_is_named() -> None:
    refused("p: expected 0 to 1, found 2.0", RandomFlip, 2.0)
    refused("contrast: expected 0 to inf, found -0.1", ColorJitter, contrast=-0.1)
    refused("hue: expected 0 to 0.5, found 0.6", ColorJitter, hue=0.6)


@pytest.mark.parametrize(("p", "fewest", "most"), [(0.0, 0, 0), (0.5, 161, 239), (1.0, 400, 400)])
def test_flip_mirrors_both_or_neither(p: float, fewest: int, most: int) -> None:
    image, label = noise(7, 10)
    times = 0
    for seed in range(400):
        new_image, new_label = RandomFlip(p)(image, label, generator(seed))
        mirror = not np.array_equal(new_image, image)
        assert np.array_equal(new_image, image[:, ::-1] if mirror else image)
        assert np.array_equal(new_label, label[:, ::-1] if mirror else label)
        times += mirror
    assert fewest <= times <= most


def test_jitter_scales_brightness_and_mixes_contrast_and_saturation_with_grey() -> None:
    image, label = noise(9, 8)
    grey = image @ np.array([0.2989, 0.587, 0.114])
    assert np.array_equal(ColorJitter()(image, label, generator(0))[0], image)
    for seed in range(20):
        factors = 0.5 + generator(seed).random(3)
        for step, factor, towards in (
            (ColorJitter(brightness=0.5), factors[0], 0),
            (ColorJitter(contrast=0.5), factors[1], grey.mean()),
            (ColorJitter(saturation=0.5), factors[2], grey[..., None]),
        ):
            new_image, new_label = step(image, label, generator(seed))
            expected = np.clip(factor * image + (1 - factor) * towards, 0, 255)
            assert np.abs(new_image - expected).max() <= 2 and new_label is label


def test_jitter_of_hue_turns_the_colour_circle() -> None:
    image, label = noise(3, 4)
    turn = (2 * generator(5).random(4)[3] - 1) * 0.3
    new_image, _ = ColorJitter(hue=0.3)(image, label, generator(5))
    for pixel, new_pixel in zip(image.reshape(-1, 3), new_image.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        expected = np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)) * 255
        assert np.abs(new_pixel - expected).max() <= 2


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (17, 64), (64, 64), (1, 9)])
def test_squash_and_resize_are_pillows(shape: Size) -> None:
    """The one to any proportions, the other to the image's own, with padding."""
    image, label = noise(*shape)
    new_image, new_label = Squash((20, 50))(image, label)
    check_resized(new_image, image, (20, 50))
    assert new_label.shape == (20, 50) and set(np.unique(new_label)) <= set(np.unique(label))
    new_image, new_label = ResizeKeepAspect(64)(image, label)
    size = tuple(max(1, round(side * 64 / max(shape))) for side in shape)
    assert 64 in size
    check_resized(new_image, image, size)
    check_padding(new_image, new_label, (64, 64), size, FILL)


def test_inputs_are_left_alone_whatever_their_memory() -> None:
    """Read-only and turned-round arrays work, without a word from torch, and give what plain ones give."""
    image, label = noise(40, 50)
    steps = Compose((RandomScaleCrop(32), RandomFlip(1.0), ColorJitter(0.5, 0.5, 0.5, 0.1)))
    expected = steps(image.copy(), label.copy(), generator(1))
    image.flags.writeable = label.flags.writeable = False
    turned = np.asfortranarray(image)[::-1][::-1], label.T.copy().T
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sample in ((image, label), turned):
            result = steps(*sample, generator(1))
            assert np.array_equal(result[0], expected[0]) and np.array_equal(result[1], expected[1])
    assert np.array_equal(image, noise(40, 50)[0]) and np.array_equal(label, noise(40, 50)[1])


def test_samples_of_several_sizes_make_no_batch() -> None:
    for unequal, message in (([noise(6, 5), noise(8, 4)], r"found 5 x 6, 4 x 8; crop or pad"), ([], "no sample")):
        refused(message, to_batch, unequal)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalisation_is_torchvisions_and_keeps_the_memory_format(memory_format: torch.memory_format) -> None:
    images, _ = to_batch([noise(6, 5, seed) for seed in range(2)])
    images = images.contiguous(memory_format=memory_format)
    before = images.clone()
    expected = normalize(images / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    pixels = Normalisation.named("imagenet")(images)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=1e-5)
    assert pixels.dtype == torch.float32 and pixels.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(Normalisation.named("unit")(images), images / 127.5 - 1, atol=1e-6, rtol=0)
    assert torch.equal(images, before)
    assert IMAGENET.fill == FILL
    for convention in (IMAGENET, UNIT):
        assert convention(torch.tensor(convention.fill, dtype=torch.uint8).view(1, 3, 1, 1)).abs().max() < 0.01
    for wrong in (images.float(), images[0]):
        refused(r"expected images \(B, 3, H, W\) uint8", IMAGENET, wrong)


@pytest.mark.parametrize(
    "make", [lambda p: RandomScaleCrop(20), RandomFlip, RandomBlur, RandomOcclusion, lambda p: ColorJitter(p, p, p)]
)
def test_draws_depend_neither_on_the_image_nor_on_the_outcome(make: Callable[[float], Transform]) -> None:
    states = []
    for p, shape in itertools.product((0.0, 1.0), ((3, 4), (90, 60), (20, 20))):
        rng = generator(3)
        make(p)(*noise(*shape), rng)
        states.append(rng.bit_generator.state)
    assert all(state == states[0] for state in states) and states[0] != generator(3).bit_generator.state


@given(st.integers(0, 10_000))
def test_occlusion_hides_one_rectangle_and_asks_nothing_of_it(seed: int) -> None:
    image, label = noise(40, 60)
    hidden_image, hidden_label = RandomOcclusion(p=1.0, fill=(1, 2, 3))(image, label, generator(seed))
    hidden = hidden_label == 255
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    assert hidden.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert 0.015 * label.size < hidden.sum() < 0.22 * label.size
    assert (hidden_image[hidden] == (1, 2, 3)).all()
    assert np.array_equal(hidden_image[~hidden], image[~hidden])
    assert np.array_equal(hidden_label[~hidden], label[~hidden])
    assert not (label == 255).any(), "the stored sample is not written to"


def test_blur_leaves_the_label_and_the_mean() -> None:
    image, label = noise(40, 60)
    spreads = []
    for seed in range(20):
        blurred, same = RandomBlur(p=1.0)(image, label, generator(seed))
        assert same is label and abs(float(blurred.mean()) - float(image.mean())) < 2
        spreads.append(blurred.std() / image.std())
    assert 0.15 < min(spreads) < 0.4 and 0.6 < max(spreads) < 1, "deviations of 0.3 to 1.5 pixels"


def test_each_level_does_what_the_one_before_does() -> None:
    """Padding keeps its colour on all of them: jitter and blur come before it."""
    levels = [build_augmentation(level, 64, (1.0, 1.0), fill=(7, 8, 9)) for level in LEVELS]
    for lower, higher in itertools.pairwise(levels):
        assert set(lower.steps) < set(higher.steps)
    for steps, seed in itertools.product(levels, range(20)):
        image, label = steps(*noise(20, 20), generator(seed))
        assert image.shape == (64, 64, 3) and (image[label == 255] == (7, 8, 9)).all()
    refused("level = 'strong'", build_augmentation, "strong", 33)
