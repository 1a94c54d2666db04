"""Cross-validation in stages, after a course report on DeepLabv3+: the best aggregate of one stage starts the next.

In each stage one network per fold is trained. Of their weights three aggregates are made: the best fold's network, the
mean of all, and the mean of the best three. The best of these, by its mIoU on the val list, is where the next stage's
networks start; loss, augmentation and schedule may change between stages, and the learning rate begins anew.

The val list chooses between aggregates and between stages. What is chosen so is scored too well: the score of a list
that had no say would be lower.
"""

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seglib.data.open import build_dataset, normalisation
from seglib.files import load_tensors, write_atomic, write_json
from seglib.metrics import Scores
from seglib.models.build import build_model
from seglib.predict import evaluate
from seglib.recipe import RECIPES, Recipe, toml_path
from seglib.studies.results import RESULTS
from seglib.train.optim import reestimate_batch_norm
from seglib.train.results import load_result, sources_hash
from seglib.train.trainer import Trainer, training_crops


def mean_weights(state_dicts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the same network's weights from several trainings, key by key, summed in float64.

    Batch norm's running statistics are averaged with them, which is *not* what the mean network would see: estimate
    them again with `reestimate_batch_norm` (Izmailov et al. 2018, sec. 3.2). Integers (counters) are the first's.

    Raises:
        ValueError: no network, or their keys or shapes differ.
    """
    if not state_dicts:
        raise ValueError("mean_weights: expected at least one state dict, found none")
    first = state_dicts[0]
    shapes = {key: value.shape for key, value in first.items()}
    for number, other in enumerate(state_dicts):
        found = {key: value.shape for key, value in other.items()}
        if found != shapes:
            differ = sorted(key for key in {*found, *shapes} if found.get(key) != shapes.get(key))
            raise ValueError(f"mean_weights: network {number} differs from the first in {differ[:3]}")
    return {key: _mean([other[key] for other in state_dicts]) for key in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)


STAGED = RECIPES / "staged"
BATCHES = 40  # over which an aggregate's batch norm is estimated again
BEST = 3  # networks in the smaller of the two means
State = dict[str, Tensor]


@dataclass(frozen=True)
class Staged:
    """A training in stages.

    Args:
        title: what it is.
        stages: name -> recipe without folds, in their order.
        folds: number of networks per stage, at least 3.
        data_root: as of `Trainer`.

    Raises:
        ValueError: fewer than three folds, no stage, or a stage that has folds or a `start_from` itself.
    """

    title: str
    stages: dict[str, Recipe]
    folds: int = 5
    data_root: Path | None = None

    def __post_init__(self) -> None:
        if self.folds < BEST or not self.stages:
            raise ValueError(
                f"staged: {self.folds} folds, {len(self.stages)} stages; expected at least {BEST} folds and a stage"
            )
        for name, recipe in self.stages.items():
            if recipe.folds or recipe.start_from:
                raise ValueError(f"stage {name!r}: folds and start_from are given by the staged training")

    @classmethod
    def load(cls, name: str | Path, data_root: Path | None = None) -> "Staged":
        """Reads a TOML file: a path, or the name of one in `seglib/recipes/staged`.

        It holds `title`, `folds`, `recipe` (the common one's name) and a table `stages` of each one's changes to it.

        Raises:
            FileNotFoundError: no such file. ValueError: what it holds is no staged training; names the file.
        """
        path = toml_path(name, STAGED, "staged training")
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            common = Recipe.load(values.pop("recipe"))
            changes = values.pop("stages")
            stages = {name: Recipe.from_dict({**common.changes(), **change}) for name, change in changes.items()}
            return cls(stages=stages, data_root=data_root, **values)
        except (tomllib.TOMLDecodeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a staged training ({error})") from error

    def run(self, folder: Path, progress: bool = True) -> dict[str, Any]:
        """Trains what is missing in `folder` and returns the result; an interrupted call goes on where it was.

        Returns:
            title, folds, sources and stages. Of each stage: name, recipe; folds (fold, miou and iou per class on the
            val list, fold_miou on the part that was left out, history, class_history, train_seconds); aggregates: name
            -> members (folds), miou, and miou_with_mean_statistics, where batch norm's running statistics are averaged
            too and not estimated again; chosen: the aggregate that the next stage starts from.

        Raises:
            ValueError: `folder` holds a stage of another recipe; as `Trainer`.
        """
        outcome: list[dict[str, Any]] = []
        start = ""
        for number, (name, recipe) in enumerate(self.stages.items(), start=1):
            stage_folder = folder / f"stage{number}"
            recipe = recipe.replace(start_from=start)
            stored = stage_folder / "stage.json"
            if not stored.exists():
                write_json(stored, {"name": name} | self._stage(recipe, folder, stage_folder, progress))
            outcome.append(json.loads(stored.read_text(encoding="utf-8")))
            if outcome[-1]["recipe"] != recipe.changes():
                raise ValueError(f"{stored}: a stage of another recipe; choose another folder")
            start = str((stage_folder / "best.pt").relative_to(folder))
        return {"title": self.title, "folds": self.folds, "sources": sources_hash(), "stages": outcome}

    def _stage(self, recipe: Recipe, folder: Path, stage_folder: Path, progress: bool) -> dict[str, Any]:
        results = [self._train(recipe, fold, folder, stage_folder, progress) for fold in range(self.folds)]
        states = [load_tensors(stage_folder / f"fold{fold}" / "weights.pt") for fold in range(self.folds)]
        aggregates, best = self._aggregate(recipe, states, [result["miou"] for result in results])
        write_atomic(stage_folder / "best.pt", lambda file: torch.save(best, file))
        chosen = max(aggregates, key=lambda aggregate: aggregates[aggregate]["miou"])
        return {"recipe": recipe.changes(), "folds": results, "aggregates": aggregates, "chosen": chosen}

    def _train(self, recipe: Recipe, fold: int, folder: Path, stage_folder: Path, progress: bool) -> dict[str, Any]:
        run_dir = stage_folder / f"fold{fold}"
        recipe = recipe.replace(folds=self.folds, fold=fold)
        places = {"data_root": self.data_root, "weights_root": folder if recipe.start_from else None}
        trainer = Trainer(recipe, run_dir, progress=progress, **places).fit()
        write_atomic(run_dir / "weights.pt", lambda file: torch.save(trainer.model.state_dict(), file))
        result = load_result(run_dir / "result.json")
        left_out = self._score(recipe, trainer.model, "fold")
        kept = {key: result[key] for key in ("history", "class_history", "train_seconds")}
        scores = result["scores"]
        return {"fold": fold, "miou": scores["miou"], "fold_miou": left_out.miou, "iou": scores["iou"], **kept}

    def _aggregate(
        self, recipe: Recipe, states: list[State], mious: list[float]
    ) -> tuple[dict[str, dict[str, float]], State]:
        val = build_dataset(recipe, recipe.val_split, self.data_root)
        model = build_model(recipe.replace(start_from="", weights=""), val.num_classes)
        scored: dict[str, dict[str, float]] = {}
        best: tuple[float, State] = (-1.0, {})
        for name, members in choose_members(mious).items():
            model.load_state_dict(mean_weights([states[member] for member in members]))
            mean = self._score(recipe, model, recipe.val_split).miou
            miou = mean
            if len(members) > 1:  # one network's statistics are its own
                train = build_dataset(recipe, recipe.train_split, self.data_root, train=True)
                reestimate_batch_norm(model, training_crops(recipe, train, BATCHES), normalisation(recipe))
                miou = self._score(recipe, model, recipe.val_split).miou
            scored[name] = {"members": members, "miou": miou, "miou_with_mean_statistics": mean}
            if miou > best[0]:
                best = miou, {key: value.clone() for key, value in model.state_dict().items()}
        return scored, best[1]

    def _score(self, recipe: Recipe, model: nn.Module, split: str) -> Scores:
        dataset = build_dataset(recipe, split, self.data_root)
        return evaluate(
            model,
            dataset,
            normalisation(recipe),
            scales=recipe.eval_scales,
            flip=recipe.eval_flip,
            output_stride=recipe.eval_output_stride,
            window=recipe.eval_window,
        ).compute()


def choose_members(mious: list[float]) -> dict[str, list[int]]:
    """Which networks each of the three aggregates is the mean of, the best first."""
    order = np.argsort([-miou for miou in mious], kind="stable").tolist()
    return {"best fold": order[:1], "mean of all": order, f"mean of the best {BEST}": order[:BEST]}


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.studies.staged NAME --folder runs/NAME` trains what is missing and stores the result."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.studies.staged", description="Train folds in stages; resumes."
    )
    parser.add_argument("name", help="a TOML file, or the name of one in seglib/recipes/staged")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; default: runs/NAME")
    parser.add_argument("--output", type=Path, help="the result; default: data/results/staged/NAME.json")
    parser.add_argument("--data-root", type=Path, help="the data set's folder; default: bundled, or under SEGLIB_DATA")
    options = parser.parse_args(arguments)
    name = Path(options.name).stem
    staged = Staged.load(options.name, options.data_root)
    result = staged.run(options.folder or Path("runs") / name, progress=False)
    output = options.output or RESULTS / "staged" / f"{name}.json"
    write_json(output, result)
    for stage in result["stages"]:
        aggregates = {aggregate: round(values["miou"], 4) for aggregate, values in stage["aggregates"].items()}
        print(stage["name"], [round(fold["miou"], 4) for fold in stage["folds"]], aggregates)
