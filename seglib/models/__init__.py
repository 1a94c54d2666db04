"""Networks: backbones, FCN, ASPP, DeepLabv3 and DeepLabv3+, U-Net, and their weights."""

from seglib.models.build import build_model
from seglib.models.deeplab import ASPP, DeepLabV3, DeepLabV3Plus, HeadVariant
from seglib.models.fcn import FCN, BilinearUpsampling, bilinear_kernel
from seglib.models.layers import AtrousStep, Features, atrous_plan
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import ResNet
from seglib.models.unet import UNet
from seglib.models.vgg import VGG16, convolutional_vgg16
from seglib.models.weights import load_imagenet_weights
from seglib.models.xception import Xception

__all__ = [
    "ASPP", "FCN", "VGG16", "AtrousStep", "BilinearUpsampling", "DeepLabV3", "DeepLabV3Plus", "Features",
    "HeadVariant", "MobileNetV2", "ResNet", "UNet", "Xception", "atrous_plan", "bilinear_kernel", "build_model",
    "convolutional_vgg16", "load_imagenet_weights",
]  # fmt: skip
