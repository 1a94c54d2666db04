"""The true structure of a network called DeepLab: read off a live model, or documented in `peers.toml`."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from seglib.models.deeplab import DeepLabV3
from seglib.models.layers import conv3x3_dilations, set_atrous

IN_ASPP = re.compile(r"(^|\.)(convs|aspp\.atrous)\.\d+\.")
PROBE_SIDE = 128  # segmentation_models.pytorch takes multiples of the output stride only


@dataclass(frozen=True)
class Dilations:
    """The dilations of every 3x3 convolution in blocks 3 and 4, in order, and of ASPP's branches."""

    block3: tuple[int, ...]
    block4: tuple[int, ...]
    atrous_rates: tuple[int, ...]


@dataclass(frozen=True)
class Audit:
    """The findings of `audit` in a live model."""

    output_stride: int  # nominal, of the map that ASPP sees; see `nominal_stride`
    dilations: Dilations  # the blocks are empty if it is no ResNet
    # Of its bilinear resizes, as torch's functions are called; None if they differ, or if maps are sampled where their
    # values lie, at pixel / stride: that is align_corners=True at sides of k * stride + 1, and neither elsewhere.
    align_corners: bool | None
    decoder_inputs: tuple[int, ...]  # channels that a decoder concatenates, in order; () without one


def audit(model: nn.Module) -> Audit:
    """Reads rates, stride, align_corners and the decoder's order off a model of torchvision, smp or this package.

    The model is run once on the meta device: nothing is computed, nothing is changed.

    Raises:
        ValueError: if it has no ASPP.
    """
    rates = {name: rate for name, _, rate in conv3x3_dilations(model)}
    layers = (".layer3.", ".layer4.")
    block3, block4 = (tuple(rate for name, rate in rates.items() if layer in f".{name}") for layer in layers)
    aspp = [name for name in rates if IN_ASPP.search(name)]
    if not aspp:
        raise ValueError(f"{type(model).__name__}: expected a DeepLab, found no atrous branches of an ASPP")
    seen: list[int] = []
    hook = model.get_submodule(aspp[0]).register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    state = {name: torch.empty_like(value, device="meta") for name, value in model.state_dict().items()}
    with hook, _Recorder() as recorder:
        functional_call(model, state, torch.empty(2, 3, PROBE_SIDE, PROBE_SIDE, device="meta"))
    aligned = isinstance(model, DeepLabV3) and model.variant.resize == "aligned"
    corners = set() if aligned else set(recorder.align_corners)
    return Audit(
        output_stride=nominal_stride(model, PROBE_SIDE // seen[0]),
        dilations=Dilations(block3, block4, tuple(rates[name] for name in aspp)),
        align_corners=corners.pop() if len(corners) == 1 else None,
        decoder_inputs=next((channels for channels in recorder.concatenated if len(channels) == 2), ()),
    )


def nominal_stride(model: nn.Module, stride: int) -> int:
    """Returns the output stride as recipes name it: the real one, or four times that after a stem of stride 1."""
    return stride * 4 // getattr(getattr(model, "backbone", None), "stem_stride", 4)


class _Recorder(TorchFunctionMode):
    """Notes how torch's resize and concatenation are called while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.align_corners: list[bool] = []
        self.concatenated: list[tuple[int, ...]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.interpolate and args[0].shape[-1] > 1:  # a single pixel has no corners to align
            self.align_corners.append(bool(kwargs.get("align_corners")))
        if func is torch.cat:
            tensors: list[Tensor] = args[0] if args else kwargs["tensors"]
            self.concatenated.append(tuple(tensor.shape[1] for tensor in tensors))
        return func(*args, **kwargs)


def set_dilations(model: DeepLabV3, dilations: Dilations) -> None:
    """Gives a network on a ResNet of bottlenecks the dilations of another, in place; strides and weights stay.

    Raises:
        ValueError: if the number of units or of rates is another.
    """
    for block, rates in ((model.backbone.layer3, dilations.block3), (model.backbone.layer4, dilations.block4)):
        if len(block) != len(rates):
            raise ValueError(f"dilations {rates}; expected {len(block)}, one per unit of the block")
        for unit, rate in zip(block, rates, strict=True):
            set_atrous(unit.conv2, stride=unit.conv2.stride[0], rate=rate)
    model.aspp.set_rates(dilations.atrous_rates)


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published implementation, with a ResNet-50 or 101, as its own files have it."""

    name: str  # of the project, with the configuration where there are several
    dilations: dict[int, Dilations]  # by output stride; of a ResNet-50, of which a ResNet-101 repeats block 3
    multi_grid: tuple[int, ...] | None = None  # factors of block 4; None without
    decoder_depth: int = 0  # 3x3 convolutions in the decoder of v3+; 0 if there is none
    decoder_order: Literal["aspp_first", "low_first"] | None = None  # what its concatenation begins with
    aspp_order: Literal["pool_last", "pool_first"]  # place of image pooling in ASPP's concatenation
    align_corners: bool | None = None  # of its resizes; None where it depends on the version of torch
    evidence: Literal["executed", "read"]  # instantiated, and its modules read; or read from its files
    source: str  # the version, and the places in it
    note: str = ""  # further departures from the papers' network

    def follows_the_papers(self, output_stride: int) -> bool | None:
        """Tells if every dilation is the papers'; None if it does not offer this output stride."""
        own = self.dilations.get(output_stride)
        return None if own is None else own == PAPERS.dilations[output_stride]


_TABLE = tomllib.loads(Path(__file__).with_name("peers.toml").read_text(encoding="utf-8"))
PEERS = msgspec.convert(_TABLE["peer"], tuple[Peer, ...], str_keys=True)
PAPERS = PEERS[0]
