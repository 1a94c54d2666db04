"""Reach curves: the distance from which a mark can decide the class of a disc, measured for small heads.

A picture is grey noise with white discs. A disc's class is the colour of the beacon nearest to it, a small mark at a
given distance; nothing at the disc itself tells it. Distances count as a king moves on a chessboard, the larger of rows
and columns, because kernels are square.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.fields import path_counts
from seglib.files import PROJECT
from seglib.geometry import Grid
from seglib.models import ASPP, ResNet
from seglib.models.fields import Layer, backbone_layers
from seglib.models.layers import conv_bn_relu, init_convolutions

STORE = PROJECT / "data" / "results" / "reach.csv"  # written by tools/reach.py
SIDE, STRIDE, VOID = 129, 4, 255  # a map of 33 x 33, as a crop of 513 leaves at output stride 16
DISC, BEACON = 4, 3  # radii in pixels
MARGIN = 16  # pixels by which another disc's beacon is farther away than a disc's own
COLOURS = np.array([[0.0, 0.45, 0.7], [0.9, 0.6, 0.0]], np.float32)  # of the beacons: class 0 blue, class 1 orange
CHANCE = 1 / len(COLOURS)
DISTANCES = {2: tuple(range(8, 65, 8)), 1: tuple(range(8, 97, 8))}  # pairs of disc and beacon a picture -> pixels
TRIES = 64  # places for the same picture that are drawn at once
CHANNELS, ASPP_CHANNELS, STEPS, BATCH, RATE = 32, 16, 300, 16, 5e-3
TEST_DISCS, TEST_SEED = 300, 1000  # discs for each distance


class Head(NamedTuple):
    """A head on the map of stride 4: block 4 of a ResNet-50, ASPP, both or neither."""

    units: tuple[int, ...] = ()  # rates of block 4's three units; () is without block 4
    aspp: tuple[int, ...] = ()  # rates of ASPP; () leaves it the 1x1 branch
    pooling: bool = False  # with ASPP's image-level branch

    def __str__(self) -> str:
        parts = [f"units {self.units}"] if self.units else []
        parts += ["ASPP"] if self.aspp else [] if self.units else ["1x1"]
        return " + ".join(parts + ["pooling"] * self.pooling)


PAPER_RATES = (6, 12, 18)
UNITS = tuple(Head(rates) for rates in ((1, 1, 1), (1, 2, 4), (2, 2, 2), (4, 4, 4), (2, 4, 8)))
PLAIN, ATROUS, BOTH = Head(), Head(aspp=PAPER_RATES), Head((2, 2, 2), PAPER_RATES)
PLAIN_POOLED, BOTH_POOLED = PLAIN._replace(pooling=True), BOTH._replace(pooling=True)
HEADS = {  # that are stored, by pairs a picture
    2: (PLAIN, *UNITS, ATROUS, BOTH, PLAIN_POOLED, BOTH_POOLED),
    1: (PLAIN, PLAIN_POOLED, Head((2, 2, 2)), BOTH),
}


class Pictures(NamedTuple):
    """N pictures and the things in them."""

    images: Tensor  # (N, 3, SIDE, SIDE), in -1..1
    labels: Tensor  # (N, SIDE, SIDE): the class on the discs, VOID elsewhere
    discs: np.ndarray  # (N, pairs, 2), row and column of the middle: multiples of the stride
    beacons: np.ndarray  # (N, pairs, 2), beacon i belongs to disc i
    classes: np.ndarray  # (N, pairs)


def draw(distances: Sequence[int], pairs: int, rng: np.random.Generator) -> Pictures:
    """Draws a picture for each distance, with one or two pairs of disc and beacon.

    The beacons of two pairs differ in colour: the colours of a picture tell nothing, only their places do.
    """
    distances = np.asarray(distances)
    discs, beacons = _place(distances, pairs, rng)
    classes = rng.integers(2, size=(len(distances), 1)) ^ np.arange(pairs)
    noise = rng.standard_normal((len(distances), SIDE, SIDE), np.float32)
    images = np.repeat(0.35 + 0.08 * noise[:, None], 3, axis=1)
    labels = np.full((len(distances), SIDE, SIDE), VOID)
    each = np.arange(len(distances))[:, None, None]  # (N, 1, 1), beside rows and columns (N, pairs, pixels)
    rows, columns = _circles(discs, DISC)
    images[each, :, rows, columns], labels[each, rows, columns] = 1, classes[..., None]
    rows, columns = _circles(beacons, BEACON)
    images[each, :, rows, columns] = COLOURS[classes][:, :, None]
    return Pictures(torch.from_numpy(2 * images - 1), torch.from_numpy(labels), discs, beacons, classes)


def _circles(middles: np.ndarray, radius: int) -> np.ndarray:
    """Lists the pixels of circles. (N, pairs, 2) -> (2, N, pairs, number of pixels)."""
    offsets = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    inside = offsets[:, (offsets**2).sum(axis=0) <= radius**2 + 1]
    return np.moveaxis(middles, -1, 0)[..., None] + inside[:, None, None]


def _place(distances: np.ndarray, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places discs, and the beacon of each at its distance in any direction; tries again where things do not fit."""
    places = np.zeros((2, len(distances), pairs, 2), int)
    left = np.arange(len(distances))
    while len(left):
        tried = np.repeat(left, TRIES)
        far = np.broadcast_to(distances[tried, None, None], (len(tried), pairs, 1))
        along, across = far * rng.choice([-1, 1], far.shape), rng.integers(-far, far + 1)
        offsets = np.where(rng.random(far.shape) < 0.5, np.dstack([along, across]), np.dstack([across, along]))
        discs = STRIDE * rng.integers(1, SIDE // STRIDE, offsets.shape)
        beacons = discs + offsets
        fits = ((beacons >= BEACON) & (beacons < SIDE - BEACON)).all(axis=(1, 2))
        if pairs == 2:
            fits &= (chessboard(discs, beacons[:, ::-1]) >= distances[tried, None] + MARGIN).all(axis=1)
            fits &= chessboard(discs[:, 0], discs[:, 1]) > 2 * DISC + STRIDE
            fits &= chessboard(beacons[:, 0], beacons[:, 1]) > 2 * BEACON + STRIDE
        found, first = np.unique(tried[fits], return_index=True)
        places[:, found] = discs[fits][first], beacons[fits][first]
        left = np.setdiff1d(left, found)
    return places[0], places[1]


def chessboard(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The larger of the distances in rows and in columns. (..., 2), (..., 2) -> (...)."""
    return np.abs(a - b).max(axis=-1)


def build(head: Head) -> nn.Sequential:
    """Builds a stem of stride 4, the head and a 1x1 classifier. (B, 3, H, W) -> (B, 2, H / 4, W / 4)."""
    layers: list[nn.Module] = [conv_bn_relu(3, CHANNELS // 2, 3, stride=2)]
    layers.append(conv_bn_relu(CHANNELS // 2, CHANNELS, 3, stride=2))
    channels = CHANNELS
    if head.units:
        # Of a narrow ResNet-50; at output stride 32 block 4 has the base rate 1, so its multi-grid is its rates.
        layers.append(ResNet(50, output_stride=32, multi_grid=head.units, width=CHANNELS // 16).layer4)
        channels = 2 * CHANNELS
    if head.aspp or head.pooling or not head.units:
        layers.append(ASPP(channels, head.aspp, ASPP_CHANNELS, head.pooling))
        channels = ASPP_CHANNELS
    # As in DeepLabV3. From PyTorch's smaller weights some seeds train all ReLUs before the classifier to zero.
    init_convolutions(*layers)
    return nn.Sequential(*layers, nn.Conv2d(channels, len(COLOURS), 1))


def view(head: Head) -> np.ndarray:
    """The pixels that act on one value of the map, image pooling aside: (2 R + 1, 2 R + 1) bool, R the head's reach."""
    chain = backbone_layers(build(Head(head.units)))
    branches = [chain, *([*chain, Layer(3, 1, rate, rate)] for rate in head.aspp)]
    lines = [path_counts(branch).numpy() > 0 for branch in branches]
    longest = max(map(len, lines))
    lines = [np.pad(line, (longest - len(line)) // 2) for line in lines]
    return np.any([np.outer(line, line) for line in lines], axis=0)


def reach(head: Head) -> int:
    """The distance in pixels of the farthest pixel that acts on a value of the map, image pooling aside."""
    return len(view(head)) // 2


def shares_in_view(head: Head, distances: Sequence[int]) -> np.ndarray:
    """For each distance the share of the places of a beacon of which the head sees a pixel, image pooling aside."""
    room = max(0, max(distances) - reach(head)) + BEACON
    seen = F.pad(torch.from_numpy(view(head)).float(), [room] * 4)[None, None]
    circle = torch.zeros(1, 1, 2 * BEACON + 1, 2 * BEACON + 1)
    circle[0, 0][tuple(_circles(np.full((1, 1, 2), BEACON), BEACON)[:, 0, 0])] = 1
    touched = F.conv2d(seen, circle, padding=BEACON)[0, 0].numpy() > 0
    far = chessboard(np.moveaxis(np.indices(touched.shape), 0, -1), np.full(2, len(touched) // 2))
    return np.array([touched[far == distance].mean() for distance in distances])


def train(head: Head, pairs: int, seed: int, steps: int = STEPS) -> nn.Sequential:
    """Trains a head on pictures drawn anew for each step, with the same number of pictures for each distance."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = build(head).to(memory_format=torch.channels_last).train()  # a third faster on a CPU
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, cycle_momentum=False)
    for distances in rng.permutation(np.resize(DISTANCES[pairs], steps * BATCH)).reshape(steps, BATCH):
        pictures = draw(distances, pairs, rng)
        logits = network(pictures.images)  # (B, 2, 33, 33)
        labels = Grid(STRIDE).pick(pictures.labels, logits.shape[2:])
        optimizer.zero_grad()
        F.cross_entropy(logits, labels, ignore_index=VOID).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, pairs: int, discs: int = TEST_DISCS) -> pd.Series:
    """Returns, by distance, the share of test discs whose middle has the right class."""
    rng, found = np.random.default_rng(TEST_SEED), {}
    for distance in DISTANCES[pairs]:
        pictures = draw([distance] * (discs // pairs), pairs, rng)
        rows, columns = np.moveaxis(pictures.discs // STRIDE, -1, 0)
        classes = network(pictures.images).argmax(dim=1).numpy()[np.arange(len(rows))[:, None], rows, columns]
        found[distance] = float((classes == pictures.classes).mean())
    return pd.Series(found, name="accuracy").rename_axis("distance")
