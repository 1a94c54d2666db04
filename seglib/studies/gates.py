"""Gates: the conditions under which a small study can show what the same table of the papers shows.

"field": the backbone's theoretical field up to block 4, without multi-grid, in crops.
"side taps": of each 3x3 convolution from block 4 on, ASPP's too, the share of a training map's positions at which the
middle tap of a side of the kernel lies on the map. Where none does, the convolution is a 1x1 one (v3, section 3.3).
"reach": of the pixels that only the ground tells apart, the layers from block 4 on reach the ground of more than those
of the base row do, if they reach farther at all.
"headroom": the row with the least context confuses what only the surroundings tell apart.
"steps": more steps gain less than the table's rows do.
"seeds": few seeds are enough to tell the table's largest difference from chance.

The first two compare a row with the same row of the paper, the third with the base row. They need no run. The others
speak of the whole table, but "steps" and "seeds" only of trainings: they leave out the rows that score the base row's
weights in another way. The first four concern only tables that ask for context: where all rows see equally far, it does
not matter how much of a crop that is.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from torch import nn

from seglib.data.open import build_dataset
from seglib.models.backbones import build_backbone
from seglib.models.deeplab import DeepLabV3
from seglib.models.fields import Layer, backbone_layers, theoretical_field
from seglib.models.layers import Backbone
from seglib.recipe import Recipe
from seglib.studies.files import read_files, read_study
from seglib.studies.report import LEVEL, NAN, Effect, seeds_needed

LARGEST_FIELD = 1.5  # times the paper's
TAPS, TAPS_APART = (0.8, 1.25), 0.02  # times the paper's share, or so far from it
HEADROOM = 0.15  # share of a pair's pixels
WIDENED = 2 * HEADROOM  # share of the pairs' pixels: of those whose ground nobody reaches, half are confused
PLANNED_SEEDS = 5  # of a row, at most
# Classes of the painted scenes that only differ in what is around them.
PAIRS = (("kite", "fish"), ("boat", "tent"))
OF_PAIRS = tuple(name for pair in PAIRS for name in pair)
PAINTED = ("toy_voc", "toy_mini")
GROUNDS = ("grass", "sand", "water")  # what tells them apart, where it has classes: in toy_mini
# The papers' own network (v3+ Table 3 counts its Mult-Adds); torchvision's weights ask for other stems and strides.
PAPERS_NETWORK = {"weights": "", "stem": "3x3", "stride_unit": "last"}
TWICE = "twice the steps"  # the base row, trained for twice as long
# The settings on which a `Geometry` depends: those of the backbone's modules, and those that change modules in place.
BACKBONE = ("backbone", "stem", "stem_stride", "stride_unit", "pre_activation", "cascade_blocks")
SHAPING = (*BACKBONE, "crop_size", "multi_grid", "aspp", "output_stride", "atrous_rates", "image_pooling")
CONTEXT = ("multi_grid", "aspp", "atrous_rates", "image_pooling", "cascade_blocks", "crop_size")
CASCADE = ("layer5", "layer6", "layer7")
LATE = (*(f"backbone.{block}." for block in ("layer4", *CASCADE)), "aspp.atrous.")


class Gated(Protocol):
    """The part of a `Study` that gates look at."""

    title: str
    rows: dict[str, Recipe]
    base: str
    published: Mapping[str, float]

    def values(self, row: str, measure: Callable[[dict[str, Any]], float | None] | None = None) -> dict[int, float]: ...

    def spread(self) -> tuple[float, int]: ...


class Taps(NamedTuple):
    """A 3x3 convolution on a training map."""

    place: str  # "layer4.2", "atrous.0"
    rate: int
    share: float  # of the map's positions at which a side tap lies on the map


class Geometry(NamedTuple):
    """A recipe's network on its training crop."""

    field: float  # of the backbone up to block 4, without multi-grid, in crops
    context: float  # pixels that a value of the last map sees, image pooling included
    reach: float  # pixels to the farthest that layers from block 4 on bring to a value; inf with image pooling
    taps: tuple[Taps, ...]


class Line(NamedTuple):
    """A line of `check_gates`."""

    row: str
    gate: str
    value: float = math.nan
    paper: float = math.nan
    limit: str = ""
    outcome: str = "not measured"  # or "passed", "failed"
    reason: str = ""  # what was found, in words


