"""The explorer of notebook 15: an implementation and an output stride -> its dilations under the papers'."""

from matplotlib.figure import Figure

from seglib.course.figures.what_others_build import dilation_table
from seglib.course.widgets.explorer import Explorer, slider
from seglib.zoo.audit import PAPERS, PEERS, Dilations

BY_NAME = {peer.name: peer for peer in PEERS if peer is not PAPERS}


def group_dilations(dilations: Dilations) -> dict[str, tuple[int, ...]]:
    """Dilations as `dilation_table` takes them."""
    return {"block 3": dilations.block3, "block 4": dilations.block4, "ASPP": dilations.atrous_rates}


def show_peer(peer: str, output_stride: int) -> Figure:
    """The dilations of one implementation below the papers', of another output stride where it has no such one."""
    own = BY_NAME[peer].dilations
    papers = f"{PAPERS.name}, output stride {output_stride}"
    stride = output_stride if output_stride in own else next(iter(own))
    name = peer if stride == output_stride else f"{peer}: at {stride} only"
    profiles = {papers: PAPERS.dilations[output_stride], name: own[stride]}
    return dilation_table({title: group_dilations(profile) for title, profile in profiles.items()}, papers)


def peer_explorer() -> Explorer:
    """Sliders for the implementation and the output stride above the figure they redraw."""
    return Explorer(
        show_peer,
        "The dilation of every 3x3 convolution in blocks 3 and 4 of a ResNet-50 and in ASPP; framed where the chosen "
        "implementation departs from the papers.",
        peer=slider("implementation", BY_NAME, "torchvision"),
        output_stride=slider("output stride", (8, 16), 8),
    )
