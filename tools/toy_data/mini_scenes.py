"""Scenes of the toy set for small networks: what a thing is shows only far away from it (see data/README.md)."""

from dataclasses import dataclass

import numpy as np

from tools.toy_data import voc_objects as things
from tools.toy_data import voc_scenes as large
from tools.toy_data.canvas import Canvas, chance, mix, pick, shade, uniform, vary, void_border

KINDS = {"meadow, kites": large.KITE, "sea floor": large.FISH, "meadow, tents": large.TENT, "lake": large.BOAT}
GRASS, SAND, WATER = 9, 10, 11
GROUNDS = {"meadow, kites": GRASS, "sea floor": SAND, "meadow, tents": GRASS, "lake": WATER}
SIZES = ((128, 96), (128, 112), (128, 128))  # height, width
DISTANCE = 24  # pixels at least from a thing's outline to the ground that tells what it is
SPREAD = 8  # pixels by which things stand higher than they could
GROUND = (10, 15)  # height of that ground, the lowest strip of a picture
REACH = 6  # pixels by which plants and waves rise above it
MEADOWS = large.LANDS[:2]
FOGS = [((206, 212, 214), (232, 234, 230)), ((190, 200, 206), (222, 226, 224)), ((214, 206, 196), (238, 232, 222))]


@dataclass(frozen=True)
class MiniScene(large.VOCScene):
    """One picture; `ground`: the first row of which a pixel may depend on the kind of scene."""

    ground: int


def mini_scene(rng: np.random.Generator, kind: str) -> MiniScene:
    """Paint one scene of a kind of `KINDS`.

    Two scenes of one pair differ in nothing but the ground and the label: kites from fish, and tents from boats.
    """
    label = KINDS[kind]
    canvas = Canvas(*pick(rng, SIZES))
    night = chance(rng, 0.15)
    top = canvas.height - uniform(rng, *GROUND)
    lowest = top - REACH - DISTANCE - 1  # of a thing that the ground decides
    if label in (large.KITE, large.FISH):
        large._backdrop(canvas, rng, night)
    else:
        _fog(canvas, rng, night)
    # From a generator of its own: the rest of the picture comes out the same on every ground.
    _ground(canvas, np.random.default_rng(int(rng.random() * 2**32)), kind, top, night)
    _scenery(canvas, rng, top, night)
    for _ in range(2 + int(uniform(rng, 0, 2.99))):
        x = uniform(rng, 0.1, 0.9) * canvas.width
        if label in (large.KITE, large.FISH):
            length = uniform(rng, 24, 44)
            things.koi(canvas, rng, label, x, lowest - 0.46 * length - uniform(rng, 0, SPREAD), length)
        else:
            h = uniform(rng, 22, 40)
            things.canvas_triangle(canvas, rng, label, x, lowest - 0.06 * h - 1 - uniform(rng, 0, SPREAD), h)
    owners = canvas.sample(canvas.owners)
    shift = large._unsteady_hand(rng, canvas.height, canvas.width)
    image = large._develop(canvas, rng, night)
    labels = void_border(canvas.sample(canvas.labels), owners), canvas.sample(canvas.labels, shift).astype(np.uint8)
    for each in labels:
        strip = each[int(top) :]
        strip[strip == 0] = GROUNDS[kind]
    return MiniScene(
        kind=kind,
        image=image,
        label=labels[0],
        label_sbd=labels[1],
        owners=owners,
        ground=int(top - REACH),
    )


def _fog(canvas: Canvas, rng: np.random.Generator, night: bool) -> None:
    """Fog over land or water: a pale gradient. The same for both."""
    first, second = (vary(rng, colour, 10) for colour in pick(rng, large.NIGHTS if night else FOGS))
    ends = np.asarray(first, np.float32), np.asarray(second, np.float32)
    canvas.begin_background()
    canvas.rectangle(
        0, 0, canvas.width, canvas.height,
        lambda yy, xx: ends[0] + (ends[1] - ends[0]) * (yy / canvas.height)[..., None] + 0 * xx[..., None],
    )  # fmt: skip


def _ground(canvas: Canvas, rng: np.random.Generator, kind: str, top: float, night: bool) -> None:
    """The lowest strip: grass, sand with weeds, or water with waves."""
    colour, dark = {
        "sea floor": (pick(rng, large.SANDS), (26, 46, 76)),
        "lake": (pick(rng, large.WATERS), (24, 36, 76)),
    }.get(kind, (pick(rng, MEADOWS), (30, 42, 70)))
    tone = mix(vary(rng, colour), dark, 0.5 if night else 0.0)
    canvas.begin_background()
    large._ground(canvas, rng, tone, top, 2)
    for _ in range(14):
        x, y = uniform(rng, 0, canvas.width), uniform(rng, top + 1, canvas.height)
        tall, sway = uniform(rng, 2, REACH - 1), uniform(rng, -3, 3)
        if kind == "lake":
            canvas.stroke([(x - 4, y), (x + 4, y)], (0.9, 0.9), mix(tone, (240, 248, 255), 0.4))
        elif kind == "sea floor":
            weed = mix(vary(rng, pick(rng, things.LEAVES[:3])), (20, 60, 80), 0.4)
            canvas.stroke([(x, y), (x + sway, y - tall / 2), (x, y - tall)], (2.2, 1.0), weed)
        else:
            canvas.stroke([(x, y), (x + sway / 2, y - 0.6 * tall)], (1.2, 0.8), shade(tone, 0.8))


def _scenery(canvas: Canvas, rng: np.random.Generator, top: float, night: bool) -> None:
    """Houses, trees, fences and lamps on the ground, on meadows and under water alike: they tell nothing."""
    for _ in range(1 + int(uniform(rng, 0, 3.99))):
        label = pick(rng, (large.HOUSE, large.TREE, large.FENCE, large.LAMP))
        x, y, h = uniform(rng, 0, canvas.width), uniform(rng, top + 2, canvas.height - 1), uniform(rng, 24, 60)
        if label == large.FENCE:
            things.fence(canvas, rng, label, x, y, 0.5 * h, uniform(rng, 1.2, 3) * h)
        elif label == large.TREE:
            things.tree(canvas, rng, label, x, y, h)
        else:
            (things.house if label == large.HOUSE else things.lamp)(canvas, rng, label, x, y, h, night)
