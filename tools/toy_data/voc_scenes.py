"""Scenes of the toy VOC set: land, lake and sea floor, with eight classes (see data/README.md for what they teach)."""

from dataclasses import dataclass

import numpy as np

from tools.toy_data import voc_objects as things
from tools.toy_data.canvas import (
    SUPERSAMPLING,
    Canvas,
    chance,
    log_uniform,
    mix,
    pick,
    shade,
    smooth_noise,
    uniform,
    vary,
    void_border,
)

HOUSE, TREE, BOAT, TENT, KITE, FISH, FENCE, LAMP = range(1, 9)
SCENES = ("land", "lake", "land", "sea floor")
SIZES = ((120, 160), (120, 160), (144, 144), (160, 120), (112, 168))  # height, width

# Sky and deep water share one list: the colour behind a kite or a fish says nothing about which of the two it is.
BACKDROPS = [
    ((96, 160, 220), (170, 208, 232)), ((70, 130, 190), (120, 190, 206)), ((120, 176, 190), (190, 214, 206)),
    ((60, 96, 160), (112, 150, 196)), ((140, 160, 176), (196, 204, 206)),
]  # fmt: skip
NIGHTS = [((28, 38, 84), (62, 84, 128)), ((24, 52, 84), (52, 96, 116))]
LANDS = [(122, 160, 78), (150, 166, 84), (196, 176, 120), (222, 228, 234), (140, 138, 88)]
WATERS = [(74, 128, 168), (70, 146, 156), (108, 136, 152), (60, 104, 146)]
SANDS = [(206, 188, 140), (180, 168, 136), (150, 150, 130)]
ROCKS = [(128, 124, 120), (106, 104, 108), (150, 136, 120)]


@dataclass(frozen=True)
class VOCScene:
    """One picture: `image` uint8 (H, W, 3), `label` and the coarser `label_sbd` uint8 (H, W), `owners` int32 (H, W)."""

    kind: str
    image: np.ndarray
    label: np.ndarray
    label_sbd: np.ndarray
    owners: np.ndarray


def voc_scene(rng: np.random.Generator, kind: str | None = None, size: tuple[int, int] | None = None) -> VOCScene:
    """Paint one scene.

    `kind`: "land", "lake" or "sea floor"; `size`: (height, width); each drawn from `rng` when None.
    Raises ValueError for another kind.
    """
    painters = {"land": _land, "lake": _lake, "sea floor": _sea_floor}
    kind = pick(rng, SCENES) if kind is None else kind
    if kind not in painters:
        raise ValueError(f"kind: expected one of {tuple(painters)}, found {kind!r}")
    height, width = pick(rng, SIZES) if size is None else size
    canvas = Canvas(height, width)
    night = chance(rng, 0.15)
    painters[kind](canvas, rng, night)
    owners, labels = canvas.sample(canvas.owners), canvas.sample(canvas.labels)
    shift = _unsteady_hand(rng, height, width)
    return VOCScene(
        kind=kind,
        image=_develop(canvas, rng, night),
        label=void_border(labels, owners),
        label_sbd=canvas.sample(canvas.labels, shift).astype(np.uint8),
        owners=owners,
    )


