"""U-Net: what a level concatenates, and the published numbers of channels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seglib.models import UNet


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


def test_wrong_settings_are_named() -> None:
    for build, message in [
        (lambda: UNet(0), "num_classes = 0"),
        (lambda: UNet(2, width=0), "width = 0"),
        (lambda: UNet(2, width=4, depth=0), "depth = 0"),
        (lambda: UNet(2, width=4, depth=2).set_output_stride(16), r"output_stride = 16; expected one of \(4,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            build()