def check_gates(study: Gated) -> pd.DataFrame:
    """Compares each row that the papers have with the same row there, and judges the table itself.

    Columns: row, gate, value (ours), paper (the paper's, nan where there is none), limit, outcome ("passed", "failed"
    or "not measured") and reason. A study of no published table has no line.
    """
    lines, asks = [], asks_for_context(study)
    papers = _read_papers_rows().get(study.title, {})
    for row, recipe in papers.items():
        if asks and row in study.rows:
            ours, theirs = measure_geometry(study.rows[row]), measure_geometry(recipe.replace(**PAPERS_NETWORK))
            lines += [_check_field(row, ours, theirs), check_taps(row, ours, theirs)]
    if papers and study.base in study.published:
        if study.rows[study.base].data in PAINTED and _contexts_differ(study):
            lines += [*_check_reach(study), _check_headroom(study)]
        lines += [_check_steps(study), _check_seeds(study)]
    return pd.DataFrame(lines, columns=Line._fields)


def asks_for_context(study: Gated) -> bool:
    """Tells whether the rows differ in how far they see, or stack blocks on maps that can be smaller than a kernel."""
    return _contexts_differ(study) or any(recipe.cascade_blocks for recipe in study.rows.values())


def _contexts_differ(study: Gated) -> bool:
    return len({tuple(getattr(recipe, name) for name in CONTEXT) for recipe in study.rows.values()}) > 1


def cannot_show(study: Gated) -> dict[str, str]:
    """Returns row -> reason for rows that fail a gate, or for all that the paper has where the whole table does.

    A control has no effect of the paper's to show, and the base row has none at all. "steps"
    and "seeds" compare trainings. They say nothing of rows that score the base row's weights in another way.
    """
    reasons: dict[str, list[str]] = {}
    for line in check_gates(study).query("outcome == 'failed'").itertuples():
        rows = [line.row]
        if line.gate == "headroom":
            rows = [*study.published]
        elif line.gate in ("steps", "seeds"):
            trained = study.rows[study.base].training_name
            rows = [row for row in study.published if study.rows[row].training_name != trained]
        for row in rows:
            reasons.setdefault(row, []).append(line.reason)
    return {row: "; ".join(found) for row, found in reasons.items() if row != study.base}


def measure_geometry(recipe: Recipe) -> Geometry:
    """Reads a recipe's `Geometry` from the modules of its network, which has no weights and is not run."""
    # A decoder changes none of them.
    return _measure(Recipe(model="deeplabv3", **{name: getattr(recipe, name) for name in SHAPING}))


@cache
def _measure(recipe: Recipe) -> Geometry:
    backbone, own_grid = _build_backbone(*(getattr(recipe, name) for name in BACKBONE))
    backbone.multi_grid = (1,) * len(own_grid)
    backbone.set_output_stride(recipe.output_stride)
    field = theoretical_field(_find_layers(backbone, lambda name: name not in CASCADE)).size
    backbone.multi_grid = recipe.multi_grid or own_grid
    backbone.set_output_stride(recipe.output_stride)
    network = DeepLabV3(2, backbone, None, recipe.atrous_rates, recipe.image_pooling, channels=8, aspp=recipe.aspp)
    aspp, branches = network.aspp, []
    if aspp is not None:
        branches = [Layer(3, 1, max(aspp.atrous_rates, default=1))]
    seen = theoretical_field([*backbone_layers(backbone), *branches]).size
    late = theoretical_field([*_find_layers(backbone, _is_late), *branches]).size
    reach = late // 2 * theoretical_field(_find_layers(backbone, lambda name: not _is_late(name))).stride
    taps = tuple(find_taps(network, recipe.crop_size))
    if aspp is not None and aspp.pool is not None:
        return Geometry(field / recipe.crop_size, recipe.crop_size, math.inf, taps)
    return Geometry(field / recipe.crop_size, min(seen, recipe.crop_size), reach, taps)


def _is_late(block: str) -> bool:
    return f"backbone.{block}." in LATE


def _find_layers(backbone: nn.Module, is_part: Callable[[str], bool]) -> list[Layer]:
    return backbone_layers(nn.ModuleList(block for name, block in backbone.named_children() if is_part(name)))


@cache
def _build_backbone(name: str, *settings: Any) -> tuple[Backbone, tuple[int, ...]]:
    """Builds a backbone once for all output strides and multi-grids; returns it with the multi-grid that it has."""
    # Narrow, because channels change nothing here.
    backbone = build_backbone(name, width=4, **dict(zip(BACKBONE[1:], settings, strict=True)))
    return backbone, getattr(backbone, "multi_grid", ())


