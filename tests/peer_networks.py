"""Two public networks that no package index has, written again from their documented structure, forward pass only.

Facts from VainF/DeepLabV3Plus-Pytorch (network/_deeplab.py, modeling.py, backbone/{resnet,mobilenetv2}.py) and from
jfzhang95/pytorch-deeplab-xception (modeling/{aspp,decoder,deeplab}.py, modeling/backbone/{resnet,mobilenet}.py): which
parameter has which name, which convolution has which stride, dilation and padding, and what is concatenated in
which order. A network here is a table of tensors and a function; it shares nothing with the package under test.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GROUPS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


class Weights(dict[str, Tensor]):
    """Parameters by name, drawn at random when a forward pass first asks for them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, name: str, *shape: int, low: float, high: float) -> Tensor:
        if name not in self:
            self[name] = torch.empty(shape).uniform_(low, high, generator=self.generator)
        return self[name]

    def conv(self, x: Tensor, name: str, out: int, size: int = 1, **how: int) -> Tensor:
        fan = x.shape[1] // how.get("groups", 1) * size**2
        bound = (6 / fan) ** 0.5
        weight = self.draw(
            f"{name}.weight", out, x.shape[1] // how.get("groups", 1), size, size, low=-bound, high=bound
        )
        return F.conv2d(x, weight, **how)

    def norm(self, x: Tensor, name: str) -> Tensor:
        channels = x.shape[1]
        mean = self.draw(f"{name}.running_mean", channels, low=-0.2, high=0.2)
        variance = self.draw(f"{name}.running_var", channels, low=0.5, high=1.5)
        gain = self.draw(f"{name}.weight", channels, low=0.4, high=1.0)
        shift = self.draw(f"{name}.bias", channels, low=-0.3, high=0.3)
        self.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        return F.batch_norm(x, mean, variance, gain, shift)

    def block(self, x: Tensor, conv: str, norm: str, out: int, size: int = 1, **how: int) -> Tensor:
        return F.relu(self.norm(self.conv(x, conv, out, size, **how), norm))

    def logits(self, x: Tensor, name: str, classes: int) -> Tensor:
        return self.conv(x, name, classes) + self.draw(f"{name}.bias", classes, low=-0.1, high=0.1)[:, None, None]


def resnet50(w: Weights, x: Tensor, output_stride: int, multi_grid: bool) -> tuple[Tensor, Tensor]:
    """Blocks of bottlenecks, the stride in the first. `multi_grid`: jfzhang95's dilations, otherwise torchvision's."""
    x = w.block(x, "backbone.conv1", "backbone.bn1", 64, 7, stride=2, padding=3)
    x = F.max_pool2d(x, 3, 2, 1)
    strides = {16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}[output_stride]
    rates = {16: (1, 1, 1, 2), 8: (1, 1, 2, 4)}[output_stride]
    low, before = x, 1
    for block, (units, stride, rate) in enumerate(zip((3, 4, 6, 3), strides, rates, strict=True), start=1):
        width = 32 * 2**block
        for unit in range(units):
            name = f"backbone.layer{block}.{unit}"
            dilation = before if unit == 0 else rate
            if multi_grid:
                dilation = rate * (2**unit if block == 4 else 1)
            step = stride if unit == 0 else 1
            y = w.block(x, f"{name}.conv1", f"{name}.bn1", width)
            y = w.block(y, f"{name}.conv2", f"{name}.bn2", width, 3, stride=step, dilation=dilation, padding=dilation)
            y = w.norm(w.conv(y, f"{name}.conv3", 4 * width), f"{name}.bn3")
            if unit == 0:
                x = w.norm(w.conv(x, f"{name}.downsample.0", 4 * width, stride=step), f"{name}.downsample.1")
            x = F.relu(x + y)
        low, before = (x if block == 1 else low), rate
    return low, x


def mobilenet(w: Weights, x: Tensor, output_stride: int, peer: str) -> tuple[Tensor, Tensor]:
    """Inverted residuals whose input is padded before the expansion; where a removed stride's rate begins differs."""
    prefix = "backbone.low_level_features" if peer == "vainf" else "backbone.features"
    stem_padding = 0 if peer == "vainf" else 1
    x = F.relu6(w.norm(w.conv(x, f"{prefix}.0.0", 32, 3, stride=2, padding=stem_padding), f"{prefix}.0.1"))
    reached, rate, unit, low = 2, 1, 0, x
    for expansion, channels, count, stride in GROUPS:
        first_rate = rate
        if reached == output_stride:
            rate, stride = rate * stride, 1
        reached *= stride
        for index in range(count):
            unit += 1
            prefix = "backbone.features"
            if peer == "vainf":
                prefix = f"backbone.{'low' if unit < 4 else 'high'}_level_features"
                dilation = first_rate if index == 0 else rate
            else:
                dilation = first_rate
            step = stride if index == 0 else 1
            y = inverted_residual(w, x, f"{prefix}.{unit}.conv", peer, expansion, channels, step, dilation)
            x = x + y if step == 1 and x.shape[1] == channels else y
            low = x if unit == 3 else low
    return low, x


