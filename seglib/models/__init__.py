"""Networks: backbones, ASPP, DeepLabv3 and DeepLabv3+, loading of public weights, and their cost."""

from seglib.models.aspp import ASPP, HeadVariant
from seglib.models.blocks import AtrousStep, Features, atrous_plan
from seglib.models.checkpoints import load_checkpoint, load_imagenet_weights
from seglib.models.cost import mult_adds, multi_scale_mult_adds, parameter_count
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import ResNet

__all__ = [
    "ASPP",
    "AtrousStep",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Features",
    "HeadVariant",
    "MobileNetV2",
    "ResNet",
    "atrous_plan",
    "load_checkpoint",
    "load_imagenet_weights",
    "mult_adds",
    "multi_scale_mult_adds",
    "parameter_count",
]