def find_taps(network: nn.Module, side: int) -> list[Taps]:
    """Lists the 3x3 convolutions of a DeepLab in block 4 and those after it, and in ASPP, on images of a side.

    All layers are padded so that a map's side is divided by their strides, and by nothing else.
    """
    found: list[Taps] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d) and "downsample" not in name:
            stride = module.stride if isinstance(module, nn.MaxPool2d) else module.stride[0]
            if module.kernel_size == (3, 3) and name.startswith(LATE):
                place, rate = ".".join(name.split(".")[1:3]), module.dilation[0]
                found.append(Taps(place, rate, side_tap_share(side, rate, stride)))
            side = (side - 1) // stride + 1
    return found


def side_tap_share(side: int, rate: int, stride: int = 1) -> float:
    """The share of the positions on a map at which a side tap of a 3x3 kernel, its middle one, lies on the map.

    Args:
        side: of the map, in values.
        rate: of the convolution, which is padded by as much.
        stride: between positions.
    """
    centres = range(0, side, stride)
    return sum((centre >= rate) + (centre + rate < side) for centre in centres) / (2 * len(centres))


def check_taps(row: str, ours: Geometry, theirs: Geometry) -> Line:
    """Compares side taps unit by unit; the line tells of the unit that differs most, first of those that fail."""
    limit = f"{TAPS[0]} to {TAPS[1]} times, or within {TAPS_APART}"
    papers = {taps.place: taps for taps in theirs.taps}  # one per unit: its blocks are bottlenecks
    pairs = [(taps, papers[taps.place]) for taps in ours.taps if taps.place in papers]
    if not pairs:
        return Line(row, "side taps", limit=limit, reason="no convolution that the paper's network has too")
    own, other = max(
        pairs, key=lambda pair: (not _meet_alike(*pair), abs(pair[0].share - pair[1].share), -pair[1].share)
    )
    reason = (
        f"side taps of {own.place} (rate {own.rate}) meet the map at {own.share:.0%} of the positions, "
        f"in the paper (rate {other.rate}) at {other.share:.0%}"
    )
    return Line(row, "side taps", own.share, other.share, limit, _word(_meet_alike(own, other)), reason)


def pair_confusion(result: Mapping[str, Any], pair: tuple[str, str]) -> float | None:
    """Of the pixels of two classes that are called one of the two, the share that is called the other; None of none."""
    indices = [result["classes"].index(name) for name in pair]
    counts = np.array(result["confusion"])[np.ix_(indices, indices)]
    return float(1 - np.trace(counts) / counts.sum()) if counts.sum() else None


@cache
def _read_papers_rows() -> dict[str, dict[str, Recipe]]:
    """Reads the package's studies of published tables at the papers' scale: title -> row -> recipe."""
    files = {path: file for path, file in read_files().items() if file.table[0] and "paper" in file.scales}
    return {file.title: read_study(path, "paper")["rows"] for path, file in files.items()}


def _check_field(row: str, ours: Geometry, theirs: Geometry) -> Line:
    reason = f"the backbone sees {ours.field:.1f} crops, the paper's {theirs.field:.1f}"
    passed = ours.field <= LARGEST_FIELD * theirs.field
    return Line(row, "field", ours.field, theirs.field, f"at most {LARGEST_FIELD} times", _word(passed), reason)


def _meet_alike(ours: Taps, theirs: Taps) -> bool:
    in_proportion = TAPS[0] * theirs.share <= ours.share <= TAPS[1] * theirs.share
    return in_proportion or abs(ours.share - theirs.share) <= TAPS_APART


@cache
def measure_ground_distances(data: str, names: tuple[str, ...] = OF_PAIRS) -> np.ndarray:
    """Measures how far each pixel of some classes in the val pictures of a bundled set lies from the nearest ground.

    In pixels, as a square kernel counts: the larger of the distances down and across. Empty if grounds have no class.
    """
    from scipy.ndimage import distance_transform_cdt  # here, because it takes time to import

    scenes = build_dataset(Recipe(data=data), "val")
    if not {*GROUNDS} <= {*scenes.classes}:
        return np.empty(0, np.int32)
    grounds = [scenes.classes.index(name) for name in GROUNDS]
    things = [scenes.classes.index(name) for name in names]
    labels = (scenes.read(index)[1] for index in range(len(scenes)))
    return np.concatenate(
        [distance_transform_cdt(~np.isin(label, grounds), "chessboard")[np.isin(label, things)] for label in labels]
    )


