"""Cross-validation in stages, after a course report on DeepLabv3+: the best aggregate of one stage starts the next.

In each stage one network per fold is trained. Of their weights three aggregates are made: the best fold's network, the
mean of all, and the mean of the best three. The best of these, by its mIoU on the val list, is where the next stage's
networks start; loss, augmentation and schedule may change between stages, and the learning rate begins anew.

The val list chooses between aggregates and between stages. What is chosen so is scored too well: the score of a list
that had no say would be lower.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from seglib.data.open import build_dataset
from seglib.data.transforms import Normalisation
from seglib.files import load_tensors, run_folder, write_atomic, write_json
from seglib.metrics import Scores
from seglib.models.build import build_model
from seglib.predict import Scoring, evaluate
from seglib.recipe import RECIPES, Recipe, toml_path
from seglib.studies.results import RESULTS, name_code
from seglib.train.optim import reestimate_batch_norm
from seglib.train.results import code_hashes, load_result
from seglib.train.trainer import Trainer, load_batches

BATCHES = 40  # over which an aggregate's batch norm is estimated again
BEST = 3  # networks in the smaller of the two means
State = dict[str, Tensor]


def mean_weights(state_dicts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Averages the weights of one network from several trainings, key by key, summed in float64.

    Batch norm's running statistics are averaged with them, which is *not* what the mean network would see: estimate
    them again with `reestimate_batch_norm` (Izmailov et al. 2018, sec. 3.2). Integers (counters) are the first's.
    """
    mean = {}
    for key, first in state_dicts[0].items():
        stacked = torch.stack([state[key] for state in state_dicts])
        mean[key] = stacked.double().mean(dim=0).to(first.dtype) if first.is_floating_point() else first.clone()
    return mean


