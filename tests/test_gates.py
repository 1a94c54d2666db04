"""Gates: taps counted by a convolution, the papers' own networks, and made-up results."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F

from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.studies import gates
from seglib.studies.gates import TWICE, cannot_show, check_gates
from seglib.studies.study import Study

BASE = "(1, 1, 1), rates 6, 12, 18"
CLASSES = ["background", "house", "tree", "boat", "tent", "kite", "fish", "fence", "lamp"]


@pytest.mark.parametrize(("side", "rate", "stride"), [(33, 18, 1), (7, 8, 1), (5, 2, 1), (9, 1, 2), (8, 1, 2)])
def test_side_taps_by_convolution(side: int, rate: int, stride: int) -> None:
    kernels = torch.zeros(4, 1, 3, 3)
    kernels[range(4), 0, (0, 1, 1, 2), (1, 0, 2, 1)] = 1
    met = F.conv2d(torch.ones(1, 1, side, side), kernels, stride=stride, padding=rate, dilation=rate)
    assert gates.side_tap_share(side, rate, stride) == pytest.approx(float(met.mean()))


@pytest.mark.parametrize("changes", [{}, {"stride_unit": "first"}, {"cascade_blocks": 2, "output_stride": 64}])
def test_taps_are_those_of_a_forward_pass(changes: dict[str, Any]) -> None:
    recipe, found = Recipe(model="deeplabv3", backbone="resnet50", width=4, crop_size=65, **changes), []
    network = build_model(recipe, 2).eval()
    for name, module in network.named_modules():
        if name.startswith(gates.LATE) and getattr(module, "kernel_size", 1) == (3, 3):
            module.register_forward_pre_hook(lambda conv, x: found.append((conv, x[0].shape[-1])))
    network(torch.zeros(1, 3, 65, 65))
    taps = [(c.dilation[0], gates.side_tap_share(side, c.dilation[0], c.stride[0])) for c, side in found]
    assert [tap[1:] for tap in gates.measure_geometry(recipe).taps] == taps and len(taps) >= 6


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"), [((0.9, 0.1), (1.0, 0.14), "failed"), ((0.0, 0.8), (0.019, 1.0), "passed")]
)
def test_one_unit_is_enough_to_fail(ours: tuple[float, ...], theirs: tuple[float, ...], outcome: str) -> None:
    taps = (tuple(gates.Taps(str(i), 1, share) for i, share in enumerate(of)) for of in (ours, theirs))
    assert gates.check_taps("row", *(gates.Geometry(1, 1, 1, each) for each in taps)).outcome == outcome


@pytest.mark.parametrize("changes", [{}, {"multi_grid": (1, 2, 1), "cascade_blocks": 1, "aspp": False}])
def test_reach_is_that_of_a_gradient(changes: dict[str, Any]) -> None:
    recipe = Recipe.load("toy_mini").replace(weights="", width=4, channels=8, image_pooling=False, **changes)
    network = build_model(recipe, 2).eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    image = torch.rand(1, 3, 401, 401)
    blocks = [block for name, block in network.backbone.named_children() if name in ("layer4", *gates.CASCADE)]
    with torch.no_grad():
        maps = network.backbone.layer3(network.backbone.layer2(network.backbone.layer1(network.backbone.stem(image))))
    maps.requires_grad_()
    value = torch.nn.Sequential(*blocks, *([network.aspp] if recipe.aspp else []))(maps)[0].sum(dim=0)
    side = len(value) // 2
    (gradient,) = torch.autograd.grad(value[side, side], maps)
    seen = gradient[0].abs().sum(dim=(0, 1)).nonzero()
    cell = (401 - 1) // (maps.shape[-1] - 1)
    assert int(seen.max() - seen.min()) * cell // 2 == gates.measure_geometry(recipe).reach


def test_rows_that_reach_no_farther_into_the_ground_cannot_show_their_gain() -> None:
    found = check_gates(Made.load("multi_grid", "mini")).query("gate == 'reach'").set_index("row")
    assert found.index[found.outcome == "failed"].tolist() == ["(1, 2, 1), block 4"]
    rows = [f"({grid}), block 4" for grid in ("1, 2, 1", "2, 2, 2", "1, 2, 4")]
    assert found.value[rows].is_monotonic_increasing and len(found) == 19
    assert "reaches the ground of 0% of the pairs' pixels" in cannot_show(Made.load("multi_grid", "mini"))[rows[0]]
    assert not {"reach"} & {*check_gates(Made.load("training_protocol", "mini")).gate}  # all rows pool
    of_pairs = [gates.measure_ground_distances("toy_mini", pair) for pair in gates.PAIRS]
    assert sum(map(len, of_pairs)) == len(gates.measure_ground_distances("toy_mini"))
    recipe = Study.load("multi_grid", "mini").rows["(1, 2, 3), block 4"]
    shares = [gates.measure_share_reached(recipe, pair) for pair in gates.PAIRS]
    assert min(shares) < gates.measure_share_reached(recipe) < max(shares)
    assert [*cannot_show(Made.load("aspp", "mini"))] == [row for row in Study.load("aspp", "mini").published][1:]


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_the_last_row_of_table_5_is_the_base_row_of_table_8(scale: str) -> None:
    aspp, protocol = (Study.load(name, scale) for name in ("aspp", "training_protocol"))
    assert aspp.rows[[*aspp.published][-1]] == protocol.rows[protocol.base]


def test_the_papers_network_passes_against_itself() -> None:
    study = Study.load("aspp", "paper")
    study.rows = {row: recipe.replace(**gates.PAPERS_NETWORK) for row, recipe in study.rows.items()}
    found = check_gates(study).set_index(["gate", "row"])
    field = found.loc[("field", BASE)]
    assert field.value == field.paper == 1031 / 513  # TF-slim's 1027 (Araujo et al. 2019); three 3x3 in the stem add 4
    taps = found.loc["side taps"].loc[[*study.published]]
    assert (taps.value == taps.paper).all() and (taps.outcome == "passed").all()
    assert taps.value.tolist() == pytest.approx([15 / 33, 15 / 33, 15 / 33, 9 / 33, 15 / 33])  # of the largest rate
    assert cannot_show(study) == {}


def test_a_map_of_7_fails_and_says_why() -> None:
    study = Made.load("aspp", "mini")
    toy = Recipe.load("toy_ablation").replace(eval_window=(97, 97))
    rates = {6: 2, 12: 4, 18: 6, 24: 8}  # a third
    study.rows = {
        row: toy.replace(
            multi_grid=recipe.multi_grid or (1, 2, 4),  # the papers', which the network has if nothing is said
            image_pooling=recipe.image_pooling,
            atrous_rates=tuple(rates[rate] for rate in recipe.atrous_rates or (6, 12, 18)),
        )
        for row, recipe in study.rows.items()
    }
    reasons = cannot_show(study)
    assert [*reasons] == [*study.rows][1:], "the base row has no effect to show"
    assert "the backbone sees 10.4 crops, the paper's 2.0" in reasons["(1, 2, 1), rates 6, 12, 18"]
    found = "; ".join(check_gates(study).query("row == @BASE and outcome == 'failed'")["reason"])
    assert "atrous.2 (rate 6) meet the map at 14% of the positions, in the paper (rate 18) at 45%" in found
    assert BASE not in cannot_show(Made.load("aspp", "mini"))


@pytest.mark.parametrize("name", ["multi_grid", "output_stride", "training_protocol", "scoring_cascade"])
def test_small_strides_keep_the_papers_taps(name: str) -> None:
    found = check_gates(Made.load(name, "mini")).set_index("gate")
    taps = found.loc["side taps"]
    assert len(taps) == len(Study.load(name, "paper").rows) and (taps.value == taps.paper).all()
    assert (found.loc["field"].outcome == "passed").all()


@pytest.mark.parametrize("name", ["batch_size", "decoder_strides", "output_stride_scoring"])
def test_a_table_that_does_not_ask_for_context_is_not_held_to_it(name: str) -> None:
    study = Made.load(name, "gpu")
    assert not gates.asks_for_context(study) and cannot_show(study) == {}
    assert check_gates(study).gate.tolist() == ["steps", "seeds"]
    study.rows = {row: recipe.replace(crop_size=65 + 16 * i) for i, (row, recipe) in enumerate(study.rows.items())}
    assert gates.asks_for_context(study) and {*check_gates(study).gate} == {"field", "side taps", "steps", "seeds"}


class Made(Study):
    """A study with made-up results: row -> those of seeds 0, 1 and so on."""

    made: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    made_spread: ClassVar[tuple[float, int]] = (math.nan, 0)

    def spread(self) -> tuple[float, int]:
        return self.made_spread

    def values(self, row: str, measure: Callable[[dict[str, Any]], float | None] | None = None) -> dict[int, float]:
        measure = measure or (lambda result: result["miou"])
        return {seed: measure(result) for seed, result in enumerate(self.made.get(row, []))}


def result(miou: float, swapped: int) -> dict[str, Any]:
    """Of 100 kites `swapped` are called fish, of 100 fish none a kite; boats and tents are told apart."""
    confusion = torch.diag(torch.full((9,), 100))
    confusion[5, 5] -= swapped
    confusion[5, 6], confusion[5, 0] = swapped, 700
    return {"miou": miou, "classes": CLASSES, "confusion": confusion.tolist()}


@pytest.mark.parametrize(("swapped", "gain", "failed"), [(30, 99, []), (28, 99, ["headroom"]), (30, 100, ["steps"])])
def test_gates_of_results(swapped: int, gain: int, failed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest difference of v3 Table 8 is 77.21 - 67.22 = 9.99."""
    base, small = "crop 513", [result(0.3, swapped), result(0.4, swapped)]
    once, twice = [result(0.4, 0), result(0.5, 0)], [result(0.4 + gain / 1000, 0)]
    monkeypatch.setattr(Made, "made", {base: once, "crop 321": small, TWICE: twice})
    study = Made.load("training_protocol", "mini")
    found = check_gates(study)
    assert found.value[found.gate == "headroom"].item() == pytest.approx(swapped / 200)
    assert found.gate[found.outcome == "failed"].tolist() == failed
    assert len(study.published) < len(study.rows)  # a control has no effect of the paper's to show
    assert [*cannot_show(study)] == ([row for row in study.published if row != base] if failed else [])


