"""Checks of notebook 11: scores averaged over views, and what is worth its price."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect

Row = tuple[float, float]  # points, price


@exercise("11.1", "Each view is mirrored and resized back before the mean is taken, and the mean is of probabilities.")
def average_views(answer: Callable[[nn.Module, Tensor, tuple[float, ...], bool], Tensor]) -> None:
    """Takes a network that tells left from right and large from small, one scale and several, mirrored and not."""
    network = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    network.requires_grad_(False)
    images = 2 * torch.randn(2, 3, 23, 29)  # sides have to be rounded, and none is a half

    def views(
        scales: tuple[float, ...],
        flip: bool,
        back: bool = True,
        antialias: bool = True,
        smooth: bool = False,
        early: bool = False,
        whole: Callable[[float], int] = round,
    ) -> Tensor:
        """Logits of every view at the images' size; with `early` probabilities, taken before the way back."""
        found = []
        for scale in scales:
            size = tuple(whole(side * scale) for side in images.shape[2:])
            scaled = F.interpolate(images, size=size, mode="bilinear", antialias=antialias)
            seen = [network(scaled)]
            if flip:
                mirrored = network(scaled.flip(-1))
                seen.append(mirrored.flip(-1) if back else mirrored)
            seen = [x.softmax(1) for x in seen] if early else seen
            found += [F.interpolate(x, size=images.shape[2:], mode="bilinear", antialias=smooth) for x in seen]
        return torch.stack(found)

    def mean(scales: tuple[float, ...], flip: bool, **mistake: Any) -> Tensor:
        return views(scales, flip, **mistake).softmax(2).mean(0)

    for scales, flip in (((1.0,), True), ((0.75, 1.0), False), ((0.75, 1.0, 1.25), True)):
        found = call(answer, network, images.clone(), scales, flip)
        seen = views(scales, flip)
        usual = {
            "a mirrored prediction has to be mirrored back.": mean(scales, flip, back=False),
            "take the softmax of each view first: a mean of logits lets the loudest view win.": seen.mean(0).softmax(1),
            "these are logits; average probabilities.": seen.mean(0),
            "that is the sum; probabilities of a pixel sum to 1.": seen.softmax(2).sum(0),
            "shrink the images with antialias=True, as training does.": mean(scales, flip, antialias=False),
            "bring predictions back without antialiasing.": mean(scales, flip, smooth=True),
            "resize the logits first, then the softmax.": views(scales, flip, early=True).mean(0),
            "round the sides of a view; int() cuts them off.": mean(scales, flip, whole=int),
            "the mirrored views are missing.": mean(scales, False),
        }
        name = f"The mean over scales {scales}{', mirrored too' * flip}"
        diagnose(
            name, found, mean(scales, flip), usual, "resize, run, mirror back, resize back, softmax; then the mean."
        )


@exercise("11.2", "A row is out where another gives as much for as little, and more or cheaper.")
def worth_their_price(answer: Callable[[dict[str, Row]], Iterable[str]]) -> None:
    """Takes rows that beat each other in points, in price or in both, and rows that are alike."""

    def read(found: Iterable[str]) -> set[str]:
        expect(not isinstance(found, str), f"A set of names is expected, found the text {found!r}.")
        names = list(found)
        expect(all(isinstance(name, str) for name in names), f"{names} are not names of rows, such as 'base'.")
        return set(names)

    def values(rows: dict[str, Row]) -> tuple[set[str], dict[str, set[str]]]:
        def unbeaten(beats: Callable[[Row, Row], bool]) -> set[str]:
            pairs = {name: [(rows[other], row) for other in rows if other != name] for name, row in rows.items()}
            return {name for name in rows if not any(beats(*pair) for pair in pairs[name])}

        right = unbeaten(lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b)
        return right, {
            "as many points for less are enough to beat a row.": unbeaten(lambda a, b: a[0] > b[0] and a[1] < b[1]),
            "cheap is better.": unbeaten(lambda a, b: a[0] >= b[0] and a[1] >= b[1] and a != b),
            "the best row is one of them; cheaper ones may stay too.": unbeaten(lambda a, b: a[0] > b[0]),
            "points divided by price favours the cheapest.": unbeaten(lambda a, b: a[0] / a[1] > b[0] / b[1]),
            "these are the rows to leave out.": rows.keys() - right,
            "two rows that are alike do not beat each other.": unbeaten(lambda a, b: a[0] >= b[0] and a[1] <= b[1]),
        }

    cases = [
        {"base": (0.0, 1.0), "deep": (5.0, 2.0), "deeper": (4.0, 3.0), "scales": (6.0, 30.0)},
        {"base": (0.0, 1.0), "free": (2.0, 1.0), "dear": (2.0, 4.0), "twin": (2.0, 1.0)},
        {"base": (0.0, 1.0), "worse": (-1.0, 1.0), "cheap": (-2.0, 0.5), "dearer": (-0.5, 1.5)},
        {"one": (1.0, 1.0)},
        {"base": (0.0, 1.0), "half": (1.0, 2.0), "best": (3.0, 2.0), "most": (3.5, 2.5)},
    ]
    compare(answer, [(rows,) for rows in cases], values, "take each row, and look for another one that beats it.", read)
