"""A first convolution for pictures of another number of channels than three."""

from torch import Tensor, nn


def adapt_kernel(kernel: Tensor, channels: int) -> Tensor:
    """Gives an RGB kernel (N, 3, h, w) other input channels, by the rule of timm's `adapt_input_conv`.

    One channel takes the sum of the three; more take them in turn, times 3 / channels, which keeps responses as large.
    """
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    return kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """Returns the name and the module of the convolution that sees the pictures."""
    return next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def set_in_channels(model: nn.Module, channels: int, trained: bool) -> None:
    """Gives a network other input channels, in place; a trained kernel by `adapt_kernel`, a random one drawn anew."""
    _, conv = first_convolution(model)
    kernel = conv.weight.detach()
    if trained:
        adapted = adapt_kernel(kernel, channels)
    else:  # He's deviation for so many inputs
        size = (kernel.shape[0], channels, *kernel.shape[2:])
        adapted = kernel.new_empty(size).normal_() * kernel.std() * (3 / channels) ** 0.5
    conv.weight, conv.in_channels = nn.Parameter(adapted), channels
