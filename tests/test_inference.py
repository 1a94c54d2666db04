"""Prediction and evaluation against the same sums done by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from seglib.data import SegmentationDataset, ToyVOC
from seglib.data.transforms import IMAGENET, RandomFlip
from seglib.metrics import ConfusionMatrix
from seglib.predict import evaluate, predict, predict_image, save_mask


class Tiny(nn.Module):
    """A model that sees left and right differently, so that a forgotten un-flip shows."""

    def __init__(self, num_classes: int = 9) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, num_classes, (1, 5), padding=(0, 2))
        self.output_stride = 16

    def set_output_stride(self, output_stride: int) -> None:
        self.output_stride = output_stride

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images) * (16 / self.output_stride)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 21, 33), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_single_scale_is_the_softmax(images: Tensor) -> None:
    model = Tiny().eval()
    torch.testing.assert_close(predict(model, images), model(IMAGENET(images)).softmax(1).detach())


def test_flip_and_scales_average_probabilities(images: Tensor) -> None:
    model = Tiny().eval()
    pixels, expected = IMAGENET(images), []
    for scale in (0.5, 1.0, 1.5):
        size = (int(20 * scale) + 1, int(32 * scale) + 1)
        scaled = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        for turn in (lambda x: x, lambda x: torch.flip(x, dims=(3,))):
            logits = F.interpolate(model(turn(scaled)), size=(21, 33), mode="bilinear", align_corners=False)
            expected.append(turn(logits.softmax(1)))
    result = predict(model, images, scales=(0.5, 1.0, 1.5), flip=True)
    torch.testing.assert_close(result, torch.stack(expected).mean(0).detach())
    torch.testing.assert_close(result.sum(1), torch.ones(2, 21, 33))
    assert not torch.allclose(result, predict(model, images), atol=1e-3)


def test_flip_of_a_symmetric_image_is_symmetric(images: Tensor) -> None:
    both = torch.maximum(images, images.flip(-1))
    result = predict(Tiny().eval(), both, flip=True)
    torch.testing.assert_close(result, result.flip(-1))


def test_no_scale_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="scales is empty"):
        predict(Tiny().eval(), images, scales=())


class Few(SegmentationDataset):
    """Six toy images of several sizes, the last one void but for one pixel."""

    def __init__(self) -> None:
        whole = ToyVOC("val")
        super().__init__(whole.files[:6], whole.classes, whole.palette)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = super().read(index)
        if index == 5:
            label = np.full_like(label, 255)
            label[0, 0] = 3
        return image, label


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_evaluation_is_one_matrix_over_all_images(batch_size: int) -> None:
    data, model = Few(), Tiny()
    matrix = np.zeros((9, 9), dtype=np.int64)
    model.eval()
    for index in range(6):
        image, label = data.read(index)
        prediction = predict_image(model, image)
        valid = label != 255
        np.add.at(matrix, (label[valid], prediction[valid]), 1)
    result = evaluate(model.train(), data, batch_size=batch_size)
    assert np.array_equal(np.asarray(result.matrix), matrix)
    assert model.training
    with np.errstate(invalid="ignore"):
        iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    assert result.compute().miou == pytest.approx(np.nanmean(iou))


def test_trimap_counts_the_pixels_near_void() -> None:
    data, model = Few(), Tiny().eval()
    bands = {1: ConfusionMatrix(9), 3: ConfusionMatrix(9)}
    whole = evaluate(model, data, trimap=bands)
    assert torch.equal(whole.matrix, evaluate(model, data).matrix)
    expected = {1: 0, 3: 0}
    for index in range(6):
        _, label = data.read(index)
        rows, columns = np.nonzero(label == 255)
        for width in expected:
            near = np.zeros_like(label, dtype=bool)
            for row, column in zip(rows, columns, strict=True):
                near[max(row - width, 0) : row + width + 1, max(column - width, 0) : column + width + 1] = True
            expected[width] += int((near & (label != 255)).sum())
    assert {width: int(band.matrix.sum()) for width, band in bands.items()} == expected


def test_output_stride_is_set_for_the_evaluation_and_put_back() -> None:
    seen = []

    class Spy(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(self.output_stride)
            return super().forward(images)

    model = Spy()
    evaluate(model, Few(), output_stride=8)
    assert set(seen) == {8} and model.output_stride == 16


def test_augmented_data_are_not_scored() -> None:
    data = Few()
    data.transform = RandomFlip()
    with pytest.raises(ValueError, match="has a transform"):
        evaluate(Tiny(), data)


def test_masks_are_palette_pngs_of_indices(tmp_path: Path) -> None:
    data = ToyVOC("val")
    label = data.read(0)[1]
    save_mask(tmp_path / "mask.png", label, data.palette)
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), label)
        assert np.array_equal(np.asarray(mask.convert("RGB")), data.palette[label])


class Pooled(Tiny):
    """Sees the whole image, as image pooling does, so that what lies around it shows."""

    def forward(self, images: Tensor) -> Tensor:
        colour = images.abs().mean((1, 2, 3), keepdim=True)
        return super().forward(images) + colour * torch.arange(9).view(1, 9, 1, 1)


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 1.0), True)])
def test_padding_is_the_mean_colour_at_the_bottom_and_right(
    images: Tensor, scales: tuple[float, ...], flip: bool
) -> None:
    model = Pooled().eval()
    square = torch.tensor(IMAGENET.mean).mul(255).round().to(torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 41, 41)
    square[..., :21, :33] = images
    expected = predict(model, square, scales=scales, flip=flip)[..., :21, :33]
    result = predict(model, images, scales=scales, flip=flip, pad_to=41)
    assert result.shape == (2, 9, 21, 33)
    # the mean is no whole number of grey levels, so the square of bytes is up to half a level off
    torch.testing.assert_close(result, expected, atol=0.02, rtol=0)
    assert not torch.allclose(result, predict(model, images, scales=scales, flip=flip), atol=0.05)
    with pytest.raises(ValueError, match="pad_to = 32; expected at least the image's larger side, found 21 x 33"):
        predict(model, images, pad_to=32)


def test_evaluation_pads_too() -> None:
    data, model = Few(), Pooled().eval()
    matrix = ConfusionMatrix(9)
    for index in range(6):
        image, label = data.read(index)
        prediction = predict_image(model, image, pad_to=200)
        matrix.update(torch.from_numpy(label), torch.from_numpy(prediction))
    padded = evaluate(model, data, pad_to=200).matrix
    assert torch.equal(torch.as_tensor(padded), torch.as_tensor(matrix.matrix))
    assert not torch.equal(torch.as_tensor(padded), torch.as_tensor(evaluate(model, data).matrix))