def measure_share_reached(recipe: Recipe, names: tuple[str, ...] = OF_PAIRS) -> float:
    """Measures the share of the classes' pixels whose ground the layers from block 4 on, or image pooling, reach."""
    return float(np.mean(measure_ground_distances(recipe.data, names) <= measure_geometry(recipe).reach))


def _check_reach(study: Gated) -> list[Line]:
    """Compares the rows that the paper has with the base row, if they reach farther and grounds have classes."""
    base, lines = study.rows[study.base], []
    for row, recipe in study.rows.items():
        farther = measure_geometry(recipe).reach > measure_geometry(base).reach
        if row in study.published and farther and measure_ground_distances(recipe.data).size:
            before, after = measure_share_reached(base), measure_share_reached(recipe)
            reason = f"it reaches the ground of {after:.0%} of the pairs' pixels, the base row of {before:.0%}"
            outcome = _word(after - before >= WIDENED)
            lines.append(Line(row, "reach", after - before, math.nan, f"at least {WIDENED}", outcome, reason))
    return lines


def _check_headroom(study: Gated) -> Line:
    compared = [row for row in study.rows if row in study.published]
    row = min(compared, key=lambda row: (measure_geometry(study.rows[row]).context, row != study.base))
    limit, found = f"at least {HEADROOM}", []
    for pair in PAIRS:
        if values := study.values(row, lambda result, pair=pair: pair_confusion(result, pair)):
            found.append((float(np.mean([*values.values()])), "/".join(pair)))
    if not found:
        return Line(row, "headroom", limit=limit, reason=f"row {row!r} was not run")
    reason = (
        f"{row!r}, with the least context, confuses {' and '.join(f'{share:.0%} of {pair}' for share, pair in found)}"
    )
    value = max(found)[0]
    return Line(row, "headroom", value, limit=limit, outcome=_word(value >= HEADROOM), reason=reason)


def add_twice_the_steps(study: Gated) -> Gated:
    """Returns the study with a row `TWICE`, which the gate "steps" compares with the base row.

    Raises ValueError if the study has a row of that name.
    """
    if TWICE in study.rows:
        raise ValueError(f"row {TWICE!r} is the base row trained for twice as long: give the study's own another name")
    base = study.rows[study.base]
    return dataclasses.replace(study, rows={**study.rows, TWICE: base.replace(iterations=2 * base.iterations)})


def _check_steps(study: Gated) -> Line:
    largest = _largest_difference(study)
    limit = f"less than {largest:.3f}"
    once, twice = study.values(study.base), add_twice_the_steps(study).values(TWICE)
    gains = [twice[seed] - once[seed] for seed in sorted({*once} & {*twice})]
    if not gains:
        return Line(study.base, "steps", limit=limit, reason="the base row was not run with twice the steps")
    gain = float(np.mean(gains))
    reason = f"twice the steps gain {100 * gain:.1f} points, the table's largest difference is {100 * largest:.1f}"
    return Line(study.base, "steps", gain, largest, limit, _word(gain < largest), reason)


def _check_seeds(study: Gated) -> Line:
    """Plans with the least standard deviation that the stored runs allow, so that a table fails only where it is clear.

    The lower end of its 95 % interval is that of a normal sample's.
    """
    from scipy.stats import chi2  # here, because it takes time to import

    limit, (sd, freedom) = f"at most {PLANNED_SEEDS}", study.spread()
    if not freedom:
        return Line(study.base, "seeds", limit=limit, reason="no training like the base row was run with several seeds")
    largest, least = _largest_difference(study), sd * math.sqrt(freedom / float(chi2.ppf((1 + LEVEL) / 2, freedom)))
    needed = seeds_needed(Effect(0, NAN, (least, least), NAN, NAN), largest)
    reason = (
        f"the table's largest difference, {100 * largest:.1f} points, would take {needed:.0f} seeds a row: runs like "
        f"the base row have a standard deviation of at least {100 * least:.1f} points"
    )
    return Line(study.base, "seeds", needed, limit=limit, outcome=_word(needed <= PLANNED_SEEDS), reason=reason)


def _largest_difference(study: Gated) -> float:
    return max(abs(value - study.published[study.base]) for value in study.published.values())


def _word(passed: bool) -> str:
    return "passed" if passed else "failed"
