"""The figure and the explorer of notebook 15: the dilations of public implementations."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.charts import draw_cells
from seglib.course.figures.style import VERMILION, styled
from seglib.zoo.audit import PAPERS, PEERS, Dilations


@styled
def dilation_table(profiles: Mapping[str, Mapping[str, Sequence[int]]], reference: str) -> Figure:
    """A row of cells per network, a cell per 3x3 convolution with its dilation; framed where it is not `reference`'s.

    profiles: network -> group of convolutions ("block 4") -> dilations. Every network has the groups of the reference.
    """
    # 0, which is not drawn, stands between two groups
    table = np.array([[rate for rates in groups.values() for rate in (*rates, 0)][:-1] for groups in profiles.values()])
    texts = [[str(rate) if rate else "" for rate in row] for row in table.tolist()]
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.36 * len(profiles)))
    draw_cells(ax, np.where(table > 0, table, np.nan), texts, "Blues", LogNorm(0.7, 100), 9)
    ax.set_xticks(np.arange(table.shape[1] + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(table) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="both", length=0)
    for row, column in np.argwhere(table != table[list(profiles).index(reference)]):
        place = (column - 0.42, row - 0.4)
        ax.add_patch(Rectangle(place, 0.84, 0.8, fill=False, edgecolor=VERMILION, linewidth=2))
    starts = np.cumsum([0, *(len(rates) + 1 for rates in profiles[reference].values())])
    for group, start in zip(profiles[reference], starts, strict=False):
        ax.text(start - 0.45, -0.6, group, va="bottom", fontsize=10)
    ax.set_yticks(range(len(profiles)), list(profiles))
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2)]
    figure.legend(handles, [f"not as in {reference}"], loc="outside lower right")
    return figure


BY_NAME = {peer.name: peer for peer in PEERS if peer is not PAPERS}


def group_dilations(dilations: Dilations) -> dict[str, tuple[int, ...]]:
    """Dilations as `dilation_table` takes them."""
    return {"block 3": dilations.block3, "block 4": dilations.block4, "ASPP": dilations.atrous_rates}


def show_peer(peer: str, output_stride: int) -> Figure:
    """The dilations of one implementation below the papers'; both of another output stride where it has no such one."""
    own = BY_NAME[peer].dilations
    stride = output_stride if output_stride in own else next(iter(own))
    papers = f"{PAPERS.name}, output stride {stride}"
    name = peer if stride == output_stride else f"{peer}: at {stride} only"
    profiles = {papers: PAPERS.dilations[stride], name: own[stride]}
    return dilation_table({title: group_dilations(profile) for title, profile in profiles.items()}, papers)


def peer_explorer() -> Explorer:
    """Sliders for the implementation and the output stride."""
    return Explorer(
        show_peer,
        "The dilation of every 3x3 convolution in blocks 3 and 4 of a ResNet-50 and in ASPP; framed where the chosen "
        "implementation departs from the papers.",
        peer=slider("implementation", BY_NAME, "torchvision"),
        output_stride=slider("output stride", (8, 16), 8),
    )
