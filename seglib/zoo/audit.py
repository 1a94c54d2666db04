"""What a network called DeepLab really is: read off a live model, or as documented where none can be installed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from seglib.models.deeplab import DeepLabV3
from seglib.models.layers import set_atrous

IN_BLOCK = {block: re.compile(rf"(^|\.)layer{block}\.") for block in (3, 4)}
IN_ASPP = re.compile(r"(^|\.)(convs|aspp\.atrous)\.\d+\.")
PROBE_SIDE = 128
UNITS = (6, 3)  # of blocks 3 and 4 of a ResNet-50


@dataclass(frozen=True)
class Dilations:
    """Of every 3x3 convolution in blocks 3 and 4, in order, and of ASPP's branches."""

    block3: tuple[int, ...]
    block4: tuple[int, ...]
    atrous_rates: tuple[int, ...]


@dataclass(frozen=True)
class Audit:
    """What `audit` finds in a live model.

    Attributes:
        output_stride: side of the input over side of the map that ASPP sees.
        dilations: of its 3x3 convolutions; the blocks are empty if it is no ResNet.
        align_corners: of its bilinear resizes; None if they differ.
        decoder_inputs: channels that a decoder concatenates, in order; () without one.
    """

    output_stride: int
    dilations: Dilations
    align_corners: bool | None
    decoder_inputs: tuple[int, ...]


