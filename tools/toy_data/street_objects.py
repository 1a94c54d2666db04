"""The camera of the toy street scenes and everything that stands or drives in them.

Ground positions are in metres: x to the right of the camera, z ahead of it; heights y upwards.
"""

import numpy as np

from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS
from tools.toy_data.canvas import Canvas, Colour, Paint, chance, direction, mix, pick, shade, uniform, vary

IDS = {row.name: row.id for row in CITYSCAPES_LABELS}
WITH_INSTANCES = {row.name for row in CITYSCAPES_LABELS if row.has_instances}
PAINTS = [(190, 46, 44), (228, 228, 226), (38, 42, 50), (64, 92, 150), (140, 146, 152), (96, 120, 92), (214, 170, 70)]
CLOTHES = [(60, 80, 130), (170, 60, 60), (70, 74, 80), (206, 186, 150), (90, 130, 90), (226, 226, 222), (150, 90, 140)]
FACES = [(228, 190, 160), (180, 130, 96), (116, 80, 58)]
LEAVES = [(84, 120, 58), (66, 104, 56), (110, 130, 64), (150, 120, 60)]
GLASS, TYRE, STEEL = (52, 66, 80), (26, 26, 30), (108, 112, 116)
#          width, height, length in metres
SIZES = {"car": (1.8, 1.5, 4.2), "truck": (2.5, 3.3, 7.5), "bus": (2.6, 3.1, 11.0), "caravan": (2.2, 2.5, 5.0),
         "trailer": (2.0, 1.3, 3.2), "train": (2.7, 3.5, 24.0)}  # fmt: skip


