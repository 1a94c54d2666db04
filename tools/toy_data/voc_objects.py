"""The things that the toy pictures are made of. Each function paints one object; (x, y) is its foot in pixels."""

import numpy as np

from tools.toy_data.canvas import Canvas, Colour, chance, direction, mix, pick, shade, turned, uniform, vary

WALLS = [(238, 220, 186), (196, 92, 70), (240, 240, 232), (150, 176, 196), (226, 178, 96), (206, 190, 170)]
ROOFS = [(156, 56, 44), (104, 72, 56), (78, 84, 96), (44, 104, 108), (176, 96, 60)]
LEAVES = [(66, 128, 58), (96, 146, 60), (40, 100, 64), (200, 140, 44), (188, 88, 44), (226, 160, 178)]
BARK = [(96, 70, 50), (118, 96, 78), (76, 62, 58)]
CLOTHS = [(214, 66, 56), (240, 236, 224), (242, 178, 52), (70, 104, 176), (88, 152, 92), (230, 120, 60), (130, 84, 150)]
SKINS = [(234, 110, 54), (244, 196, 66), (220, 70, 80), (236, 236, 236), (70, 74, 92), (110, 168, 90), (188, 120, 190)]
RAILS = [(244, 240, 230), (140, 98, 66), (92, 88, 86), (170, 130, 88)]
IRONS = [(52, 56, 62), (70, 92, 84), (96, 70, 60), (36, 40, 66)]
LAMPLIGHT = (255, 226, 140)


def _shadow(canvas: Canvas, x: float, y: float, reach: float) -> None:
    """A soft dark patch on the ground. It is see-through, so the labels below it stay."""
    canvas.ellipse((x + 0.2 * reach, y), (reach, 0.14 * reach + 0.6), (24, 30, 40), opacity=0.3, labelled=False)


def house(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, h: float, night: bool) -> None:
    """A house `h` pixels high: wall, gable or hip roof, chimney, door and windows, all of one class."""
    wall, roof = vary(rng, pick(rng, WALLS)), vary(rng, pick(rng, ROOFS))
    w, wall_h, eaves = h * uniform(rng, 0.85, 1.5), h * uniform(rng, 0.5, 0.62), h * 0.08
    left, right, top = x - w / 2, x + w / 2, y - wall_h
    _shadow(canvas, x, y, 0.62 * w)
    canvas.begin(label)
    if chance(rng, 0.6):
        chimney = x + uniform(rng, -0.25, 0.25) * w
        canvas.rectangle(chimney - 0.05 * h, y - h, chimney + 0.05 * h, top, shade(roof, 0.75))
    ridge = uniform(rng, 0.0, 0.3) * w
    canvas.rectangle(left, top, right, y, lambda yy, xx: sidelit(wall, xx, left, right))
    canvas.polygon([(left - eaves, top), (x - ridge, y - h * 0.97), (x + ridge, y - h * 0.97), (right + eaves, top)],
                   lambda yy, xx: sidelit(roof, xx, left, right))  # fmt: skip
    canvas.rectangle(left, top, right, top + 0.035 * h, shade(wall, 0.72))
    pane = LAMPLIGHT if night else vary(rng, (92, 116, 140))
    columns = 2 if w < 1.1 * h else 3
    door = int(columns * rng.random())
    for k in range(columns):
        cx, half = left + w * (k + 0.5) / columns, 0.085 * h
        if k == door:
            canvas.rectangle(cx - half, y - 0.32 * h, cx + half, y, shade(roof, 0.6))
        else:
            canvas.rectangle(
                cx - half - 0.02 * h, top + 0.13 * h, cx + half + 0.02 * h, top + 0.35 * h, shade(wall, 1.15)
            )
            canvas.rectangle(cx - half, top + 0.15 * h, cx + half, top + 0.33 * h, pane)


def sidelit(colour: Colour, xx: np.ndarray, left: float, right: float) -> np.ndarray:
    """`colour`, brighter on the left than on the right. Returns (1, w, 3)."""
    fall = 1.06 - 0.2 * np.clip((xx - left) / (right - left), 0, 1)
    return np.clip(fall[..., None] * np.asarray(colour, np.float32), 0, 255)


