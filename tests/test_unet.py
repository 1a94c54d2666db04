"""U-Net: sizes, what a level concatenates, and the published numbers of channels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seglib.models import UNet


@pytest.mark.parametrize("size", [(64, 64), (97, 97), (75, 50), (17, 1)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int]) -> None:
    model = UNet(5, width=4).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 3, *size)).shape == (2, 5, *size)
        assert model(torch.randn(2, 3, *size), upsample=False).shape == (2, 5, *size)


def test_levels_are_the_papers() -> None:
    with torch.device("meta"):
        model = UNet(2)
    assert model.backbone.channels == (64, 128, 256, 512, 1024)
    assert [(up.in_channels, up.out_channels) for up in model.up] == [(1024, 512), (512, 256), (256, 128), (128, 64)]
    assert [convs[0][0].in_channels for convs in model.expanding] == [1024, 512, 256, 128]
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convs) == 18 and model.output_stride == 16


def test_two_levels_by_hand() -> None:
    """Skip first, then the upsampled map, each level from the map of its own size."""
    model = UNet(3, width=4, depth=2).eval()
    x = torch.randn(1, 3, 12, 20)
    with torch.inference_mode():
        a = model.backbone.levels[0](x)
        b = model.backbone.levels[1](F.max_pool2d(a, 2))
        y = model.backbone.levels[2](F.max_pool2d(b, 2))
        for up, convs, skip in zip(model.up, model.expanding, (b, a), strict=True):
            y = convs(torch.cat((skip, F.conv_transpose2d(y, up.weight, up.bias, stride=2)), 1))
        torch.testing.assert_close(model(x), F.conv2d(y, model.classifier.weight, model.classifier.bias))


def test_every_parameter_learns() -> None:
    model = UNet(4, width=4, depth=3).train()
    F.cross_entropy(model(torch.randn(2, 3, 33, 33)), torch.randint(0, 4, (2, 33, 33))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "weight" in n)


def test_a_pixel_keeps_its_place() -> None:
    """The fine skip alone reaches the output: no shift between the two paths, whatever the size."""
    model = UNet(1, width=4, depth=2).eval()
    images = torch.zeros(2, 3, 37, 37)
    images[1, :, 18, 18] = 5
    with torch.inference_mode():
        change = (model(images)[1] - model(images)[0])[0].abs()
    rows, columns = change.nonzero(as_tuple=True)
    # Receptive field: symmetric about the pixel but for the cell of the poolings.
    assert abs(int(rows.min() + rows.max()) - 36) <= 4 and abs(int(columns.min() + columns.max()) - 36) <= 4


def test_wrong_settings_are_named() -> None:
    for build, message in [
        (lambda: UNet(0), "num_classes = 0"),
        (lambda: UNet(2, width=0), "width = 0"),
        (lambda: UNet(2, width=4, depth=0), "depth = 0"),
        (lambda: UNet(2, width=4, depth=2).set_output_stride(16), r"output_stride = 16; expected one of \(4,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            build()
