"""The layout of the toy street scenes: sky, ground strips, frontages, and who stands where."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tools.toy_data import street_objects as parts
from tools.toy_data.canvas import Canvas, chance, mix, pick, shade, uniform, vary
from tools.toy_data.street_objects import Street

SKIES = [((120, 168, 216), (206, 222, 232)), ((176, 188, 200), (214, 218, 222)), ((110, 130, 170), (238, 204, 170))]
FACADES = [(198, 176, 146), (168, 110, 90), (206, 200, 190), (150, 152, 158), (214, 190, 130), (140, 120, 110)]
GRASS, PAVING, ASPHALT, SOIL = (112, 134, 74), (160, 152, 148), (92, 92, 98), (128, 108, 88)


class Guests(NamedTuple):
    """What a scene holds beyond the common things."""

    left: str
    right: str
    beside: str | None
    vehicles: tuple[str, ...]
    ridden: str
    end: str | None


# Scene k takes row k mod 4, so that four scenes hold every class.
GUESTS = (
    Guests("wall", "building", "parking", ("bus", "caravan"), "motorcycle", None),
    Guests("building", "fence", "rail track", ("train", "trailer"), "bicycle", None),
    Guests("guard rail", "building", None, ("truck",), "bicycle", "bridge"),
    Guests("building", "building", "ground", (), "motorcycle", "tunnel"),
)


@dataclass(frozen=True)
class StreetScene:
    """One scene: `image` uint8 (H, W, 3), `label_ids` uint8 (H, W), `instance_ids` uint16 (H, W)."""

    image: np.ndarray
    label_ids: np.ndarray
    instance_ids: np.ndarray


def street_scene(rng: np.random.Generator, guests: int, size: tuple[int, int] = (256, 512)) -> StreetScene:
    """Paint one street scene. `guests`: row of the list of special guests (0..3); `size`: (height, width), 1:2."""
    guest = GUESTS[guests]
    street = Street(Canvas(*size), rng)
    kerb = uniform(rng, 3.4, 4.4)
    _sky(street)
    _ground(street, guest, kerb)
    _frontage(street, -1, guest.left, kerb + 5.5)
    _frontage(street, 1, guest.right, kerb + 5.5)
    for _, paint in sorted(_crowd(street, guest, kerb), key=lambda item: -item[0]):
        paint()
    _edges_of_the_picture(street)
    return _develop(street)


def _sky(street: Street) -> None:
    canvas, rng = street.canvas, street.rng
    high, low = (np.asarray(c, np.float32) for c in pick(rng, SKIES))
    horizon = street.vanishing[1]
    street.begin("sky")

    def gradient(yy, xx):
        return high + (low - high) * (yy / horizon).clip(0, 1)[..., None] + 0 * xx[..., None]

    canvas.rectangle(0, 0, canvas.width, horizon + 2, gradient)
    street.begin("unlabeled")
    canvas.rectangle(street.vanishing[0] - 40, horizon - 9, street.vanishing[0] + 40, horizon + 2, (150, 160, 172))
    street.begin("vegetation")
    for k in range(24):
        x = (k + uniform(rng, 0, 1)) * canvas.width / 24
        leaf = mix(vary(rng, pick(rng, parts.LEAVES), 6), (170, 186, 196), 0.4)
        canvas.ellipse((x, horizon), (uniform(rng, 12, 26), uniform(rng, 4, 12)), leaf)


def _ground(street: Street, guest: Guests, kerb: float) -> None:
    """Strips from the outside in: grass, pavement, what lies beside the road, the road and its markings."""
    rng = street.rng
    street.strip("terrain", -200, 200, vary(rng, GRASS, 8))
    paving = vary(rng, PAVING, 8)
    for side in (-1, 1):
        low, high = sorted((side * kerb, side * (kerb + uniform(rng, 3.2, 4.2))))
        street.strip("sidewalk", low, high, paving)
    street.strip("road", -kerb, kerb, vary(rng, ASPHALT, 6))
    street.begin("road")
    for z in range(3, 60, 6):
        street.face([(-0.07, 0, z), (0.07, 0, z), (0.07, 0, z + 3), (-0.07, 0, z + 3)], (222, 222, 218))
    for side in (-1, 1):
        edge, top = side * kerb, side * (kerb + 0.18)
        street.face([(edge, 0, 1.2), (top, 0, 1.2), (top, 0, 90), (edge, 0, 90)], (186, 184, 180))
    beside = guest.beside
    if beside == "rail track":
        street.strip("rail track", 0.6, kerb - 0.1, shade(SOIL, 1.1))
        for rail in (1.3, 2.75):
            street.face([(rail, 0, 1.2), (rail + 0.1, 0, 1.2), (rail + 0.1, 0, 100), (rail, 0, 100)], (70, 72, 78))
    elif beside == "parking":
        street.strip("parking", kerb - 0.1, kerb + 2.2, shade(ASPHALT, 1.15))
        for z in range(4, 60, 6):
            street.face(
                [(kerb, 0, z), (kerb + 2.2, 0, z), (kerb + 2.2, 0, z + 0.15), (kerb, 0, z + 0.15)], (222, 222, 218)
            )
    elif beside == "ground":
        street.strip("ground", kerb + 2.0, kerb + 4.4, vary(rng, SOIL, 8), 5, 30)


def _frontage(street: Street, side: int, kind: str, x: float) -> None:
    """What closes the street off on one side, far to near; a `kind` other than "building" fills the middle stretch."""
    rng = street.rng
    stretches, z = [], 3.0
    while z < 75:
        length = uniform(rng, 7, 13)
        stretches.append((z, z + length))
        z += length
    for z0, z1 in reversed(stretches):
        special = kind != "building" and 6 < z0 < 34
        if special or chance(rng, 0.12):
            for _ in range(2):
                parts.tree(street, side * (x + uniform(rng, 2, 6)), uniform(rng, z0, z1), uniform(rng, 5, 8))
        if special:
            _barrier(street, kind, side * x if kind != "guard rail" else side * (x - 2), z0, z1)
        elif not chance(rng, 0.15):
            _building(street, side, x, z0, z1)


def _barrier(street: Street, kind: str, x: float, z0: float, z1: float) -> None:
    """A wall, a fence or a guard rail along the street. As in Cityscapes, what shows through a fence is fence."""
    street.begin(kind)
    if kind == "wall":
        street.upright(x, z0, z1, 0, 2.3, vary(street.rng, (150, 138, 128), 6))
        street.upright(x, z0, z1, 2.15, 2.35, (176, 168, 160))
    elif kind == "fence":
        street.upright(x, z0, z1, 0, 1.7, (110, 112, 110), opacity=0.25)
        for height in (0.3, 1.5):
            street.upright(x, z0, z1, height, height + 0.1, (84, 88, 86))
        for k in range(int((z1 - z0) / 0.5)):
            street.upright(x, z0 + 0.5 * k, z0 + 0.5 * k + 0.1, 0, 1.7, (84, 88, 86))
    else:
        street.upright(x, z0, z1, 0.45, 0.85, (176, 180, 184))
        street.upright(x, z0, z1, 0.6, 0.7, (130, 134, 140))
        for k in range(int((z1 - z0) / 2)):
            street.upright(x, z0 + 2 * k, z0 + 2 * k + 0.2, 0, 0.5, (110, 112, 116))


def _building(street: Street, side: int, x: float, z0: float, z1: float) -> None:
    rng = street.rng
    wall, height = vary(rng, pick(rng, FACADES), 10), uniform(rng, 6, 13)
    lit = 1.0 if side > 0 else 0.82
    haze = min(0.4, z0 / 150)
    wall = mix(shade(wall, lit), (186, 196, 208), haze)
    street.begin("building")
    street.across(side * x, side * (x + 14), z0, 0, height, shade(wall, 0.86))
    street.upright(side * x, z0, z1, 0, height, wall)
    street.upright(side * x, z0, z1, height - 0.35, height, shade(wall, 0.75))
    street.upright(side * x, z0, z1, 0, 0.7, shade(wall, 0.8))
    floors, columns = int(height / 2.9), max(2, int((z1 - z0) / 2.6))
    pane = mix(shade(parts.GLASS, 1.25), (186, 196, 208), haze)
    step = (z1 - z0) / columns
    door = int(columns * rng.random())
    for floor in range(floors):
        for k in range(columns):
            a, low = z0 + step * (k + 0.28), 1.0 + floor * 2.9
            if floor == 0 and k == door:
                street.upright(side * x, a, a + 0.45 * step, 0, 2.3, shade(wall, 0.45))
            elif low + 1.5 < height - 0.4:
                street.upright(side * x, a, a + 0.45 * step, low, low + 1.5, pane)


def _crowd(street: Street, guest: Guests, kerb: float) -> list:
    """(depth, function that paints) for everything that stands or drives; the caller sorts by depth."""
    rng, crowd = street.rng, []

    def add(z, function, *arguments, **settings):
        crowd.append((z, lambda: function(street, *arguments, **settings)))

    for side in (-1, 1):
        for z in _along(rng, 9, 0.4):
            carries = pick(rng, ("lamp", "traffic light", "traffic sign", "traffic sign"))
            add(z, parts.pole, side * (kerb + 0.5), z, carries, -side)
        for z in _along(rng, 8, 0.5):
            add(z, parts.person, side * (kerb + uniform(rng, 0.9, 2.6)), z)
        for z in _along(rng, 13, 0.4, start=9):
            add(z, parts.tree, side * (kerb + uniform(rng, 3.6, 4.6)), z, uniform(rng, 4.5, 7))
        if chance(rng, 0.5):
            add(26, _group, side * (kerb + 1.8), 26, pick(rng, ("person", "bicycle")))
    for name, x, z in _vehicles(rng, guest, kerb):
        add(z, parts.vehicle, name, x, z, oncoming=x < 0)
    add(44, _group, -kerb / 2, 44, "car")
    z = uniform(rng, 6, 11)
    add(z, parts.two_wheeler, guest.ridden, uniform(rng, 0.35, 0.8) * kerb, z, ridden=True)
    z = uniform(rng, 7, 12)
    add(z, parts.two_wheeler, pick(rng, ("bicycle", "bicycle", "motorcycle")), -kerb - 1.2, z, ridden=False)
    z = uniform(rng, 6, 9)
    add(z, parts.clutter, "static", pick(rng, (-1, 1)) * (kerb + 1.4), z)
    if guest.end is None:
        z = uniform(rng, 9, 12)
        add(z, parts.clutter, "dynamic", -kerb - 1.0, z)
        add(13, parts.pole, kerb + 0.5, 13, "polegroup", -1)
    elif guest.end == "bridge":
        add(38, _bridge, 38)
    else:
        add(52, _tunnel, 52, kerb)
    return crowd


def _along(rng: np.random.Generator, step: float, jitter: float, start: float = 6.0, end: float = 45.0):
    """Depths from about `start` to `end`, `step` metres apart give or take `jitter` of it."""
    z = start + uniform(rng, 0, step)
    while z < end:
        yield z
        z += step * uniform(rng, 1 - jitter, 1 + jitter)


def _vehicles(rng: np.random.Generator, guest: Guests, kerb: float) -> list[tuple[str, float, float]]:
    """(class, x, z) of the vehicles: the guests first, then cars where their lanes are still free."""
    places = {
        "bus": (-kerb / 2, 15.0), "train": (2.05, 17.0), "truck": (kerb / 2, 10.0), "caravan": (kerb + 1.1, 8.0),
        "trailer": (-kerb / 2, 10.0),
    }  # fmt: skip
    placed = [(name, places[name][0], places[name][1] * uniform(rng, 0.9, 1.25)) for name in guest.vehicles]
    lanes = [(-kerb / 2, 9.0)]
    if guest.beside != "rail track":
        lanes.append((kerb / 2, 11.0))
    if guest.beside == "parking":
        lanes.append((kerb + 1.1, 6.0))
    for x, step in lanes:
        for z in _along(rng, step, 0.3, start=7, end=36):
            others = [(a, a + parts.SIZES[name][2]) for name, lane, a in placed if lane == x]
            if all(z + parts.SIZES["car"][2] + 1 < start or z > end + 1 for start, end in others):
                placed.append(("car", x, z))
    return placed


def _group(street: Street, x: float, z: float, name: str) -> None:
    """Several of a kind, too close or too far to tell apart: one region with a plain id."""
    for k in range(4):
        if name == "car":
            parts.vehicle(street, "car", x + 0.25 * k, z - 1.5 * k, oncoming=True, group=True)
        elif name == "person":
            parts.person(street, x + 0.35 * (k - 1.5), z - 0.2 * k, group=True)
        else:
            parts.two_wheeler(street, "bicycle", x + 0.4 * (k - 1.5), z - 0.2 * k, ridden=False, group=True)


def _bridge(street: Street, z: float) -> None:
    """A bridge across the street, on two piers."""
    tone = vary(street.rng, (156, 150, 142), 8)
    street.begin("bridge")
    for pier in (-8.5, 8.5):
        street.across(pier - 0.8, pier + 0.8, z, 0, 5.5, shade(tone, 0.8))
    street.across(-60, 60, z, 5.0, 6.8, tone)
    street.across(-60, 60, z, 6.6, 7.3, shade(tone, 1.15))


def _tunnel(street: Street, z: float, kerb: float) -> None:
    """A portal at the end of the street: it and the dark behind it are tunnel."""
    street.begin("tunnel")
    street.across(-kerb - 6, kerb + 6, z, 0, 8, vary(street.rng, (140, 132, 124), 8))
    reach = kerb + 1.2
    arch = [
        (-reach, 0, z),
        (-reach, 3.4, z),
        (-0.7 * reach, 4.9, z),
        (0, 5.5, z),
        (0.7 * reach, 4.9, z),
        (reach, 3.4, z),
    ]
    street.face([*arch, (reach, 0, z)], (34, 34, 40))


def _edges_of_the_picture(street: Street) -> None:
    """The camera's own marks: its car's bonnet, the black rim left by rectification, the frame out of the region."""
    canvas, rng = street.canvas, street.rng
    h, w = canvas.height, canvas.width
    street.begin("ego vehicle")
    bonnet = (w * uniform(rng, 0.46, 0.54), h * 1.1)
    canvas.ellipse(bonnet, (0.4 * w, 0.16 * h), (48, 52, 60))
    canvas.ellipse((bonnet[0], bonnet[1] + 0.015 * h), (0.37 * w, 0.145 * h), (66, 72, 82))
    street.begin("rectification border")
    bow = 0.012 * w
    for edge, inward in ((0, bow), (w, -bow)):
        canvas.polygon(
            [(edge, 0), (edge + inward, 0), (edge + inward * 0.55, h / 2), (edge + inward, h), (edge, h)], (0, 0, 0)
        )
    street.begin("out of roi")
    for x0, y0, x1, y1 in ((0, 0, w, 2), (0, h - 2, w, h), (0, 0, 2, h), (w - 2, 0, w, h)):
        canvas.rectangle(x0, y0, x1, y1, (0, 0, 0))


def _develop(street: Street) -> StreetScene:
    """Light, tint and the two id maps."""
    canvas, rng = street.canvas, street.rng
    light = np.array([uniform(rng, 0.96, 1.04), 1.0, uniform(rng, 0.96, 1.04)], np.float32) * uniform(rng, 0.86, 1.06)
    image = np.clip(np.rint(canvas.image() * light), 0, 255).astype(np.uint8)
    label_ids = canvas.sample(canvas.labels).astype(np.uint8)
    owners = canvas.sample(canvas.owners)
    instance_ids = label_ids.astype(np.uint16)
    numbers = dict.fromkeys(street.counted.values(), 0)
    for owner in np.unique(owners).tolist():
        if owner in street.counted:
            identity = street.counted[owner]
            instance_ids[owners == owner] = identity * 1000 + numbers[identity]
            numbers[identity] += 1
    return StreetScene(image, label_ids, instance_ids)
