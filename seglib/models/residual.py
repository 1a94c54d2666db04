"""Residual units, basic and bottleneck (arXiv 1512.03385), and both with full pre-activation (arXiv 1603.05027)."""

from torch import Tensor, nn

from seglib.models.blocks import AtrousStep, set_atrous


class ResidualUnit(nn.Module):
    """What all kinds of unit share: the shortcut. (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.nominal_stride = self.stride = stride
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        """Applies a step of the plan in place; `grid` is the unit's multi-grid factor."""
        self.stride = step.stride
        if self.downsample is not None:
            set_atrous(self.downsample[0], step.stride)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(x)
        # TF-slim strides an unchanged shortcut by taking every stride-th pixel.
        return x[..., :: self.stride, :: self.stride] if self.stride > 1 else x

    def drop_norm_of_shortcut(self) -> None:
        """A pre-activation unit's 1x1 shortcut sees activated values and is added as it is."""
        if self.downsample is not None:
            self.downsample = nn.Sequential(self.downsample[0])


class BasicUnit(ResidualUnit):
    """Two 3x3 convolutions; the stride sits in the first (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        super().set_atrous(step, grid)
        set_atrous(self.conv1, step.stride, step.rate * grid)
        # conv2 comes behind the stride, so where the stride is removed it already needs the next rate.
        set_atrous(self.conv2, 1, step.next_rate * grid)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class BottleneckUnit(ResidualUnit):
    """1x1, 3x3, 1x1; the stride sits in the 3x3 (ResNet-50, 101 and 152)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels * self.expansion, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        super().set_atrous(step, grid)
        set_atrous(self.conv2, step.stride, step.rate * grid)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.conv3(y)  # a line of its own: y of the line before would stay in memory during the norm
        y = self.bn3(y)
        y += self.shortcut(x)
        return self.relu(y)


class PreActivationBasicUnit(BasicUnit):
    """BasicUnit with batch norm and ReLU in front of each convolution; nothing follows the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.drop_norm_of_shortcut()

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(self.relu(self.bn2(y)))
        y += self.shortcut(activated if self.downsample is not None else x)
        return y


class PreActivationBottleneckUnit(BottleneckUnit):
    """BottleneckUnit with batch norm and ReLU in front of each convolution; nothing follows the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.bn3 = nn.BatchNorm2d(channels)
        self.drop_norm_of_shortcut()

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        y += self.shortcut(activated if self.downsample is not None else x)
        return y


Unit = type[BasicUnit] | type[BottleneckUnit]
PRE_ACTIVATION: dict[Unit, Unit] = {
    BasicUnit: PreActivationBasicUnit,
    BottleneckUnit: PreActivationBottleneckUnit,
}