def _unsteady_hand(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in samples, smooth and less than a pixel: outlines as a quicker hand draws them."""
    reach = SUPERSAMPLING - 0.6
    return tuple(np.rint(smooth_noise(rng, height, width, 9.0) * reach).astype(int) for _ in "yx")


def _develop(canvas: Canvas, rng: np.random.Generator, night: bool) -> np.ndarray:
    """The light of the day, its tint and the camera's noise."""
    gain = uniform(rng, 0.78, 0.92) if night else uniform(rng, 0.84, 1.1)
    tint = np.array([uniform(rng, 0.93, 1.07), 1.0, uniform(rng, 0.93, 1.07)], np.float32)
    image = canvas.image() * tint * np.float32(gain)
    height, width = image.shape[:2]
    image += smooth_noise(rng, height, width, 40.0)[..., None] * 7
    image += (rng.random(image.shape) + rng.random(image.shape) - 1).astype(np.float32) * 6
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _unit(canvas: Canvas) -> float:
    """The length that object sizes are multiples of."""
    return (canvas.height * canvas.width) ** 0.5


def _backdrop(canvas: Canvas, rng: np.random.Generator, night: bool) -> None:
    """Sky or deep water: a gradient, either way up, with a few pale soft patches. The same for both."""
    first, second = pick(rng, NIGHTS if night else BACKDROPS)
    if chance(rng, 0.5):
        first, second = second, first
    first, second = vary(rng, first, 10), vary(rng, second, 10)
    ends = np.asarray(first, np.float32), np.asarray(second, np.float32)
    h, w = canvas.height, canvas.width
    canvas.begin_background()
    canvas.rectangle(
        0, 0, w, h, lambda yy, xx: (ends[0] + (ends[1] - ends[0]) * (yy / h)[..., None]) + 0 * xx[..., None]
    )
    for _ in range(int(uniform(rng, 0, 4.99))):
        x, y, r = uniform(rng, 0, w), uniform(rng, 0, 0.6 * h), uniform(rng, 10, 24)
        pale = mix(second, (255, 255, 255), 0.5)
        for dx, dy, size in ((0, 0, 1.0), (0.5, -2.2, 0.7), (-0.6, 2.4, 0.6)):
            canvas.ellipse((x + dx * r, y + dy), (r * size, 1.2 + 0.07 * r * size), pale, opacity=0.45)


def _ground(canvas: Canvas, rng: np.random.Generator, colour, top: float, waves: float) -> None:
    """Everything below `top`, with a gently uneven upper edge and an uneven tone."""
    h, w = canvas.height, canvas.width
    edge = [(x, top + uniform(rng, -waves, waves)) for x in np.linspace(-5, w + 5, 9).tolist()]
    tone = smooth_noise(rng, h * SUPERSAMPLING, w * SUPERSAMPLING, 22.0)
    base = np.asarray(colour, np.float32)

    def paint(yy, xx):
        rows, columns = (np.rint(v * SUPERSAMPLING - 0.5).astype(int) for v in (yy, xx))
        patch = tone[rows[:, 0][:, None], columns[0][None, :]]
        near = ((yy - top) / (h - top + 1)).clip(0, 1)
        return base * (1.08 - 0.2 * near[..., None] + 0.07 * patch[..., None])

    canvas.polygon([*edge, (w + 5, h + 5), (-5, h + 5)], paint)


def _mountains(canvas: Canvas, rng: np.random.Generator, top: float, night: bool) -> None:
    """Far triangles: background, however much they look like tents."""
    far = mix((126, 142, 160), (40, 50, 84), 0.7 if night else 0.0)
    for _ in range(int(uniform(rng, 0, 4.5))):
        x, half, rise = uniform(rng, 0, canvas.width), uniform(rng, 16, 50), uniform(rng, 10, 36)
        tone = vary(rng, far, 8)
        canvas.polygon([(x - half, top + 4), (x, top - rise), (x + half, top + 4)], tone)
        canvas.polygon([(x - half * 0.25, top - rise * 0.72), (x, top - rise), (x + half * 0.25, top - rise * 0.72)],
                       mix(tone, (250, 250, 252), 0.6))  # fmt: skip


def _rocks(canvas: Canvas, rng: np.random.Generator, top: float, most: float) -> None:
    for _ in range(int(uniform(rng, 0, most + 0.99))):
        x, y = uniform(rng, 0, canvas.width), uniform(rng, top + 4, canvas.height + 4)
        r = uniform(rng, 2, 5) + 8 * (y - top) / canvas.height
        tone = vary(rng, pick(rng, ROCKS))
        canvas.begin_background()
        canvas.ellipse((x, y), (r * 1.3, r * 0.8), shade(tone, 0.8))
        canvas.ellipse((x - 0.2 * r, y - 0.2 * r), (r * 0.95, r * 0.5), shade(tone, 1.15))


def _flock(canvas: Canvas, rng: np.random.Generator, label: int, few: float, most: float, bottom: float) -> None:
    """Kites or fish between the top of the picture and `bottom`: the same sizes and numbers per area for both."""
    for _ in range(int(uniform(rng, few, most + 0.99))):
        length = 0.7 * _nearness(rng) * _unit(canvas)
        y = uniform(rng, min(0.25 * length, bottom / 2), max(bottom - 0.3 * length, bottom / 2))
        things.koi(canvas, rng, label, uniform(rng, 0, canvas.width), y, length)


def _nearness(rng: np.random.Generator) -> float:
    """The size of an object as a part of its largest: half over the whole range, half from the upper part of it."""
    return log_uniform(rng, 0.1, 1.0) if chance(rng, 0.5) else log_uniform(rng, 0.4, 1.0)


def _standing(canvas: Canvas, rng: np.random.Generator, counts: dict, top: float, night: bool) -> None:
    """Objects on the ground, far to near: the nearer, the lower in the picture and the larger, over three octaves."""
    tallest = {HOUSE: 0.62, TREE: 0.95, BOAT: 0.82, TENT: 0.82, FENCE: 0.4, LAMP: 1.0}
    crowd = [
        (_nearness(rng), label) for label, (few, most) in counts.items()
        for _ in range(int(uniform(rng, few, most + 0.99)))
    ]  # fmt: skip
    for near, label in sorted(crowd):
        h = near * tallest[label] * _unit(canvas)
        y = top + 2 + (canvas.height - top) * near * uniform(rng, 0.8, 1.0)
        x = uniform(rng, 0, canvas.width)
        if label in (HOUSE, LAMP):
            (things.house if label == HOUSE else things.lamp)(canvas, rng, label, x, y, h, night)
        elif label == FENCE:
            things.fence(canvas, rng, label, x, y, h, uniform(rng, 2.5, 7) * h)
        else:
            (things.tree if label == TREE else things.canvas_triangle)(canvas, rng, label, x, y, h)


def _land(canvas: Canvas, rng: np.random.Generator, night: bool) -> None:
    top = uniform(rng, 0.42, 0.66) * canvas.height
    _backdrop(canvas, rng, night)
    _mountains(canvas, rng, top, night)
    ground = vary(rng, pick(rng, LANDS))
    _ground(canvas, rng, mix(ground, (30, 42, 70), 0.55) if night else ground, top, 3)
    _rocks(canvas, rng, top, 3)
    _flock(canvas, rng, KITE, 0, 3, top)
    _standing(canvas, rng, {HOUSE: (0, 2), TREE: (0, 3), TENT: (0, 2), FENCE: (0, 2), LAMP: (0, 2)}, top, night)


def _lake(canvas: Canvas, rng: np.random.Generator, night: bool) -> None:
    top = uniform(rng, 0.4, 0.6) * canvas.height
    _backdrop(canvas, rng, night)
    _mountains(canvas, rng, top, night)
    dark = 0.55 if night else 0.0
    _ground(canvas, rng, mix(vary(rng, pick(rng, LANDS)), (30, 42, 70), dark), top - 4, 2)
    for _ in range(int(uniform(rng, 0, 3.99))):
        place = uniform(rng, 0, canvas.width), top - uniform(rng, 0, 3), uniform(rng, 12, 26)
        things.tree(canvas, rng, TREE, *place) if chance(rng, 0.5) else things.house(canvas, rng, HOUSE, *place, night)
    canvas.begin_background()
    water = mix(vary(rng, pick(rng, WATERS)), (24, 36, 76), dark)
    _ground(canvas, rng, water, top, 0.6)
    for _ in range(26):
        x, y = uniform(rng, 0, canvas.width), uniform(rng, top + 3, canvas.height)
        reach = 2 + 14 * (y - top) / canvas.height
        canvas.stroke([(x - reach, y), (x + reach, y)], (0.8, 0.8), mix(water, (240, 248, 255), 0.3))
    _flock(canvas, rng, KITE, 0, 3, top)
    _standing(canvas, rng, {BOAT: (1, 4)}, top, night)
    if chance(rng, 0.4):
        quay = uniform(rng, 0.84, 0.93) * canvas.height
        canvas.begin_background()
        _ground(canvas, rng, mix(pick(rng, ROCKS), (30, 34, 50), dark), quay, 0.4)
        for _ in range(2):
            x, y, unit = uniform(rng, 0, canvas.width), uniform(rng, quay + 3, canvas.height), _unit(canvas)
            if chance(rng, 0.5):
                things.lamp(canvas, rng, LAMP, x, y, uniform(rng, 0.4, 0.75) * unit, night)
            else:
                things.fence(canvas, rng, FENCE, x, y, uniform(rng, 0.12, 0.2) * unit, uniform(rng, 60, 120))


def _sea_floor(canvas: Canvas, rng: np.random.Generator, night: bool) -> None:
    top = uniform(rng, 0.66, 0.88) * canvas.height
    _backdrop(canvas, rng, night)
    ground = vary(rng, pick(rng, SANDS))
    _ground(canvas, rng, mix(ground, (26, 46, 76), 0.6 if night else 0.25), top, 3)
    _rocks(canvas, rng, top, 5)
    _flock(canvas, rng, FISH, 2, 6, top)
    canvas.begin_background()
    for _ in range(int(uniform(rng, 2, 10))):
        x, y = uniform(rng, 0, canvas.width), uniform(rng, top + 2, canvas.height)
        tall, sway, tone = uniform(rng, 8, 30), uniform(rng, -5, 5), vary(rng, pick(rng, things.LEAVES[:3]))
        stem = [
            (x + sway * bend, y - tall * k / 8) for k, bend in enumerate((0, 0.5, 0.8, 0.7, 0.2, -0.2, -0.3, 0, 0.5))
        ]
        canvas.stroke(stem, (2.6, 1.0), mix(tone, (20, 60, 80), 0.35))