def tree(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, h: float) -> None:
    """A tree `h` pixels high: round, conical or bare. Trunk and branches are thin."""
    leaf, bark = vary(rng, pick(rng, LEAVES)), vary(rng, pick(rng, BARK))
    trunk = max(2.0, 0.085 * h)
    _shadow(canvas, x, y, 0.3 * h)
    canvas.begin(label)
    kind = pick(rng, ("round", "round", "cone", "bare"))
    if kind == "bare":
        _branch(canvas, rng, bark, (x, y), -90.0, 0.42 * h, trunk, 0)
        return
    canvas.stroke([(x, y), (x + uniform(rng, -0.03, 0.03) * h, y - 0.55 * h)], (trunk, trunk * 0.7), bark)
    if kind == "cone":
        leaf = mix(leaf, (36, 88, 66), 0.6)
        for k in range(3):
            top, half = y - h + 0.22 * k * h, (0.15 + 0.065 * k) * h
            foot = top + 0.38 * h
            tone = shade(leaf, 1.12 - 0.1 * k)
            canvas.polygon(
                [(x, top), (x + half, foot), (x - half, foot)],
                lambda yy, xx, c=tone: sidelit(c, xx, x - h / 4, x + h / 4),
            )
        return
    blobs = [(uniform(rng, -0.2, 0.2), uniform(rng, 0.42, 0.8), uniform(rng, 0.13, 0.2)) for _ in range(7)]
    for tone, dx, dy in ((0.8, 0.0, 0.0), (1.0, -0.025, -0.03), (1.16, -0.05, -0.07)):
        size = 1.0 if tone < 1 else 0.82 if tone == 1.0 else 0.45
        for bx, by, r in blobs:
            canvas.ellipse((x + (bx + dx) * h, y - by * h + dy * h), (r * h * size, r * h * size), shade(leaf, tone))


def _branch(canvas: Canvas, rng, bark: Colour, start, degrees: float, length: float, width: float, level: int) -> None:
    c, s = direction(degrees)
    end = (start[0] + c * length, start[1] + s * length)
    canvas.stroke([start, end], (max(width, 1.5), max(width * 0.7, 1.4)), shade(bark, 1 + 0.08 * level))
    if level < 3 and length > 3.5:
        for turn in (-34, 4, 36) if level < 2 else (-28, 28):
            _branch(canvas, rng, bark, end, degrees + turn + uniform(rng, -10, 10), length * uniform(rng, 0.55, 0.72),
                    width * 0.66, level + 1)  # fmt: skip


def canvas_triangle(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, h: float) -> None:
    """A striped triangle of cloth on a dark base, with a pole and a pennant: a boat on water, a tent on land.

    Nothing in here depends on `label`: the class is in the surroundings alone.
    """
    first, second = vary(rng, pick(rng, CLOTHS)), vary(rng, pick(rng, CLOTHS))
    base = vary(rng, pick(rng, BARK))
    half, lean, apex = h * uniform(rng, 0.36, 0.5), h * uniform(rng, -0.12, 0.12), y - 0.84 * h
    canvas.begin_background()
    canvas.ellipse((x, y), (half * 1.35, 0.06 * h + 0.8), (226, 224, 206), opacity=0.75)
    canvas.begin(label)
    pole = max(1.5, 0.035 * h)
    tip = (x + lean, y - h)
    canvas.stroke([(x + lean, y - 0.1 * h), tip], (pole, pole), shade(base, 0.8))
    flag = 0.16 * h * pick(rng, (-1, 1))
    canvas.polygon([tip, (tip[0] + flag, tip[1] + 0.045 * h), (tip[0], tip[1] + 0.09 * h)], second)
    foot, panels = y - 0.1 * h, 2 * int(uniform(rng, 2, 4)) + 1
    for k in range(panels):
        a, b = (x - half + 2 * half * j / panels for j in (k, k + 1))
        tone = 1.08 - 0.22 * k / (panels - 1)
        canvas.polygon([(x + lean, apex), (a, foot), (b, foot)], shade(second if k % 2 else first, tone))
    canvas.polygon([(x - half * 1.1, foot), (x + half * 1.1, foot), (x + half * 0.95, y), (x - half * 0.95, y)], base)


