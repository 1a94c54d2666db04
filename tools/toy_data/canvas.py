"""A small painter: shapes go on a picture and on its label map at the same time, back to front.

Only `Generator.random` and the four operations, square roots and comparisons decide where a shape lies, so that label
maps come out byte for byte the same on every machine. Sines and cosines are rounded to 1/4096 for the same reason.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

VOID = 255
SUPERSAMPLING = 3  # odd, so that a label pixel has one centre sample

Colour = tuple[float, float, float]
Points = Sequence[tuple[float, float]]
Paint = Colour | Callable[[np.ndarray, np.ndarray], np.ndarray]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number between `low` and `high`."""
    return low + (high - low) * float(rng.random())


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number between `low` and `high`, every octave as likely as the next (linear inside an octave)."""
    octaves = math.frexp(high / low)[1] + 1
    while True:
        value = low * 2.0 ** int(octaves * rng.random()) * (1.0 + float(rng.random()))
        if value <= high:
            return value


def pick(rng: np.random.Generator, options: Sequence):
    """One of `options`, all equally likely."""
    return options[int(len(options) * rng.random())]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def vary(rng: np.random.Generator, colour: Colour, amount: float = 14.0) -> Colour:
    """`colour` with each channel moved by up to `amount` and all three together by up to `amount`."""
    common = uniform(rng, -amount, amount)
    return tuple(min(255.0, max(0.0, c + common + uniform(rng, -amount, amount))) for c in colour)


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(min(255.0, c * factor) for c in colour)


def mix(first: Colour, second: Colour, weight: float) -> Colour:
    """`first` and `second` blended; weight 0 gives `first`, 1 gives `second`."""
    return tuple(a + (b - a) * weight for a, b in zip(first, second, strict=True))


def direction(degrees: float) -> tuple[float, float]:
    """(cosine, sine) of an angle, rounded to 1/4096."""
    angle = math.radians(degrees)
    return round(math.cos(angle) * 4096) / 4096, round(math.sin(angle) * 4096) / 4096


def turned(points: Points, centre: tuple[float, float], degrees: float) -> list[tuple[float, float]]:
    """`points` turned about `centre`."""
    c, s = direction(degrees)
    cx, cy = centre
    return [(cx + c * (x - cx) - s * (y - cy), cy + s * (x - cx) + c * (y - cy)) for x, y in points]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Value noise in -1..1 with bumps about `cell` samples wide. Returns float32 of shape (height, width)."""
    rows, columns = int(height / cell) + 2, int(width / cell) + 2
    grid = (rng.random((rows, columns)) * 2 - 1).astype(np.float32)
    y, x = np.arange(height) / cell, np.arange(width) / cell
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (y - iy).astype(np.float32)[:, None], (x - ix).astype(np.float32)
    top = grid[iy][:, ix] * (1 - fx) + grid[iy][:, ix + 1] * fx
    bottom = grid[iy + 1][:, ix] * (1 - fx) + grid[iy + 1][:, ix + 1] * fx
    return top * (1 - fy) + bottom * fy


