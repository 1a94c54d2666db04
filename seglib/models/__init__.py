"""Networks: backbones, FCN, ASPP, DeepLabv3 and DeepLabv3+, U-Net, loading of public weights, and their cost."""

from seglib.models.aspp import ASPP, HeadVariant
from seglib.models.blocks import AtrousStep, Features, atrous_plan
from seglib.models.checkpoints import load_checkpoint, load_imagenet_weights
from seglib.models.cost import mult_adds, multi_scale_mult_adds, parameter_count
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus
from seglib.models.fcn import FCN, BilinearUpsampling, bilinear_kernel
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import ResNet
from seglib.models.unet import UNet
from seglib.models.vgg import VGG16, convolutional_vgg16, load_vgg16_weights
from seglib.models.xception import Xception

__all__ = [
    "ASPP",
    "FCN",
    "VGG16",
    "AtrousStep",
    "BilinearUpsampling",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Features",
    "HeadVariant",
    "MobileNetV2",
    "ResNet",
    "UNet",
    "Xception",
    "atrous_plan",
    "bilinear_kernel",
    "convolutional_vgg16",
    "load_checkpoint",
    "load_imagenet_weights",
    "load_vgg16_weights",
    "mult_adds",
    "multi_scale_mult_adds",
    "parameter_count",
]
