"""Checks of notebook 14: a picture in proportion, what classes mean, where a prediction belongs, three sealed runs."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from seglib.course.checks.verdict import call, compare, exercise, expect
from seglib.data import VOID
from seglib.data.transforms import IMAGE_MEAN

# Hashes of the names of the sealed runs' faults: whoever reads this file has still to find them.
SEALED = {"A": "a1f1dea090697e87", "B": "0c1501f6e907d216", "C": "3f9dfa09546522c7"}
HINTS = {
    "A": "draw the edges of its masks over its training samples.",
    "B": "compare its last loss with its score of pictures that it was trained on.",
    "C": "look at its confusion matrix, and try rename on it.",
}


@exercise("14.1", "One scale for both sides; padding is the mean colour in the picture and void in the mask.")
def letterbox(answer: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]) -> None:
    """Takes a wide picture, a tall one and a small one, of quarters that survive resizing; sides that are rounded."""
    for height, width, side in ((40, 80, 40), (80, 40, 40), (20, 10, 60), (45, 100, 33), (1, 90, 30)):
        label = np.zeros((height, width), np.uint8)
        label[: height // 2, width // 2 :], label[height // 2 :, : width // 2] = 3, 7
        image = np.stack([10 + 20 * label] * 3, axis=2)
        picture, mask = (np.asarray(each) for each in call(answer, image, label, side))
        what = f"{height} x {width} in a square of {side}"
        squares, wrong = mask.shape == (side, side) == picture.shape[:2], f"picture {picture.shape}, mask {mask.shape}."
        expect(squares, f"{what}: {wrong}", "both are squares of `side`.")
        strange = sorted({*np.unique(mask).tolist()} - {0, 3, 7, VOID})
        expect(not strange, f"{what}: the mask holds {strange}.", "a mask is resized by nearest neighbour only.")
        rows, columns = (max(1, round(each * side / max(height, width))) for each in (height, width))
        inside = np.zeros((side, side), bool)
        inside[:rows, :columns] = True
        black = (mask[~inside] == 0).all()
        hint = "what was padded has no class: 255, not 0." if black else "keep the proportions."
        expect((mask == VOID).any(), f"{what}: no pixel of the mask is void.", hint)
        wrong = f"{what}: void lies on {(mask == VOID).sum()} pixels, expected the {(~inside).sum()} at the end."
        expect(((mask == VOID) == ~inside).all(), wrong, "one scale for both sides, and the result at the top left.")
        colour = picture[~inside].mean(axis=0).round().astype(int).tolist()
        hint = "the mean colour is 0 after normalisation; black is a colour like others."
        expect(np.allclose(colour, IMAGE_MEAN, atol=1), f"{what}: padded with {colour}.", hint)
        right, full = (
            np.asarray(Image.fromarray(each).resize((columns, rows), how)).astype(int)
            for each, how in ((label, Image.Resampling.NEAREST), (image, Image.Resampling.BILINEAR))
        )
        hint = "resize the label by NEAREST, and write it into the top left corner."
        expect((mask[:rows, :columns] == right).all(), f"{what}: the mask is not the label, resized.", hint)
        hint = "resize it by BILINEAR, and write it to the same place as the mask's."
        apart = abs(picture[:rows, :columns].astype(int) - full).max()
        expect(apart <= 2, f"{what}: the picture is not the image, resized.", hint)


def best_naming(matrix: np.ndarray) -> np.ndarray:
    """Returns the name under which each predicted class agrees most with the labels, each name once; (K, K) counts."""
    return linear_sum_assignment(matrix.T, maximize=True)[1]


@exercise("14.2", "The names under which most pixels agree, each of them used once.")
def rename(answer: Callable[[np.ndarray], list[int]]) -> None:
    """Takes matrices of classes in other orders, with a first class that is often taken for others."""

    def values(matrix: np.ndarray) -> tuple[list[int], dict[str, list[int]]]:
        right = best_naming(matrix)
        return right.tolist(), {
            "two classes have one name; each name is used once.": matrix.argmax(axis=0).tolist(),
            "these are the predictions that belong to the labels; rows are labels.": np.argsort(right).tolist(),
            "this is the least agreement: maximize=True.": linear_sum_assignment(matrix.T)[1].tolist(),
        }

    rng, cases = np.random.default_rng(0), {}
    for name, order in {"shifted": [1, 2, 3, 4, 0], "mixed": [2, 0, 1, 4, 3], "right": [0, 1, 2, 3, 4]}.items():
        matrix = rng.integers(0, 20, (5, 5)) + np.diag([900, 60, 80, 70, 50])
        matrix[0] += np.array([0, 200, 0, 90, 0])
        cases[f"The list for classes that are {name}"] = (matrix[:, np.argsort(order)],)
    hint = "linear_sum_assignment(matrix.T, maximize=True) pairs each prediction with a label."
    compare(answer, cases, values, hint, lambda found: [int(k) for k in found])


def shift_of(
    label: np.ndarray, prediction: np.ndarray, reach: int, roll: bool = False, void: bool = False, count: bool = False
) -> np.ndarray:
    """Returns the share of pixels that agree for each shift of the prediction, (2 reach + 1, 2 reach + 1).

    `roll`, `void` and `count` make usual mistakes: what leaves the picture comes back, void is counted, no shares.
    """
    beyond = {"mode": "wrap"} if roll else {"constant_values": -1}
    padded, (height, width) = np.pad(prediction.astype(np.int64), reach, **beyond), label.shape
    shares = np.zeros((2 * reach + 1,) * 2)
    for y, x in np.ndindex(shares.shape):
        moved = padded[2 * reach - y :, 2 * reach - x :][:height, :width]
        counted = (moved >= 0) & ((label != VOID) | void)
        agree = (moved == label)[counted]
        shares[y, x] = agree.sum() if count else agree.mean()
    return shares


@exercise("14.3", "The shift at which most of the labelled pixels agree.")
def best_shift(answer: Callable[[np.ndarray, np.ndarray, int], tuple[int, int]]) -> None:
    """Takes noisy predictions that were moved, in pictures that are not square, with void."""

    def best(*arguments: object) -> tuple[int, ...]:
        shares = shift_of(*arguments)
        return tuple(int(at) - shares.shape[0] // 2 for at in np.unravel_index(shares.argmax(), shares.shape))

    def values(label: np.ndarray, prediction: np.ndarray, reach: int) -> tuple[tuple[int, ...], dict[str, tuple]]:
        dy, dx = right = best(label, prediction, reach)
        return right, {
            "this is where the prediction lies; the shift that mends it has the other sign.": (-dy, -dx),
            "rows come first: (dy, dx).": (dx, dy),
            "void agrees with nothing: leave it out.": best(label, prediction, reach, False, True),
            "np.roll brings in at one edge what left at the other.": best(label, prediction, reach, True),
            "a large shift has fewer pixels to agree: compare shares.": best(
                label, prediction, reach, False, False, True
            ),
        }

    rng, cases = np.random.default_rng(0), {}
    for number, (dy, dx) in enumerate(((-5, 1), (5, -2), (-4, -5), (0, 4))):
        wide = np.where(rng.random((7, 14)) > 0.7, rng.integers(1, 3, (7, 14)), 0).astype(np.uint8)
        wide = wide.repeat(4, axis=0).repeat(4, axis=1)
        label, prediction = wide[6:20, 6:46].copy(), wide[6 + dy : 20 + dy, 6 + dx : 46 + dx].copy()
        label[:3] = VOID
        prediction[rng.random(label.shape) < 0.5] = 0
        cases[f"The best shift of prediction {number}"] = (label, prediction, 5)
    compare(answer, cases, values, "compare each row of the label with the row that moves there.", tuple)


@exercise("14.4", "All three, by looking at samples, curves and predictions.")
def sealed_runs(answer: Callable[[], Mapping[str, str]]) -> None:
    """Compares hashes of the names."""
    found = call(answer)
    for run, sealed in SEALED.items():
        named = found.get(run) if isinstance(found, Mapping) else None
        name, wrong = f"{run}: {named}", f"Run {run} has another fault than {named!r}."
        expect(hashlib.sha256(name.encode()).hexdigest()[:16] == sealed, wrong, HINTS[run])
