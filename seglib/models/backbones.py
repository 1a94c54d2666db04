"""Backbones by name."""

from typing import Any

from seglib.models.layers import Backbone, check_choice
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import UNITS, ResNet
from seglib.models.vgg import VGG16
from seglib.models.xception import MIDDLE_UNITS, Xception  # depth -> units in its middle

RESNETS = {f"resnet{depth}": depth for depth in UNITS}
XCEPTIONS = {f"xception{depth}": depth for depth in MIDDLE_UNITS}


def build_backbone(name: str, output_stride: int = 16, width: int = 64, **resnet: Any) -> Backbone:
    """Makes a backbone.

    Args:
        name: "resnet18" to "resnet152", "mobilenet_v2", "xception41", "xception65", "xception71" or "vgg16".
        output_stride: 8, 16 or 32; VGG16 has only 32.
        width: channels of the first block of a ResNet or VGG16.
        resnet: further arguments of `ResNet`, which others leave aside: they have no multi-grid, stem or stride unit.

    Raises:
        ValueError: if there is no such backbone, or it does not have the output stride or cascaded blocks.
    """
    if name in RESNETS:
        return ResNet(RESNETS[name], output_stride, width=width, **resnet)
    if resnet.get("cascade_blocks"):
        raise ValueError(f"cascade_blocks: only a ResNet has a block 4 to copy, not {name!r}")
    if resnet.get("stem_stride", 4) != 4:
        raise ValueError(f"stem_stride: only a ResNet has a choice, not {name!r}")
    if name == "mobilenet_v2":
        return MobileNetV2(output_stride)
    if name in XCEPTIONS:
        return Xception(XCEPTIONS[name], output_stride)
    check_choice("backbone", name, [*RESNETS, "mobilenet_v2", *XCEPTIONS, "vgg16"])
    check_choice("vgg16's output_stride", output_stride, (VGG16.output_stride,))
    return VGG16(width)