def test_too_few_steps_do_not_concern_ways_of_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = [result(0.4, 0)], [result(0.5, 0)]
    monkeypatch.setattr(Made, "made", {"train 16, score 16": once, TWICE: twice})
    blind = cannot_show(Made.load("output_stride_scoring", "toy"))
    assert "train 32, score 16" in blind and not {"train 16, score 16", "train 16, score 8"} & {*blind}


def test_too_few_seeds_are_known_by_the_spread_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Cohen's tables 5 runs a row find 2.02 standard deviations in four of five studies, and 4 do not."""
    study = Made.load("output_stride_scoring", "toy")
    largest = max(abs(value - study.published[study.base]) for value in study.published.values())
    # of 8 degrees of freedom the lower end of the interval is sqrt(8 / 17.535) of the standard deviation
    for sd, outcome in ((largest / 2.04, "passed"), (largest / 2.0, "failed")):
        monkeypatch.setattr(Made, "made_spread", (sd / math.sqrt(8 / 17.535), 8))
        line = check_gates(study).set_index("gate").loc["seeds"]
        assert line.outcome == outcome and line.value == 5 + (outcome == "failed")
    blind = cannot_show(study)
    assert "train 32, score 16" in blind and not {"train 16, score 16", "train 16, score 8"} & {*blind}
