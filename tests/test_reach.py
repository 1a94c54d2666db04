"""The reach curves: labels by brute force, equal shares, views against gradients, chance without training."""

import numpy as np
import pandas as pd
import pytest
import torch

from seglib.course import reach
from seglib.course.fields import effective_field, settle_batch_norm
from seglib.course.reach import BEACON, COLOURS, DISC, DISTANCES, HEADS, MARGIN, SIDE, VOID, Head
from tools.reach import SEEDS


@pytest.mark.parametrize("pairs", [1, 2])
def test_a_disc_has_the_colour_of_the_nearest_beacon(pairs: int) -> None:
    distances = np.repeat(DISTANCES[pairs], 8)
    pictures = reach.draw(distances, pairs, np.random.default_rng(0))
    sides = set()
    for n, distance in enumerate(distances):
        image, labels = pictures.images[n] / 2 + 0.5, pictures.labels[n]
        for y, x in pictures.discs[n]:
            found = sorted((max(abs(y - v), abs(x - u)), v, u) for v, u in pictures.beacons[n])
            assert found[0][0] == distance and all(far >= distance + MARGIN for far, _, _ in found[1:])
            _, v, u = found[0]
            assert torch.allclose(image[:, v, u], torch.from_numpy(COLOURS[labels[y, x]])), "the beacon's colour"
            assert y % 4 == x % 4 == 0 and min(y, x) >= DISC and max(y, x) < SIDE - DISC
            sides.add((np.sign(v - y), np.sign(u - x)))
        drawn = (image.max(0).values - image.min(0).values > 0.1).sum()  # grey and white have no colour
        assert drawn == pairs * int(((np.mgrid[-3:4, -3:4] ** 2).sum(0) <= BEACON**2 + 1).sum()), "beacons are whole"
        assert ((labels != VOID) == (image.min(0).values == 1)).all(), "labels on the discs, and nowhere else"
        assert pairs == 1 or sorted(pictures.classes[n]) == [0, 1], "the colours of a picture tell nothing"
    assert len(sides - {(0, 1), (0, -1), (1, 0), (-1, 0)}) == 4, "in any direction"


@pytest.mark.parametrize("pairs", [1, 2])
def test_every_distance_is_trained_equally_often(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, draw = [], reach.draw
    monkeypatch.setattr(reach, "draw", lambda distances, *rest: trained.extend(distances) or draw(distances, *rest))
    reach.train(Head(), pairs, seed=5, steps=6)
    assert pd.Series(trained).value_counts().to_dict() == dict.fromkeys(DISTANCES[pairs], 96 // len(DISTANCES[pairs]))


@pytest.mark.parametrize("head", [head for head in HEADS[2] if not head.pooling], ids=str)
def test_what_a_head_sees_is_what_has_a_gradient(head: Head) -> None:
    torch.manual_seed(0)
    network, images = reach.build(head), torch.randn(4, 3, 217, 217)
    settle_batch_norm(network, images)
    seen = effective_field(network, images, 27, 27).numpy() > 0  # of the pixel in the middle
    view = np.pad(reach.view(head), 108 - reach.reach(head))
    assert (seen == view).all()
    assert reach.reach(head) == 3 + 4 * (sum(head.units) + max((0, *head.aspp)))


@pytest.mark.parametrize("head, distance", [(Head((4, 4, 4)), 16), (Head((), (6, 12, 18)), 24), (Head((2, 4, 8)), 61)])
def test_the_share_in_view_is_counted_on_drawn_beacons(head: Head, distance: int) -> None:
    pictures = reach.draw([distance] * 400, 1, np.random.default_rng(1))
    view, middle = np.pad(reach.view(head), 128), 128 + reach.reach(head)
    coloured = (pictures.images.amax(1) - pictures.images.amin(1)) > 0.2
    rows_columns = [np.argwhere(mask.numpy()) - disc for mask, disc in zip(coloured, pictures.discs[:, 0], strict=True)]
    counted = np.mean([view[tuple((middle + offsets).T)].any() for offsets in rows_columns])
    assert counted > 0.2 and abs(counted - reach.shares_in_view(head, [distance])[0]) < 0.08


def test_a_head_that_sees_no_beacon_guesses() -> None:
    torch.manual_seed(1)
    for head in (Head(), Head((2, 2, 2), (6, 12, 18), pooling=True)):
        assert abs(reach.accuracy(reach.build(head).eval(), 2, discs=60) - reach.CHANCE).mean() < 0.1


def test_the_stored_scores_are_complete() -> None:
    stored = pd.read_csv(reach.STORE)
    runs = {(str(head), pairs, seed) for pairs, heads in HEADS.items() for head in heads for seed in SEEDS}
    found = stored.groupby(["head", "pairs", "seed"])["distance"].apply(tuple).to_dict()
    assert found == {run: DISTANCES[run[1]] for run in runs}
    assert reach.TEST_DISCS >= 300 and set(stored["steps"]) == {reach.STEPS}