class StagedFile(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    recipe: str
    stages: dict[str, dict[str, Any]]
    folds: int = 5


@dataclass(frozen=True)
class Staged:
    """A training in stages.

    Raises ValueError if there are fewer than three folds, or no stage, or a stage has folds or a `start_from` itself.
    """

    title: str
    stages: dict[str, Recipe]  # name -> recipe without folds, in their order
    folds: int = 5  # networks per stage, at least 3
    data_root: Path | None = None  # as of `Trainer`

    def __post_init__(self) -> None:
        if self.folds < BEST or not self.stages:
            found = f"{self.folds} folds, {len(self.stages)} stages"
            raise ValueError(f"staged: {found}; expected at least {BEST} folds and a stage")
        for name, recipe in self.stages.items():
            if recipe.folds or recipe.start_from:
                raise ValueError(f"stage {name!r}: folds and start_from are given by the staged training")

    @classmethod
    def load(cls, name: str | Path, data_root: Path | None = None) -> "Staged":
        """Reads a TOML file, by its path or its name in `seglib/recipes/staged`: a recipe, and each stage's changes.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no staged training; names the file.
        """
        path = toml_path(name, RECIPES / "staged", "staged training")
        try:
            file = msgspec.toml.decode(path.read_bytes(), type=StagedFile)
            stages = {stage: Recipe.load(file.recipe).replace(**changes) for stage, changes in file.stages.items()}
            return cls(file.title, stages, file.folds, data_root)
        except ValueError as error:
            raise ValueError(f"{path}: not a staged training ({error})") from error

    def run(self, folder: Path) -> dict[str, Any]:
        """Trains what is missing in `folder` and returns the result; resumes an interrupted call.

        Returns:
            title, folds, code (hashes of the stages') and stages. Of each stage: name; code; recipe; folds (fold, miou
            and iou per class on the val list, fold_miou on the part that was left out, history, class_history,
            train_seconds); aggregates: name -> members (folds), miou, and miou_with_mean_statistics, where batch norm's
            running statistics are averaged too and not estimated again; chosen: the one that starts the next stage.

        Raises:
            ValueError: if `folder` holds a stage of another recipe; as `Trainer`.
        """
        outcome, start = [], ""
        for number, (name, recipe) in enumerate(self.stages.items(), start=1):
            stage_folder = folder / f"stage{number}"
            recipe = recipe.replace(start_from=start)
            stored = stage_folder / "stage.json"
            if not stored.exists():
                made_with = {"name": name, "code": name_code(code_hashes())}
                write_json(stored, made_with | self._stage(recipe, folder, stage_folder))
            outcome.append(json.loads(stored.read_text(encoding="utf-8")))
            if outcome[-1]["recipe"] != recipe.changes() or len(outcome[-1]["folds"]) != self.folds:
                raise ValueError(f"{stored}: a stage of another recipe or number of folds; choose another folder")
            start = str((stage_folder / "best.pt").relative_to(folder))
        code = ", ".join(sorted({stage.get("code", "unknown") for stage in outcome}))
        return {"title": self.title, "folds": self.folds, "code": code, "stages": outcome}

    def _stage(self, recipe: Recipe, folder: Path, stage_folder: Path) -> dict[str, Any]:
        results = [self._train(recipe, fold, folder, stage_folder) for fold in range(self.folds)]
        states = [load_tensors(stage_folder / f"fold{fold}" / "weights.pt") for fold in range(self.folds)]
        scored, means = self._aggregate(recipe, states, [result["miou"] for result in results])
        chosen = max(scored, key=lambda name: scored[name]["miou"])
        write_atomic(stage_folder / "best.pt", lambda file: torch.save(means[chosen], file))
        return {"recipe": recipe.changes(), "folds": results, "aggregates": scored, "chosen": chosen}

    def _train(self, recipe: Recipe, fold: int, folder: Path, stage_folder: Path) -> dict[str, Any]:
        run_dir = stage_folder / f"fold{fold}"
        recipe = recipe.replace(folds=self.folds, fold=fold)
        roots = {"data_root": self.data_root, "weights_root": folder if recipe.start_from else None}
        model = Trainer(recipe, run_dir, progress=False, **roots).fit().model
        write_atomic(run_dir / "weights.pt", lambda file: torch.save(model.state_dict(), file))
        result = load_result(run_dir / "result.json")
        scores = {"miou": result["scores"]["miou"], "iou": result["scores"]["iou"]}
        scores["fold_miou"] = self._score(recipe, model, "fold").miou
        return {"fold": fold, **scores, **{key: result[key] for key in ("history", "class_history", "train_seconds")}}

    def _aggregate(self, recipe: Recipe, states: list[State], mious: list[float]) -> tuple[dict, dict[str, State]]:
        val = build_dataset(recipe, recipe.val_split, self.data_root)
        model = build_model(recipe.replace(start_from="", weights=""), val.num_classes)
        scored, means = {}, {}
        for name, members in choose_members(mious).items():
            model.load_state_dict(mean_weights([states[member] for member in members]))
            miou = mean = self._score(recipe, model, recipe.val_split).miou
            if len(members) > 1:  # one network's statistics are its own
                train = build_dataset(recipe, recipe.train_split, self.data_root, train=True)
                crops = (images for images, _ in load_batches(recipe, train, 0, BATCHES))
                reestimate_batch_norm(model, crops, Normalisation.named(recipe.normalisation))
                miou = self._score(recipe, model, recipe.val_split).miou
            scored[name] = {"members": members, "miou": miou, "miou_with_mean_statistics": mean}
            means[name] = {key: value.clone() for key, value in model.state_dict().items()}
        return scored, means

    def _score(self, recipe: Recipe, model: nn.Module, split: str) -> Scores:
        dataset = build_dataset(recipe, split, self.data_root)
        return evaluate(model, dataset, Normalisation.named(recipe.normalisation), Scoring.of(recipe)).compute()


def choose_members(mious: list[float]) -> dict[str, list[int]]:
    """Chooses the networks that each of the three aggregates is the mean of, the best first."""
    order = np.argsort([-miou for miou in mious], kind="stable").tolist()
    return {"best fold": order[:1], "mean of all": order, f"mean of the best {BEST}": order[:BEST]}


def run_staged(
    name: str, /, *, folder: Path | None = None, output: Path | None = None, data_root: Path | None = None
) -> None:
    """Trains folds in stages, each from the best mean of the last, and stores the result; resumes.

    Args:
        name: a TOML file, or the name of one in seglib/recipes/staged.
        folder: where the runs are kept; default: a folder of that name in the folder of runs.
        output: the result; default: data/results/staged/NAME.json.
        data_root: the data set's folder; default: bundled, or under SEGLIB_DATA.
    """
    stem = Path(name).stem
    result = Staged.load(name, data_root).run(folder or run_folder(stem))
    write_json(output or RESULTS / "staged" / f"{stem}.json", result)
    for stage in result["stages"]:
        aggregates = {aggregate: round(values["miou"], 4) for aggregate, values in stage["aggregates"].items()}
        print(stage["name"], [round(fold["miou"], 4) for fold in stage["folds"]], aggregates)