def inverted_residual(
    w: Weights, x: Tensor, name: str, peer: str, expansion: int, channels: int, stride: int, dilation: int
) -> Tensor:
    hidden = x.shape[1] * expansion
    if peer == "vainf":
        names = [f"{name}.{place}" for place in ("0.0", "0.1", "1.0", "1.1", "2", "3")]
        names = names if expansion > 1 else ["", "", *(f"{name}.{place}" for place in ("0.0", "0.1", "1", "2"))]
    else:
        names = [f"{name}.{place}" for place in (0, 1, 3, 4, 6, 7)]
        names = names if expansion > 1 else ["", "", *(f"{name}.{place}" for place in (0, 1, 3, 4))]
    y = F.pad(x, [dilation] * 4)
    if expansion > 1:
        y = F.relu6(w.norm(w.conv(y, names[0], hidden), names[1]))
    y = F.relu6(w.norm(w.conv(y, names[2], hidden, 3, stride=stride, dilation=dilation, groups=hidden), names[3]))
    return w.norm(w.conv(y, names[4], channels), names[5])


def vainf(
    w: Weights, images: Tensor, classes: int, output_stride: int, plus: bool, backbone: str, separable: bool = False
) -> Tensor:
    """VainF's networks: align_corners=False, [low, aspp], one 3x3 in the decoder; in v3 one after ASPP."""
    if backbone == "resnet50":
        low, high = resnet50(w, images, output_stride, multi_grid=False)
    else:
        low, high = mobilenet(w, images, output_stride, "vainf")

    def conv3x3(x: Tensor, conv: str, norm: str, rate: int = 1) -> Tensor:
        if not separable:
            return w.block(x, conv, norm, 256, 3, dilation=rate, padding=rate)
        x = w.conv(x, f"{conv}.body.0", x.shape[1], 3, dilation=rate, padding=rate, groups=x.shape[1])
        return w.block(x, f"{conv}.body.1", norm, 256)

    prefix = "classifier.aspp" if plus else "classifier.classifier.0"
    branches = [w.block(high, f"{prefix}.convs.0.0", f"{prefix}.convs.0.1", 256)]
    for branch, rate in enumerate(RATES[output_stride], start=1):
        branches.append(conv3x3(high, f"{prefix}.convs.{branch}.0", f"{prefix}.convs.{branch}.1", rate))
    pooled = w.block(high.mean((2, 3), keepdim=True), f"{prefix}.convs.4.1", f"{prefix}.convs.4.2", 256)
    branches.append(F.interpolate(pooled, high.shape[2:], mode="bilinear", align_corners=False))
    x = w.block(torch.cat(branches, 1), f"{prefix}.project.0", f"{prefix}.project.1", 256)
    if plus:
        low = w.block(low, "classifier.project.0", "classifier.project.1", 48)
        x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=False)
        x = conv3x3(torch.cat([low, x], 1), "classifier.classifier.0", "classifier.classifier.1")
    else:
        x = conv3x3(x, "classifier.classifier.1", "classifier.classifier.2")
    x = w.logits(x, f"classifier.classifier.{3 if plus else 4}", classes)
    return F.interpolate(x, images.shape[2:], mode="bilinear", align_corners=False)


def jfzhang95(w: Weights, images: Tensor, classes: int, output_stride: int, backbone: str) -> Tensor:
    """jfzhang95's network: resizes with align_corners=True, [aspp, low], two 3x3 in the decoder."""
    if backbone == "resnet50":
        low, high = resnet50(w, images, output_stride, multi_grid=True)
    else:
        low, high = mobilenet(w, images, output_stride, "jfzhang95")
    branches = [w.block(high, "aspp.aspp1.atrous_conv", "aspp.aspp1.bn", 256)]
    for branch, rate in enumerate(RATES[output_stride], start=2):
        name = f"aspp.aspp{branch}"
        branches.append(w.block(high, f"{name}.atrous_conv", f"{name}.bn", 256, 3, dilation=rate, padding=rate))
    pooled = w.block(high.mean((2, 3), keepdim=True), "aspp.global_avg_pool.1", "aspp.global_avg_pool.2", 256)
    branches.append(F.interpolate(pooled, high.shape[2:], mode="bilinear", align_corners=True))
    x = w.block(torch.cat(branches, 1), "aspp.conv1", "aspp.bn1", 256)
    low = w.block(low, "decoder.conv1", "decoder.bn1", 48)
    x = torch.cat([F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=True), low], 1)
    x = w.block(x, "decoder.last_conv.0", "decoder.last_conv.1", 256, 3, padding=1)
    x = w.block(x, "decoder.last_conv.4", "decoder.last_conv.5", 256, 3, padding=1)
    x = w.logits(x, "decoder.last_conv.8", classes)
    return F.interpolate(x, images.shape[2:], mode="bilinear", align_corners=True)


def jfzhang95_file(w: Weights) -> dict[str, object]:
    """Its checkpoint. A MobileNetV2's tensors are in it twice, under the whole and under its two slices."""
    twice = {}
    for name, value in w.items():
        if name.startswith("backbone.features."):
            part = "low" if int(name.split(".")[2]) < 4 else "high"
            twice[name.replace("backbone.features", f"backbone.{part}_level_features")] = value
    return {"epoch": 50, "state_dict": {**w, **twice}, "optimizer": {}, "best_pred": 0.7}