def koi(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, length: float) -> None:
    """A body with tail, two fins and an eye: a fish under water, a kite in the air. (x, y) is its centre.

    Nothing in here depends on `label`: the class is in the scene alone.
    """
    skin, trim = vary(rng, pick(rng, SKINS)), vary(rng, pick(rng, SKINS))
    facing, tilt, depth = pick(rng, (-1, 1)), uniform(rng, -25, 25), uniform(rng, 0.17, 0.23)

    def at(points):
        return turned([(x + facing * u * length, y + v * length) for u, v in points], (x, y), tilt)

    canvas.begin(label)
    fork = uniform(rng, 0.12, 0.22)
    canvas.polygon(at([(-0.2, 0), (-0.5, -fork), (-0.42, 0), (-0.5, fork)]), trim)
    sweep, reach = uniform(rng, -0.2, -0.08), uniform(rng, 0.27, 0.36)
    canvas.polygon(at([(0.2, -0.1), (0.02, -reach), (sweep, -0.85 * reach), (-0.18, -0.08)]), shade(trim, 0.85))
    canvas.polygon(at([(0.1, 0.08), (sweep * 0.8, reach), (-0.08, 0.1)]), shade(trim, 0.85))
    body, belly, eye = at([(0.08, 0), (0.1, 0.05), (0.3, -0.045)])
    canvas.ellipse(body, (0.38 * length, depth * length), skin, degrees=tilt)
    canvas.ellipse(belly, (0.3 * length, 0.6 * depth * length), shade(skin, 1.25), degrees=tilt)
    for u in (-0.16, -0.04):
        tall = depth * (0.7 if u < -0.1 else 0.88)
        stripe = [(u, -tall), (u + 0.05, -tall), (u + 0.07, 0), (u + 0.05, tall), (u, tall), (u + 0.02, 0)]
        canvas.polygon(at(stripe), shade(trim, 1.1))
    canvas.ellipse(eye, (0.045 * length, 0.045 * length), (250, 250, 250))
    canvas.ellipse(eye, (0.026 * length, 0.026 * length), (20, 20, 24))


def fence(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, h: float, width: float) -> None:
    """A fence of posts and two rails, `h` high and `width` wide: its bars are two to six pixels wide."""
    wood = vary(rng, pick(rng, RAILS))
    post, rail = max(2.0, 0.11 * h), max(1.8, 0.09 * h)
    gap, slope = max(5.5, uniform(rng, 0.45, 0.65) * h), uniform(rng, -0.08, 0.08)
    canvas.begin(label)
    steps = max(2, int(width / gap))
    for level in (0.34, 0.74):
        half = steps * gap / 2
        ends = [(x - half, y - level * h - slope * half), (x + half, y - level * h + slope * half)]
        canvas.stroke(ends, (rail, rail), shade(wood, 0.86))
    for k in range(steps + 1):
        px = x + (k - steps / 2) * gap
        py = y + (k - steps / 2) * gap * slope
        canvas.stroke([(px, py), (px, py - 0.92 * h)], (post, post), wood)
        canvas.polygon([(px - post / 2, py - 0.92 * h), (px, py - h), (px + post / 2, py - 0.92 * h)], wood)


def lamp(canvas: Canvas, rng: np.random.Generator, label: int, x: float, y: float, h: float, night: bool) -> None:
    """A street lamp `h` pixels high: a thin post, an arm and a small head that shines at night."""
    iron, side = vary(rng, pick(rng, IRONS), 8), pick(rng, (-1, 1))
    post = max(2.0, 0.04 * h)
    head = (x + side * 0.18 * h, y - 0.92 * h)
    _shadow(canvas, x, y, 0.09 * h)
    canvas.begin(label)
    canvas.stroke([(x, y), (x, y - 0.9 * h)], (post * 1.3, post), iron)
    canvas.stroke([(x, y - 0.88 * h), (x + side * 0.05 * h, y - 0.97 * h), (head[0], y - 0.98 * h)], (post, post), iron)
    canvas.rectangle(x - post * 1.2, y - 0.06 * h, x + post * 1.2, y, shade(iron, 0.8))
    r = max(2.0, 0.075 * h)
    canvas.ellipse(head, (r, r * 1.15), LAMPLIGHT if night else (236, 234, 214))
    canvas.polygon(
        [(head[0] - r * 1.3, head[1] - 0.3 * r), (head[0], head[1] - 1.7 * r), (head[0] + r * 1.3, head[1] - 0.3 * r)],
        iron,
    )
    if night:
        canvas.glow(head, 0.42 * h, LAMPLIGHT, 0.55)