class Street:
    """A canvas seen through a camera 1.5 m above the road, and the list of owners that count as instances."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator):
        self.canvas, self.rng = canvas, rng
        self.focal = uniform(rng, 0.58, 0.68) * canvas.width
        self.vanishing = (uniform(rng, 0.44, 0.56) * canvas.width, uniform(rng, 0.4, 0.46) * canvas.height)
        self.counted: dict[int, int] = {}

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """The pixel that shows a point of the street."""
        scale = self.focal / z
        return self.vanishing[0] + x * scale, self.vanishing[1] + (1.5 - y) * scale

    def begin(self, name: str, group: bool = False) -> None:
        """Start an object of a class; it counts as an instance if its class has them and it is no group."""
        if name not in WITH_INSTANCES:
            self.canvas.begin_background(IDS[name])
            return
        owner = self.canvas.begin(IDS[name])
        if not group:
            self.counted[owner] = IDS[name]

    def face(self, corners, paint: Paint, opacity: float = 1.0, labelled: bool = True) -> None:
        """Fill a flat face given by its (x, y, z) corners."""
        self.canvas.polygon([self.at(*corner) for corner in corners], paint, opacity, labelled)

    def upright(self, x: float, z0: float, z1: float, y0: float, y1: float, paint: Paint, opacity: float = 1.0) -> None:
        """Fill a face along the street."""
        self.face([(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)], paint, opacity)

    def across(self, x0: float, x1: float, z: float, y0: float, y1: float, paint: Paint) -> None:
        """Fill a face that looks at the camera."""
        self.face([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)], paint)

    def strip(self, name: str, x0: float, x1: float, colour: Colour, z0: float = 1.2, z1: float = 120.0) -> None:
        """A strip of ground along the street, paler towards the horizon."""
        self.begin(name)
        near, far = np.asarray(colour, np.float32), np.asarray(mix(colour, (186, 192, 200), 0.3), np.float32)
        horizon, drop = self.vanishing[1], self.canvas.height - self.vanishing[1]

        def paint(yy, xx):
            weight = ((yy - horizon) / drop).clip(0, 1)[..., None]
            return far + (near - far) * weight + 0 * xx[..., None]

        self.face([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], paint)

    def bar(self, points, metres: float, z: float, paint: Paint, thinnest: float = 1.3) -> None:
        """A line through (x, y) points at depth `z`, `metres` thick but at least `thinnest` pixels."""
        width = max(thinnest, metres * self.focal / z)
        self.canvas.stroke([self.at(x, y, z) for x, y in points], (width, width), paint)

    def disc(self, x: float, y: float, z: float, rx: float, ry: float, paint: Paint, opacity: float = 1.0) -> None:
        """An ellipse that looks at the camera, radii in metres."""
        scale = self.focal / z
        self.canvas.ellipse(self.at(x, y, z), (max(0.6, rx * scale), max(0.6, ry * scale)), paint, opacity)

    def shadow(self, x0: float, x1: float, z0: float, z1: float) -> None:
        self.face([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], (20, 22, 28), 0.45, labelled=False)


def vehicle(street: Street, name: str, x: float, z: float, oncoming: bool = False, group: bool = False) -> None:
    """A vehicle whose near end is centred at (x, z): its near face and the side turned to the camera."""
    rng, (w, h, length) = street.rng, SIZES[name]
    colour = vary(rng, (236, 234, 226) if name == "caravan" else pick(rng, PAINTS), 8)
    left, right = x - w / 2, x + w / 2
    street.shadow(left - 0.15, right + 0.15, z - 0.1, z + length)
    street.begin(name, group)
    side = right if right < 0 else left if left > 0 else None
    _wheels(street, left, right, side, z, length)
    if name == "car":
        _body(street, left, right, side, z, length, 0.28, 0.88, colour)
        _cabin(street, left, right, side, z, colour, oncoming)
    else:
        _body(street, left, right, side, z, length, 0.45, h, colour)
        if name in ("bus", "train", "caravan"):
            _panes(street, left, right, side, z, length, h)
        elif name == "truck":
            street.across(left, right, z, 0.45, 0.75, shade(colour, 0.5))
            if oncoming:
                street.across(left + 0.2, right - 0.2, z, 1.5, 2.4, GLASS)
    if name == "trailer":
        return
    lights = (248, 244, 214) if oncoming else (206, 40, 36)
    for at in (left + 0.22, right - 0.22):
        street.across(at - 0.14, at + 0.14, z, 0.62, 0.8, lights)
    if name != "train":
        street.across(x - 0.26, x + 0.26, z, 0.42, 0.54, (240, 238, 220))


def _wheels(street: Street, left: float, right: float, side: float | None, z: float, length: float) -> None:
    for at in (left + 0.15, right - 0.15):
        street.across(at - 0.12, at + 0.12, z, 0.0, 0.5, TYRE)
    if side is not None:
        for along in (0.2 * length, 0.8 * length):
            near, far = street.at(side, 0.34, z + along - 0.34), street.at(side, 0.34, z + along + 0.34)
            radius = 0.34 * street.focal / (z + along)
            half = max(0.5, abs(near[0] - far[0]) / 2)
            street.canvas.ellipse(((near[0] + far[0]) / 2, (near[1] + far[1]) / 2), (half, radius), TYRE)


def _body(street: Street, left, right, side, z, length, bottom, top, colour: Colour) -> None:
    if side is not None:
        street.upright(side, z, z + length, bottom, top, shade(colour, 0.72))
    if top < 1.5:
        street.face(
            [(left, top, z), (right, top, z), (right, top, z + length), (left, top, z + length)], shade(colour, 1.1)
        )
    street.across(left, right, z, bottom, top, colour)


def _cabin(street: Street, left, right, side, z, colour: Colour, oncoming: bool) -> None:
    back, front = (z + 1.2, z + 3.9) if oncoming else (z + 0.4, z + 3.0)
    if side is not None:
        roof = side - 0.15 if side == right else side + 0.15
        corners = [(side, 0.88, back), (roof, 1.45, back + 0.4), (roof, 1.45, front - 0.6), (side, 0.88, front)]
        street.face(corners, shade(colour, 0.66))
        ends = (back + 0.3, back + 0.6, front - 0.8, front - 0.3)
        street.face(list(zip((side, roof, roof, side), (0.94, 1.38, 1.38, 0.94), ends, strict=True)), GLASS)
    roof = [(left + 0.15, 1.45, back + 0.3), (right - 0.15, 1.45, back + 0.3)]
    street.face([*roof, (right - 0.15, 1.5, front - 0.6), (left + 0.15, 1.5, front - 0.6)], shade(colour, 1.1))
    street.face([(left + 0.05, 0.88, back), *roof, (right - 0.05, 0.88, back)], colour)
    street.face([(left + 0.2, 0.94, back), (left + 0.27, 1.38, back + 0.3), (right - 0.27, 1.38, back + 0.3),
                 (right - 0.2, 0.94, back)], shade(GLASS, 1.15))  # fmt: skip


def _panes(street: Street, left, right, side, z, length, h) -> None:
    low, high = 0.5 * h, 0.82 * h
    street.across(left + 0.2, right - 0.2, z, low, high, shade(GLASS, 1.15))
    if side is not None:
        count = max(1, int(length / 2.2))
        for k in range(count):
            a = z + 0.4 + k * (length - 0.6) / count
            street.upright(side, a, a + 0.75 * length / count, low, high, GLASS)


def person(street: Street, x: float, z: float, name: str = "person", group: bool = False, seat: float = 0.0) -> None:
    """A person of about 1.75 m; with `seat` > 0 a rider whose hips are that high."""
    rng = street.rng
    top, trousers, face = vary(rng, pick(rng, CLOTHES)), vary(rng, pick(rng, CLOTHES[:4]), 8), pick(rng, FACES)
    hips = seat or 0.88
    if not seat:
        street.shadow(x - 0.3, x + 0.3, z - 0.1, z + 0.25)
    street.begin(name, group)
    stride = 0.16 if seat else uniform(rng, 0.05, 0.24)
    for sign in (-1, 1):
        foot = 0.3 if seat else 0.0
        street.bar(
            [(x + 0.07 * sign, hips), (x + sign * stride, hips / 2 + 0.1), (x + sign * stride, foot)], 0.17, z, trousers
        )
    street.bar([(x, hips - 0.05), (x, hips + 0.48)], 0.4, z, top, 2.0)
    for sign in (-1, 1):
        street.bar(
            [(x + 0.2 * sign, hips + 0.5), (x + 0.29 * sign, hips + 0.22), (x + 0.26 * sign, hips)],
            0.12,
            z,
            shade(top, 0.85),
        )
    street.disc(x, hips + 0.72, z, 0.13, 0.16, face)
    street.disc(x, hips + 0.8, z, 0.135, 0.09, TYRE if seat or chance(rng, 0.6) else (150, 110, 60))


def two_wheeler(street: Street, name: str, x: float, z: float, ridden: bool, group: bool = False) -> None:
    """A bicycle or motorcycle from the side. As in Cityscapes, what shows through its wheels is labelled with it."""
    rng, heavy = street.rng, name == "motorcycle"
    colour, facing = vary(rng, pick(rng, PAINTS)), pick(rng, (-1, 1))
    radius, half = (0.32, 0.66) if heavy else (0.34, 0.54)
    street.shadow(x - half - radius, x + half + radius, z - 0.1, z + 0.2)
    street.begin(name, group)
    turn = [direction(22.5 * k) for k in range(17)]
    for sign in (-1, 1):
        street.disc(x + sign * half, radius, z, radius, radius, (90, 92, 96), 0.35)
        street.bar(
            [(x + sign * half + radius * c, radius + radius * s) for c, s in turn],
            0.14 if heavy else 0.06,
            z,
            TYRE,
            1.0,
        )

    def at(*points):
        return [(x + facing * u, v) for u, v in points]

    if heavy:
        street.bar(at((-0.6, 0.62), (-0.1, 0.6), (0.25, 0.72)), 0.3, z, colour)
        street.bar(at((0.66, 0.32), (0.42, 0.98), (0.3, 1.0)), 0.1, z, STEEL)
        street.disc(x, 0.42, z, 0.3, 0.22, STEEL)
    else:
        street.bar(at((-0.54, 0.34), (-0.18, 0.82), (0.36, 0.8), (-0.05, 0.34), (-0.54, 0.34)), 0.06, z, colour, 1.0)
        street.bar(at((0.54, 0.34), (0.34, 0.98), (0.22, 1.02)), 0.06, z, colour, 1.0)
        street.bar(at((-0.28, 0.92), (-0.1, 0.92)), 0.09, z, TYRE, 1.0)
    if ridden:
        person(street, x - 0.1 * facing, z - 0.01, "rider", seat=0.86)


def tree(street: Street, x: float, z: float, height: float) -> None:
    """A street tree; its trunk is vegetation too."""
    rng, leaf = street.rng, vary(street.rng, pick(street.rng, LEAVES), 10)
    street.begin("vegetation")
    street.bar([(x, 0), (x, 0.6 * height)], 0.05 * height, z, (92, 74, 58))
    blobs = [(uniform(rng, -0.2, 0.2), uniform(rng, 0.5, 0.85), uniform(rng, 0.13, 0.2)) for _ in range(8)]
    for tone, shift, size in ((0.76, 0.0, 1.0), (0.95, -0.02, 0.82), (1.15, -0.06, 0.45)):
        for u, v, r in blobs:
            street.disc(
                x + (u + shift) * height,
                (v - shift) * height,
                z,
                r * height * size,
                r * height * size,
                shade(leaf, tone),
            )


def pole(street: Street, x: float, z: float, carries: str, inward: int) -> None:
    """A pole that carries a "lamp", "traffic light", "traffic sign" or several ("polegroup"); arms point `inward`."""
    rng, grey = street.rng, vary(street.rng, STEEL, 10)
    street.begin("polegroup" if carries == "polegroup" else "pole")
    if carries == "polegroup":
        for k in range(3):
            street.bar([(x + 0.3 * k, 0), (x + 0.3 * k, 4.5)], 0.13, z, grey)
        return
    height = {"lamp": 6.5, "traffic light": 3.3, "traffic sign": 2.6}[carries]
    street.bar([(x, 0), (x, height)], 0.13, z, grey)
    if carries == "lamp":
        street.bar([(x, height), (x + 1.5 * inward, height + 0.3)], 0.1, z, grey)
        return
    street.begin(carries)
    if carries == "traffic light":
        street.across(x - 0.2, x + 0.2, z - 0.02, 2.3, 3.4, (34, 36, 38))
        lit = int(3 * rng.random())
        for k, colour in enumerate(((230, 50, 40), (240, 180, 50), (60, 200, 110))):
            street.disc(x, 3.2 - 0.35 * k, z - 0.03, 0.12, 0.12, colour if k == lit else shade(colour, 0.3))
        return
    kind = pick(rng, ("round", "triangle", "plate"))
    if kind == "round":
        street.disc(x, 2.4, z - 0.02, 0.38, 0.38, (200, 40, 40))
        street.disc(x, 2.4, z - 0.03, 0.26, 0.26, (244, 244, 240))
    elif kind == "triangle":
        street.face([(x - 0.45, 2.05, z), (x + 0.45, 2.05, z), (x, 2.85, z)], (204, 44, 40))
        street.face([(x - 0.25, 2.15, z), (x + 0.25, 2.15, z), (x, 2.6, z)], (244, 244, 240))
    else:
        street.across(x - 0.45, x + 0.45, z, 2.0, 2.8, (40, 90, 170))
        street.bar([(x - 0.22, 2.4), (x + 0.22, 2.4)], 0.14, z, (244, 244, 240), 1.0)


def clutter(street: Street, name: str, x: float, z: float) -> None:
    """Things that are not evaluated: "static" (a litter bin, a bench) or "dynamic" (a suitcase on wheels)."""
    rng = street.rng
    colour = vary(rng, pick(rng, PAINTS))
    street.begin(name)
    if name == "dynamic":
        street.across(x - 0.22, x + 0.22, z, 0.08, 0.65, colour)
        street.bar([(x + 0.15, 0.65), (x + 0.15, 1.0)], 0.04, z, STEEL)
    elif chance(rng, 0.5):
        street.across(x - 0.3, x + 0.3, z, 0.0, 1.0, shade(colour, 0.7))
        street.across(x - 0.34, x + 0.34, z, 0.95, 1.1, colour)
    else:
        for height in (0.45, 0.8):
            street.bar([(x - 0.8, height), (x + 0.8, height)], 0.12, z, (120, 86, 58))
        for foot in (-0.65, 0.65):
            street.bar([(x + foot, 0.0), (x + foot, 0.85)], 0.08, z, STEEL)
