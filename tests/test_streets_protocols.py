"""One network under five protocols, each against a computation of its own."""

import numpy as np
import pytest
import torch
from torch import nn

from seglib.course.protocols import CENTRE, FULL, HALF, IMAGE_MEAN, VOID_COUNTED, cut_centre, halve, miou_by_protocol
from seglib.data import SegmentationDataset

K = 3


class ByColour(nn.Module):
    """Class = the brightest of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels * self.weight


class Frames(SegmentationDataset):
    def __init__(self, frames: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.frames = frames
        self.transform, self.ignore_index, self.classes = None, 255, ("a", "b", "c")

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.frames[index]


def frames() -> Frames:
    """Two frames of 8 x 20 and 6 x 16: coloured noise in blocks, labels that agree with it in part, some void."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in ((8, 20), (6, 16)):
        blocks = rng.integers(0, K, (height // 2, width // 2)).repeat(2, axis=0).repeat(2, axis=1)
        image = np.where(blocks[..., None] == np.arange(3), 220, 20).astype(np.uint8)
        label = np.where(rng.random((height, width)) < 0.7, blocks, rng.integers(0, K, (height, width)))
        label = np.where(rng.random((height, width)) < 0.15, 255, label).astype(np.uint8)
        found.append((image, label))
    return Frames(found)


def predicted(image: np.ndarray) -> np.ndarray:
    """The answer of `ByColour`: the normalisation differs by channel, but 220 against 20 outweighs that."""
    return image.argmax(axis=2)


def brute_force(pairs: list[tuple[np.ndarray, np.ndarray]], void_is_wrong: bool = False) -> float:
    """mIoU from sets of pixels of all pairs together."""
    label = np.concatenate([label.ravel() for label, _ in pairs])
    found = np.concatenate([found.ravel() for _, found in pairs])
    if not void_is_wrong:
        label, found = label[label != 255], found[label != 255]
    ious = []
    for k in range(K):
        union = ((label == k) | (found == k)).sum()
        if union:
            ious.append(((label == k) & (found == k)).sum() / union)
    return float(np.mean(ious))


def test_each_protocol_is_what_it_says() -> None:
    dataset, model = frames(), ByColour().eval()
    scores = miou_by_protocol(model, dataset)
    whole = [(label, predicted(image)) for image, label in dataset.frames]
    small = [halve(*frame) for frame in dataset.frames]
    middle = [(image[:, 6:14], label[:, 6:14]) for image, label in dataset.frames[:1]]
    middle += [(image[:, 5:11], label[:, 5:11]) for image, label in dataset.frames[1:]]
    expected = {FULL: brute_force(whole), VOID_COUNTED: brute_force(whole, void_is_wrong=True)}
    expected[HALF] = brute_force([(label, predicted(image)) for image, label in small])
    expected[CENTRE] = brute_force([(label, predicted(image)) for image, label in middle])
    expected[IMAGE_MEAN] = np.mean([brute_force([pair]) for pair in whole])
    assert scores == pytest.approx(expected)
    assert len({round(score, 6) for score in scores.values()}) == 5, "the case tells all five apart"
    assert scores[VOID_COUNTED] < scores[FULL]


def test_parts_of_a_frame() -> None:
    image, label = frames().frames[0]
    upright = cut_centre(image.transpose(1, 0, 2), label.T)
    assert np.array_equal(upright[1], label[:, 6:14].T)
    small, small_label = halve(image, label)
    assert small.shape == (4, 10, 3) and small_label.shape == (4, 10)
    assert set(np.unique(small_label)) <= set(np.unique(label)), "labels are never interpolated"


def test_a_frame_of_nothing_but_void_changes_no_mean() -> None:
    dataset, model = frames(), ByColour().eval()
    before = miou_by_protocol(model, dataset)
    image, label = dataset.frames[0]
    after = miou_by_protocol(model, Frames([*dataset.frames, (image, np.full_like(label, 255))]))
    for name in (FULL, HALF, CENTRE, IMAGE_MEAN):
        assert after[name] == pytest.approx(before[name])
    assert after[VOID_COUNTED] < before[VOID_COUNTED]
