"""Checks of notebook 13: masks of colours, pictures held out by group, an overlay, an exported network's labels."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from seglib.course.checks.verdict import call, diagnose, exercise, expect
from seglib.data import VOID

Colour = tuple[int, int, int]


@exercise("13.1", "Each colour has its class, white has none, and a colour that nobody meant is not passed over.")
def read_colours(answer: Callable[[np.ndarray, list[Colour], Colour], np.ndarray]) -> None:
    """Takes colours that share channels and sums, and a mask with one colour too many."""
    colours, white = [(0, 0, 0), (200, 0, 0), (0, 200, 0), (200, 200, 0), (0, 0, 200)], (255, 255, 255)
    right = np.random.default_rng(0).choice([0, 1, 2, 3, 4, VOID], (6, 7)).astype(np.uint8)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)], table[VOID] = colours, white
    found = np.asarray(call(answer, table[right], list(colours), white))
    as_class = np.where(right == VOID, 0, right)
    sums = table.sum(axis=1)
    by_sum = np.array([np.flatnonzero(sums[: len(colours)] == total)[-1] for total in sums[: len(colours)]])
    any_channel = np.full(right.shape, VOID)
    for k, colour in enumerate(colours):
        any_channel[(table[right] == colour).any(axis=2)] = k
    usual = {
        "white is 0 here: the network would learn it as background. Void is 255.": as_class,
        f"white is {len(colours)} here, one class more. Void is 255.": np.where(right == VOID, len(colours), right),
        "colours of one sum are told apart by their channels only.": np.append(by_sum, [0] * 250 + [VOID])[right],
        "a pixel has a colour if all three channels agree: use .all(axis=2).": any_channel,
    }
    diagnose("The label", found, right, usual, "compare the mask with one colour after another.")
    for colour in ((201, 0, 0), (200, 0, 200)):  # the second one has channels and a sum that classes have too
        strange = table[right].copy()
        strange[2, 3] = colour
        try:
            passed = answer(strange, list(colours), white)
        except ValueError:
            continue
        hint = f"{colour} is in no table: raise ValueError, or a smoothed edge becomes a class without a word."
        expect(False, f"A colour that has no class became {np.asarray(passed)[2, 3]}.", hint)


@exercise("13.2", "A walk is on one side only, and the same seed holds the same walks out.")
def hold_out(answer: Callable[[list[str], float, int], set[str]]) -> None:
    """Takes walks of unequal length, two of which begin with the same word."""
    walks = {"bay": 4, "old_mill": 3, "old_town": 6, "pier": 5, "hill": 2, "weir": 5, "lane": 3, "quay": 4}
    names = [f"{walk}_{number:02d}" for walk, count in walks.items() for number in range(1, count + 1)]
    held: dict[tuple[float, int], set[str]] = {}
    for share, seed in [(0.25, seed) for seed in range(20)] + [(0.01, 0), (0.5, 1), (0.3, 0), (0.45, 0)]:
        found = set(call(answer, list(names), share, seed))
        expect(found <= set(names), "Names came back that were not given.", "return names, not walks or numbers.")
        torn = [walk for walk in walks if 0 < sum(_walk(name) == walk for name in found) < walks[walk]]
        expect(not torn, f"A part of {' and '.join(torn)} is held out.", "draw walks, then take all of their names.")
        repeated = {frozenset(call(answer, list(names), share, seed)) for _ in range(3)}
        hint = "a generator of its own for each call, with the seed in it; and the order of a set is not fixed."
        expect(repeated == {frozenset(found)}, f"Seed {seed} gave two different parts.", hint)
        held[share, seed] = {_walk(name) for name in found}
    excess = {key: len(found) - max(1, round(key[0] * len(walks))) for key, found in held.items()}
    hint = "round(share * number of walks), at least 1."
    if not held[0.01, 0]:
        hint = "at least one walk is held out, however small the share."
    elif all({"old_mill", "old_town"} <= held[key] for key, more in excess.items() if more):
        hint = "a walk's name ends at the last _, not at the first: rsplit('_', 1)."
    for (share, seed), more in excess.items():
        found = len(held[share, seed])
        wrong = f"With share {share} of {len(walks)} walks and seed {seed}, {found} are held out"
        expect(not more, f"{wrong}, expected {found - more}.", hint)
    distinct = len({frozenset(found) for (share, _), found in held.items() if share == 0.25})
    expect(distinct > 1, "All seeds hold out the same walks.", "the seed should decide which.")


def _walk(name: str) -> str:
    return name.rsplit("_", 1)[0]


@exercise("13.3", "Classes are tinted; what is background or void shows the picture.")
def overlay(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Takes bright pixels and colours, whose sum does not fit into a byte, and every kind of label."""
    rng = np.random.default_rng(0)
    image, palette = (rng.integers(100, 256, (*size, 3), dtype=np.uint8) for size in ((6, 7), (256,)))
    label = rng.choice([0, 1, 2, 9, VOID], (6, 7)).astype(np.uint8)
    mixed, overflown = (image.astype(int) + palette[label]) // 2, (image + palette[label]) // 2
    classes, void = ((label > 0) & (label < VOID))[..., None], (label == VOID)[..., None]
    right = np.where(classes, mixed, image).astype(np.uint8)
    found = np.asarray(call(answer, image.copy(), label.copy(), palette.copy()))
    usual = {
        "uint8 has no room for the sum: add in int, then divide.": np.where(classes, overflown, image),
        "void is tinted too: leave 255 as it is.": np.where(classes | void, mixed, image),
        "background is tinted too: leave 0 as it is.": np.where(void, image, mixed),
        "everything is tinted: only classes of 1 or more are.": mixed,
        "that is the colour; mix it with the picture.": np.where(classes, palette[label], image),
    }
    diagnose("The overlay", found, right, usual, "(picture + colour) // 2 where a pixel has a class of 1 or more.")
    expect(found.dtype == np.uint8, f"The values are right, but of type {found.dtype}.", "a picture is uint8.")


