"""Small networks of every kind, networks without weights, and random batch norm."""

from collections.abc import Callable

import torch
from torch import nn

from seglib.models import FCN, VGG16, DeepLabV3, DeepLabV3Plus, MobileNetV2, ResNet, UNet, Xception

CLASSES = 5
# By name: how it is built, and the stride of its logits.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "deeplabv3plus": (lambda: DeepLabV3Plus(CLASSES, ResNet(18, width=8), channels=16), 4),
    "deeplabv3": (lambda: DeepLabV3(CLASSES, ResNet(18, width=8), channels=16), 16),
    "cascade": (lambda: DeepLabV3(CLASSES, ResNet(18, width=8, cascade_blocks=2)), 16),
    "pre-activation": (lambda: DeepLabV3(CLASSES, ResNet(18, 8, width=8, pre_activation=True), channels=16), 8),
    "mobilenet_v2": (lambda: DeepLabV3Plus(CLASSES, MobileNetV2(16, 0.25), channels=16), 4),
    "xception": (lambda: DeepLabV3Plus(CLASSES, Xception(41, 16, 0.05), channels=16), 4),
    "fcn32s": (lambda: FCN(CLASSES, ResNet(18, 32, width=8), 32), 32),
    "fcn16s of vgg16": (lambda: FCN(CLASSES, VGG16(width=4), 16), 16),
    "fcn8s": (lambda: FCN(CLASSES, ResNet(18, 32, width=8), 8), 8),
    "fcn8s of vgg16": (lambda: FCN(CLASSES, VGG16(width=4), 8), 8),
    "unet": (lambda: UNet(CLASSES, width=4, depth=3), 1),
}


def meta(build: Callable[..., nn.Module], *arguments: object, **settings: object) -> nn.Module:
    """Builds a network whose layers can be looked at, without the memory and the time of its weights."""
    with torch.device("meta"):
        return build(*arguments, **settings)


def rates(network: nn.Module, prefix: str = "") -> list[int]:
    """Lists the dilations of the 3x3 convolutions whose names have the prefix."""
    return [dilation for name, _, dilation in network.dilations() if name.startswith(prefix)]


def strided(network: nn.Module) -> list[str]:
    """Lists the names of the 3x3 convolutions with a stride of 2."""
    return [name for name, stride, _ in network.dilations() if stride == 2]


def randomise_norms(model: nn.Module) -> nn.Module:
    """Draws scale, shift and statistics of every batch norm, and an FCN's scores, which are zero: all layers matter."""
    for score in getattr(model, "scores", ()):
        nn.init.normal_(score.weight)
        nn.init.normal_(score.bias)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.5)
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return model
