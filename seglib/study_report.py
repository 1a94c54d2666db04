"""A study in words: its table for reading, and its protocol in one line."""

from collections.abc import Sequence

import pandas as pd

from seglib.recipe import Recipe


def readable(table: pd.DataFrame, source: str = "") -> pd.DataFrame:
    """`Study.table` in points of mIoU: "mean ± sd (n)", intervals in brackets.

    source: heads the column of published values; without it there is none.
    """
    lines = pd.DataFrame(index=table.index)
    if source:
        lines[source] = [_points(value) for value in table.paper]
    lines["ours"] = [f"{_points(m)} ± {_points(s)} ({n})" for m, s, n in _lines(table, "mean", "sd", "n")]
    lines.loc[table.n == 1, "ours"] = [f"{_points(m)} (1)" for m in table["mean"][table.n == 1]]
    lines.loc[table.n == 0, "ours"] = "not run"
    if source:
        lines["paper's difference"] = [_points(value, "+") for value in table["paper difference"]]
    lines["our difference [95 %]"] = [
        f"{_points(d, '+')} [{_points(low, '+')}, {_points(high, '+')}]" if high == high else _points(d, "+")
        for d, low, high in _lines(table, "difference", "low", "high")
    ]
    return lines.assign(effect=table.effect, scale=table.scale, remarks=table.remarks, sources=table.sources)


def protocol_of(recipe: Recipe, scale: str, seeds: Sequence[int]) -> str:
    """How a recipe is trained and scored, in one line."""
    r = recipe
    backbone = f"pre-activated {r.backbone}" if r.pre_activation else r.backbone
    if r.stride_unit == "first" and "resnet" in r.backbone:
        backbone += ", strides in the first units"
    windows = f", in windows of {r.eval_window[0]} x {r.eval_window[1]}" if r.eval_window else ""
    scored = f"output stride {r.eval_output_stride or r.output_stride}, scales {', '.join(map(str, r.eval_scales))}"
    return (
        f"{scale} scale: {r.data} {r.train_split}, crop {r.crop_size}, {r.iterations} iterations of "
        f"{r.batch_size}, {r.model} on {backbone} ({r.weights or 'random weights'}), output stride "
        f"{r.output_stride}, {r.optimizer} lr {r.lr}; scored on {r.val_split}, {scored}"
        f"{', mirrored too' if r.eval_flip else ''}{windows}; seeds {', '.join(map(str, seeds))}"
    )


def _lines(table: pd.DataFrame, *columns: str) -> zip:
    return zip(*(table[name] for name in columns), strict=True)


def _points(value: float, sign: str = "") -> str:
    return "" if value != value else f"{100 * value:{sign}.1f}"
