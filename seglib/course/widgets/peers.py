"""The peer explorer: an implementation and an output stride -> its dilations under the papers'."""

from __future__ import annotations

from functools import cache

from seglib.course.figures.profiles import dilation_table
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import Explorer, explorer, slider
from seglib.zoo.audit import PAPERS, PEERS, Dilations

BY_NAME = {peer.name: peer for peer in PEERS if peer is not PAPERS}
OUTPUT_STRIDES = (8, 16)  # from the default on


@cache
def peers_picture(peer: str = "torchvision", output_stride: int = 8) -> bytes:
    """A PNG of the dilations of one implementation below the papers', or of the papers' alone where it has none.

    Raises:
        KeyError: no such implementation, or no such output stride.
    """
    own = BY_NAME[peer].dilations
    profiles = {f"{PAPERS.name}, output stride {output_stride}": groups(PAPERS.dilations[output_stride])}
    reference = next(iter(profiles))
    if output_stride in own:
        profiles[peer] = groups(own[output_stride])
    else:
        profiles[f"{peer}: at {next(iter(own))} only"] = groups(own[next(iter(own))])
    return png(dilation_table(profiles, reference), alt=f"Dilations of {peer} at output stride {output_stride}.").data


def groups(dilations: Dilations) -> dict[str, tuple[int, ...]]:
    """Dilations as `dilation_table` takes them."""
    return {"block 3": dilations.block3, "block 4": dilations.block4, "ASPP": dilations.atrous_rates}


def peer_explorer() -> Explorer:
    """Sliders for the implementation and the output stride above the picture they redraw."""
    return explorer(
        peers_picture,
        "The dilation of every 3x3 convolution in blocks 3 and 4 of a ResNet-50 and in ASPP; framed where the chosen "
        "implementation departs from the papers.",
        peer=slider("implementation", BY_NAME, "torchvision"),
        output_stride=slider("output stride", OUTPUT_STRIDES, 8),
    )