def audit(model: nn.Module) -> Audit:
    """Reads rates, stride, align_corners and the decoder's order off a model of torchvision, smp or this package.

    The model is run once on the meta device: nothing is computed, nothing is changed.

    Raises:
        ValueError: it has no ASPP.
    """
    convs = {
        name: conv for name, conv in model.named_modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)
    }
    blocks = [tuple(conv.dilation[0] for name, conv in convs.items() if IN_BLOCK[b].search(name)) for b in (3, 4)]
    aspp = [conv for name, conv in convs.items() if IN_ASPP.search(name)]
    if not aspp:
        raise ValueError(f"{type(model).__name__}: expected a DeepLab, found no atrous branches of an ASPP")
    seen: list[int] = []
    handle = aspp[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    state = {name: torch.empty_like(value, device="meta") for name, value in model.state_dict().items()}
    try:
        with _Recorder() as recorder:
            functional_call(model, state, torch.empty(2, 3, PROBE_SIDE, PROBE_SIDE, device="meta"))
    finally:
        handle.remove()
    corners = set(recorder.align_corners)
    return Audit(
        output_stride=PROBE_SIDE // seen[0],
        dilations=Dilations(*blocks, tuple(conv.dilation[0] for conv in aspp)),
        align_corners=corners.pop() if len(corners) == 1 else None,
        decoder_inputs=next((channels for channels in recorder.concatenated if len(channels) == 2), ()),
    )


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
        ValueError: another number of units or of rates.
    """
    for block, rates in ((model.backbone.layer3, dilations.block3), (model.backbone.layer4, dilations.block4)):
        if len(block) != len(rates):
            raise ValueError(f"dilations {rates}; expected {len(block)}, one per unit of the block")
        for unit, rate in zip(block, rates, strict=True):
            set_atrous(unit.conv2, stride=unit.conv2.stride[0], rate=rate)
    model.aspp.set_rates(dilations.atrous_rates)


@dataclass(frozen=True)
class Peer:
    """A published implementation, with a ResNet-50 or 101, as its own files have it.

    Attributes:
        name: of the project, with the configuration where there are several.
        dilations: by output stride, those that it offers; for a ResNet-50, of which a ResNet-101 repeats block 3.
        multi_grid: factors of block 4; None without.
        decoder_depth: 3x3 convolutions in the decoder of v3+; 0 if there is none.
        decoder_order: what it concatenates first, "aspp_first" or "low_first"; None without a decoder.
        aspp_order: where image pooling stands in the concatenation, "pool_last" or "pool_first".
        align_corners: of its resizes; None where it depends on the version of torch.
        evidence: "executed": instantiated and read; "read": from its files.
        source: which version, and where in it.
        note: what else departs from the papers' network.
    """

    name: str
    dilations: Mapping[int, Dilations]
    multi_grid: tuple[int, ...] | None
    decoder_depth: int
    decoder_order: str | None
    aspp_order: str
    align_corners: bool | None
    evidence: str
    source: str
    note: str = field(default="", kw_only=True)

    def follows_the_papers(self, output_stride: int) -> bool | None:
        """Whether every dilation is the papers'; None if it does not offer this output stride."""
        if output_stride not in self.dilations:
            return None
        return self.dilations[output_stride] == PAPERS.dilations[output_stride]


def _dilations(block3: tuple[int, int], block4: tuple[int, int, int], rates: tuple[int, int, int]) -> Dilations:
    """`block3`: its first unit's rate, and that of the others."""
    first, others = block3
    return Dilations((first, *(others,) * (UNITS[0] - 1)), block4, rates)


SINGLE, DOUBLE = (6, 12, 18), (12, 24, 36)
MULTI_GRID = {16: _dilations((1, 1), (2, 4, 8), SINGLE), 8: _dilations((2, 2), (4, 8, 16), DOUBLE)}
FIRST_KEEPS_16 = _dilations((1, 1), (1, 2, 2), SINGLE)
FIRST_KEEPS_8 = _dilations((1, 2), (2, 4, 4), DOUBLE)

PAPERS = Peer(
    "the papers",
    MULTI_GRID,
    (1, 2, 4),
    2,
    "aspp_first",
    "pool_first",
    True,
    "read",
    "DeepLabv3 section 3 and Table 5; concatenation and resizing from the authors' model.py",
)
PEERS = (
    PAPERS,
    Peer(
        "torchvision",
        {8: FIRST_KEEPS_8},
        None,
        0,
        None,
        "pool_last",
        False,
        "executed",
        "0.29, deeplabv3_resnet50 and 101",
        note="a 3x3 convolution behind ASPP; ASPP dropout 0.5; an auxiliary classifier",
    ),
    Peer(
        "segmentation_models.pytorch",
        {16: _dilations((1, 1), (2, 2, 2), DOUBLE), 8: _dilations((2, 2), (4, 4, 4), DOUBLE)},
        None,
        1,
        "aspp_first",
        "pool_last",
        True,
        "executed",
        "0.5.1 and 0.6.0, DeepLabV3 and DeepLabV3Plus",
        note="a 3x3 convolution behind ASPP; no batch norm inside separable convolutions; ASPP dropout 0.5",
    ),
    Peer(
        "VainF/DeepLabV3Plus-Pytorch",
        {16: FIRST_KEEPS_16, 8: FIRST_KEEPS_8},
        None,
        1,
        "low_first",
        "pool_last",
        False,
        "executed",
        "4e1087de, network/_deeplab.py and backbone/resnet.py",
        note="a 3x3 convolution behind ASPP in DeepLabv3",
    ),
    Peer(
        "jfzhang95/pytorch-deeplab-xception",
        MULTI_GRID,
        (1, 2, 4),
        2,
        "aspp_first",
        "pool_last",
        True,
        "executed",
        "9135e104, modeling/backbone/resnet.py and aspp.py",
        note="dropout 0.5 in ASPP, 0.5 and 0.1 in the decoder",
    ),
    Peer(
        "kazuto1011/deeplab-pytorch",
        MULTI_GRID,
        (1, 2, 4),
        2,
        "aspp_first",
        "pool_last",
        False,
        "executed",
        "4219467f, libs/models/deeplabv3plus.py; its README calls v3 and v3+ not tested",
        note="multi-grid and rates are arguments; these are its example's",
    ),
    Peer(
        "mmsegmentation D8",
        {8: FIRST_KEEPS_8},
        None,
        2,
        "aspp_first",
        "pool_first",
        False,
        "read",
        "1.2.2, the D8 configurations: contract_dilation=True",
        note="512 channels; a 3x3 convolution projects ASPP's output",
    ),
    Peer(
        "mmsegmentation D16-MG124",
        {16: _dilations((1, 1), (1, 2, 4), SINGLE)},
        (1, 2, 4),
        2,
        "aspp_first",
        "pool_first",
        False,
        "read",
        "1.2.2, utils/res_layer.py takes multi_grid for the dilations themselves",
        note="512 channels; a 3x3 convolution projects ASPP's output",
    ),
    Peer(
        "detectron2 DeepLab",
        {16: MULTI_GRID[16]},
        (1, 2, 4),
        2,
        "low_first",
        "pool_last",
        False,
        "read",
        "02b5c4e2, projects/DeepLab/deeplab/resnet.py and layers/aspp.py",
        note="image pooling without batch norm",
    ),
    Peer(
        "sthalles/deeplab_v3",
        {16: MULTI_GRID[16]},
        (1, 2, 4),
        0,
        None,
        "pool_first",
        False,
        "read",
        "c74c0f0d, network.py",
        note="no ReLU in ASPP; the rates are 6, 12, 18 at every output stride",
    ),
    Peer(
        "fregu856/deeplabv3",
        {16: _dilations((1, 1), (2, 2, 2), SINGLE)},
        None,
        0,
        None,
        "pool_last",
        None,
        "read",
        "415d983e, resnet.py and aspp.py",
        note="output stride 8 with ResNet-18 and 34 only, at rates 6, 12, 18 all the same",
    ),
)
