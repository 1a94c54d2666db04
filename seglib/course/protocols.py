"""One network under several protocols: the part of a score that is due to the way it was taken (notebook 07)."""

import numpy as np
from torch import nn

from seglib.data import SegmentationDataset
from seglib.data.transforms import IMAGENET, Normalisation, Squash
from seglib.metrics import ConfusionMatrix
from seglib.predict import predict_image

FULL, HALF, CENTRE = "full resolution", "half resolution", "centre crop"
IMAGE_MEAN, VOID_COUNTED = "mean over frames", "void counted"


def miou_by_protocol(
    model: nn.Module, dataset: SegmentationDataset, normalisation: Normalisation = IMAGENET
) -> dict[str, float]:
    """mIoU in 0..1 of a model in evaluation mode under five protocols; only the first is Cityscapes' own.

    "full resolution": whole frames, scored at the labels' size, one matrix over the set, void left out. Each of the
    others changes one thing. "half resolution": frame and label are halved first. "centre crop": of each frame only the
    square in its middle is predicted and scored. "mean over frames": the mean of the frames' own mIoU. "void counted":
    a class predicted where the label is void counts as a wrong prediction of that class.
    """
    k = dataset.num_classes
    matrices = {name: ConfusionMatrix(k, dataset.ignore_index) for name in (FULL, HALF, CENTRE)}
    with_void = ConfusionMatrix(k + 1, ignore_index=None)
    frame_means = []
    for index in range(len(dataset)):
        image, label = dataset.read(index)
        prediction = predict_image(model, image, normalisation)
        matrices[FULL].update(label, prediction)
        with_void.update(np.where(label == dataset.ignore_index, k, label), prediction)
        of_frame = ConfusionMatrix(k, dataset.ignore_index)
        of_frame.update(label, prediction)
        frame_means.append(of_frame.compute().miou)
        for name, part in ((HALF, halve(image, label)), (CENTRE, cut_centre(image, label))):
            matrices[name].update(part[1], predict_image(model, part[0], normalisation))
    scores = {name: matrix.compute().miou for name, matrix in matrices.items()}
    scores[IMAGE_MEAN] = float(np.nanmean(frame_means))  # a frame that is void throughout has no mean
    return scores | {VOID_COUNTED: float(np.nanmean(with_void.compute().iou[:k]))}


def halve(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both at half height and width, (H, W, 3) and (H, W) uint8; the label by nearest neighbour."""
    return Squash((label.shape[0] // 2, label.shape[1] // 2))(image, label)


def cut_centre(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square in the middle of both whose side is the shorter one of (H, W)."""
    height, width = label.shape
    side = min(height, width)
    window = (slice((height - side) // 2, (height + side) // 2), slice((width - side) // 2, (width + side) // 2))
    return image[window], label[window]