class Canvas:
    """A picture of `height` x `width` with its label map and its map of owners (one number per object, 0 = none)."""

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        shape = (height * SUPERSAMPLING, width * SUPERSAMPLING)
        self.pixels = np.zeros((*shape, 3), np.float32)
        self.labels = np.zeros(shape, np.int16)
        self.owners = np.zeros(shape, np.int32)
        self._label = self._owner = self._last_owner = 0

    def begin(self, label: int) -> int:
        """Start an object: what is painted from now on carries `label` and a fresh owner number, which is returned."""
        self._last_owner += 1
        self._label, self._owner = label, self._last_owner
        return self._owner

    def begin_background(self, label: int = 0) -> None:
        """Stop the object: what is painted from now on carries `label` and belongs to nobody."""
        self._label, self._owner = label, 0

    def polygon(self, points: Points, paint: Paint, opacity: float = 1.0, labelled: bool = True) -> None:
        """Fill a polygon (even-odd rule); corners are (x, y) in final pixels. `labelled` False leaves the labels."""
        corners = np.asarray(points, np.float64) * SUPERSAMPLING - 0.5
        window = self._window(corners.min(0), corners.max(0))
        if window is None:
            return
        rows, columns, y, x = window
        inside = np.zeros((len(y), x.shape[1]), bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            spans = (y >= min(y0, y1)) & (y < max(y0, y1))  # (h, 1)
            inside ^= spans & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
        self._apply(rows, columns, inside, paint, opacity, labelled)

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], paint: Paint, opacity: float = 1.0,
        labelled: bool = True, degrees: float = 0.0,
    ) -> None:  # fmt: skip
        """Fill an ellipse; `centre`, `radii` in final pixels."""
        centre_s = np.asarray(centre, np.float64) * SUPERSAMPLING - 0.5
        rx, ry = radii[0] * SUPERSAMPLING, radii[1] * SUPERSAMPLING
        reach = max(rx, ry) if degrees else np.array([rx, ry])
        window = self._window(centre_s - reach, centre_s + reach)
        if window is None or min(rx, ry) <= 0:
            return
        rows, columns, y, x = window
        c, s = direction(degrees)
        dx, dy = x - centre_s[0], y - centre_s[1]
        u, v = (c * dx + s * dy) / rx, (c * dy - s * dx) / ry
        self._apply(rows, columns, u * u + v * v <= 1.0, paint, opacity, labelled)

    def stroke(self, points: Points, widths: tuple[float, float], paint: Paint) -> None:
        """Draw a line through `points` whose width goes from `widths[0]` to `widths[1]`, with round joints."""
        pieces = len(points) - 1
        for k, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
            half = [(widths[0] + (widths[1] - widths[0]) * j / pieces) / 2 for j in (k, k + 1)]
            length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
            if length == 0:
                continue
            nx, ny = (y0 - y1) / length, (x1 - x0) / length
            corners = [
                (x0 + nx * half[0], y0 + ny * half[0]), (x1 + nx * half[1], y1 + ny * half[1]),
                (x1 - nx * half[1], y1 - ny * half[1]), (x0 - nx * half[0], y0 - ny * half[0]),
            ]  # fmt: skip
            self.polygon(corners, paint)
            if k:
                self.ellipse((x0, y0), (half[0], half[0]), paint)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, paint: Paint) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], paint)

    def glow(self, centre: tuple[float, float], radius: float, colour: Colour, strength: float = 0.5) -> None:
        """Add a soft disc of light to the picture; labels stay."""
        centre_s = np.asarray(centre, np.float64) * SUPERSAMPLING - 0.5
        reach = radius * SUPERSAMPLING
        window = self._window(centre_s - reach, centre_s + reach)
        if window is None:
            return
        rows, columns, y, x = window
        distance2 = ((x - centre_s[0]) ** 2 + (y - centre_s[1]) ** 2) / reach**2
        weight = (np.clip(1 - distance2, 0, 1) ** 2 * strength).astype(np.float32)[..., None]
        region = self.pixels[rows, columns]
        region += (np.asarray(colour, np.float32) - region) * weight

    def image(self) -> np.ndarray:
        """The picture at final resolution, box-filtered. Returns float32 of shape (height, width, 3), 0..255."""
        s = SUPERSAMPLING
        return self.pixels.reshape(self.height, s, self.width, s, 3).mean((1, 3), dtype=np.float32)

    def sample(self, buffer: np.ndarray, shift: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """`labels` or `owners` at the centre of each final pixel, or `shift` (rows, columns) samples away from it."""
        half = SUPERSAMPLING // 2
        if shift is None:
            return buffer[half::SUPERSAMPLING, half::SUPERSAMPLING]
        rows = np.arange(self.height)[:, None] * SUPERSAMPLING + half + shift[0]
        columns = np.arange(self.width) * SUPERSAMPLING + half + shift[1]
        return buffer[rows.clip(0, buffer.shape[0] - 1), columns.clip(0, buffer.shape[1] - 1)]

    def _window(self, low: np.ndarray, high: np.ndarray):
        """Slices of the samples between two (x, y) corners and their coordinates y (h, 1), x (1, w); None if empty."""
        rows, columns = self.labels.shape
        x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
        x1, y1 = min(columns, math.ceil(high[0]) + 1), min(rows, math.ceil(high[1]) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        return slice(y0, y1), slice(x0, x1), np.arange(y0, y1)[:, None], np.arange(x0, x1)[None, :]

    def _apply(self, rows: slice, columns: slice, inside: np.ndarray, paint: Paint, opacity: float, labelled: bool):
        if callable(paint):
            y = (np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5) / SUPERSAMPLING
            x = (np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + 0.5) / SUPERSAMPLING
            colour = np.broadcast_to(paint(y, x), (*inside.shape, 3))[inside]
        else:
            colour = np.asarray(paint, np.float32)
        region = self.pixels[rows, columns]
        region[inside] += (colour - region[inside]) * np.float32(opacity)
        if labelled:
            self.labels[rows, columns][inside] = self._label
            self.owners[rows, columns][inside] = self._owner


def void_border(labels: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Labels with a one-pixel rim of 255 around every object, on the side of what lies behind it.

    Owners are numbered back to front: the rim is laid on the lower number, so that thin structures keep their width.
    """
    rim = np.zeros(labels.shape, bool)
    padded = np.pad(owners, 1, mode="edge")
    height, width = labels.shape
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        rim |= padded[dy : dy + height, dx : dx + width] > owners
    return np.where(rim, VOID, labels).astype(np.uint8)