class _Session:
    """Stands for an onnxruntime session: refuses what the exported network refuses."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="images", shape=["B", 3, "H", "W"], type="tensor(uint8)")]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="logits", shape=["B", 4, "H", "W"], type="tensor(float)")]

    def run(
        self, output_names: Sequence[str] | None, input_feed: dict[str, np.ndarray], run_options: Any = None
    ) -> list[np.ndarray]:
        images = input_feed["images"]
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise ValueError(f"images: expected uint8, found {getattr(images, 'dtype', type(images))}")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected (B, 3, H, W), found {images.shape}")
        values = images.astype(np.float32)
        return [np.concatenate([values, values.mean(axis=1, keepdims=True) + 20], axis=1)]  # (B, 4, H, W)


@exercise("13.4", "Pixels in as (1, 3, H, W) bytes, logits out, and the largest of each pixel is its class.")
def predict_file(answer: Callable[[Any, np.ndarray], np.ndarray]) -> None:
    """Takes a session of four classes and a picture that is not square."""
    image = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    logits = _Session().run(None, {"images": image.transpose(2, 0, 1)[None]})[0]
    try:
        found = np.asarray(call(answer, _Session(), image.copy()))
    except ValueError as error:
        said = str(error)
        hint = "the normalisation is inside the file: give it the bytes as they are."
        if "(B, 3, H, W)" in said:
            hint = "channels first, image.transpose(2, 0, 1), and then [None] for the batch."
        expect(False, f"The session refuses: {said}.", hint)
    usual = {
        "that is the class that fits least.": logits.argmin(axis=1)[0],
        "transpose swapped height and width.": logits.argmax(axis=1)[0].T,
    }
    shape = "one map comes out, (H, W): argmax over axis 1, and [0] of the batch."
    expect(found.shape == image.shape[:2] or found.shape == image.shape[1::-1], f"The shape is {found.shape}.", shape)
    diagnose("The label map", found, logits.argmax(axis=1)[0], usual, "the class of the largest logit, argmax(axis=1).")
