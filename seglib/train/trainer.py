"""The training loop: a recipe and a folder in, weights and a result out. Killed at any moment, it can go on."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from seglib.data import SegmentationDataset
from seglib.data.batches import EpochBatches, make_loader
from seglib.data.open import build_dataset, normalisation
from seglib.files import load_tensors, one_line_errors, write_atomic, write_json
from seglib.metrics import ConfusionMatrix, Scores
from seglib.models.build import build_model
from seglib.models.layers import load_exactly
from seglib.predict import evaluate
from seglib.recipe import Recipe
from seglib.train import distributed
from seglib.train.checkpoint import (
    advice_on_memory,
    autocast_dtype,
    fresh_generators,
    generator_states,
    pack_generators,
    save_state,
    set_generator_states,
    stored_state,
    unpack_generators,
)
from seglib.train.optim import (
    build_loss,
    build_optimizer,
    freeze_batch_norm,
    learning_rate,
    reestimate_batch_norm,
    set_learning_rate,
)
from seglib.train.results import TRIMAP_WIDTHS, code_hashes, is_result_of, result_of, sealed

SCORES = ("miou", "pixel_accuracy", "iou")


class History:
    """Rows in the order in which they came: losses (iteration, loss, lr) and scores (iteration and `SCORES`).

    Losses wait on their device until a row is made of them, so that a GPU is not waited for at every step.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.waiting: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"log": list(self.rows), "losses": [float(loss) for loss in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undoes `state_dict`."""
        self.rows, self.waiting = list(state["log"]), [torch.tensor(loss) for loss in state["losses"]]

    def mean_loss(self) -> float:
        """The mean of the waiting losses; nan where one is, 0 where none waits."""
        return float(torch.stack(self.waiting).double().mean()) if self.waiting else 0.0

    def log_losses(self, iteration: int, lr: float) -> dict[str, Any]:
        """Makes a row of the waiting losses and returns it."""
        self.rows.append({"iteration": iteration, "loss": self.mean_loss(), "lr": lr})
        self.waiting = []
        return self.rows[-1]

    def log_scores(self, iteration: int, scores: Scores) -> None:
        """Makes a row of scores on the val list."""
        values = scores.to_dict()
        self.rows.append({"iteration": iteration} | {name: values[name] for name in SCORES})

    @property
    def score_rows(self) -> list[dict[str, Any]]:
        """The rows of scores alone."""
        return [row for row in self.rows if "miou" in row]

    @property
    def since_best(self) -> int | None:
        """How many scores came after the best mIoU, the first of equals; None before the first score."""
        mious = [row["miou"] or 0.0 for row in self.score_rows]  # None: nothing was scored
        return len(mious) - 1 - mious.index(max(mious)) if mious else None

    def out_of_patience(self, patience: int) -> bool:
        """Whether `patience` scores in succession were no new best; never for a patience of 0."""
        return bool(patience) and (self.since_best or 0) >= patience

    def frame(self) -> pd.DataFrame:
        """A row per ten iterations (iteration, loss, lr) and per evaluation (iteration, miou, pixel_accuracy)."""
        return pd.DataFrame(self.rows, columns=["iteration", "loss", "lr", "miou", "pixel_accuracy"])

    def class_frame(self, classes: tuple[str, ...]) -> pd.DataFrame:
        """Per-class IoU: a row per evaluation, indexed by the iteration, a column per class."""
        rows = self.score_rows
        iterations = pd.Index([row["iteration"] for row in rows], name="iteration")
        return pd.DataFrame([row["iou"] for row in rows], iterations, classes, dtype=float)


LOG_EVERY = 10  # iterations whose mean loss is one row of the history


class Trainer:
    """Trains a recipe's model in a folder of its own.

    A second call of `fit`, or a new process with the same recipe and folder, resumes from the last checkpoint; on the
    CPU the weights it ends with equal those of an uninterrupted run bit for bit, whatever the number of workers.

    Several processes (`seglib.train.distributed.join`) share each batch and train the network that one process would; they
    share the val list as well, and the first one writes the files. On several machines they must see one run_dir.

    Args:
        recipe: what the result depends on.
        run_dir: holds checkpoint.pt, its predecessor, and at the end result.json.
        data_root, packed_root, weights_root: where the data, its decoded copy and the initial weights are; see
            `build_dataset`, `build_model`.
        device: None takes CUDA where there is one.
        num_workers: loader processes; 0 loads in this one.
        eval_every: iterations between scores on the val list; None takes the recipe's, or scores only at the end.
        checkpoint_seconds: a kill loses at most about this much work.
        progress: draw a progress bar.

    Raises:
        ValueError: run_dir holds a run of another recipe (names the fields that differ), or no checkpoint that is whole
            and fits the recipe's network; an eval_every beside a recipe's patience.
    """

    def __init__(
        self,
        recipe: Recipe,
        run_dir: str | Path,
        *,
        data_root: Path | None = None,
        packed_root: Path | None = None,
        weights_root: Path | None = None,
        device: str | torch.device | None = None,
        num_workers: int = 0,
        eval_every: int | None = None,
        checkpoint_seconds: float = 30.0,
        progress: bool = True,
    ) -> None:
        self.recipe, self.run_dir = recipe, Path(run_dir)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if recipe.patience and eval_every not in (None, recipe.eval_every):
            raise ValueError(
                f"eval_every = {eval_every}; the recipe's, {recipe.eval_every}, is what its patience counts"
            )
        self.num_workers, self.eval_every = num_workers, eval_every or recipe.eval_every
        self.progress = progress and distributed.is_main()
        self.checkpoint_seconds, self.weights_root = checkpoint_seconds, weights_root
        self.train_set = build_dataset(recipe, recipe.train_split, data_root, True, packed_root)
        self.val_set = build_dataset(recipe, recipe.val_split, data_root, packed_root=packed_root)
        self.normalisation = normalisation(recipe)
        self.sources = code_hashes()  # now: the files may change while a long run trains
        self.iteration, self.seconds = 0, 0.0
        self._history = History()
        self._half_done = False

        stored = stored_state(self.checkpoint, recipe)
        # a resumed run finds its weights in the checkpoint and does not need the file of the initial ones
        initial = recipe if stored is None else recipe.replace(weights="", start_from="")
        with torch.random.fork_rng(devices=self._cuda_devices), distributed.first_of_machine_first():
            torch.manual_seed(recipe.seed)
            self.model = build_model(initial, self.train_set.num_classes, weights_root)
            self._generators = generator_states(self._cuda_devices)
        if not distributed.is_main():  # it drops out other units than the first process
            self._generators = fresh_generators(recipe.seed, 0, self._cuda_devices)
        for output_stride in (recipe.eval_output_stride, recipe.output_stride):
            if output_stride:  # refused now, if it must be, not when the training is over
                self.model.set_output_stride(output_stride)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.model = distributed.synchronise_batch_norm(self.model, self.device)
        self.optimizer = build_optimizer(self.model, recipe)
        self.loss = build_loss(recipe, self.train_set, self.device)
        self.at_head_stride = recipe.downsample_labels or recipe.loss.startswith("upsampled")  # the loss resizes
        learning_rate(recipe, 0)  # an unknown schedule is refused now
        self.autocast_dtype = autocast_dtype(self.device) if recipe.mixed_precision else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast_dtype == torch.float16)
        if stored is not None:
            self._restore(*stored)
        distributed.check_alike("the iteration to go on from", self.iteration)
        distributed.broadcast_weights(self.model)

    @property
    def checkpoint(self) -> Path:
        """The file that a run resumes from."""
        return self.run_dir / "checkpoint.pt"

    @property
    def best(self) -> Path:
        """The file with the weights of the best score so far; only a recipe with patience writes it."""
        return self.run_dir / "best.pt"

    @property
    def history(self) -> pd.DataFrame:
        """A row per ten iterations (iteration, loss, lr) and per evaluation (iteration, miou, pixel_accuracy)."""
        return self._history.frame()

    @property
    def class_history(self) -> pd.DataFrame:
        """Per-class IoU on the val list: a row per evaluation, indexed by the iteration, a column per class."""
        return self._history.class_frame(self.val_set.classes)

    @property
    def finished(self) -> bool:
        """Whether the last iteration is reached, or the recipe's patience is at its end."""
        return self.iteration == self.recipe.iterations or self._history.out_of_patience(self.recipe.patience)

    def fit(self, until: int | None = None) -> "Trainer":
        """Trains to the recipe's last iteration, or only to `until`, and leaves a checkpoint there.

        At the recipe's end, or when its patience is, the val list is scored and result.json written; a folder whose run
        differs from the recipe in its scoring alone is scored anew. With patience the model then has the weights of the
        best score, which best.pt holds.

        Raises:
            FloatingPointError: the loss is no longer finite; the last checkpoint is from before that.
            OSError: a checkpoint cannot be written; the last good one is kept. OSError, ValueError: so for a sample
                that cannot be read.
            torch.OutOfMemoryError: the GPU's memory is too small; says which settings need less.
        """
        if self._half_done and (stored := stored_state(self.checkpoint, self.recipe)):
            self._restore(*stored)  # an exception may have stopped a step between two parameters
        end = min(until or self.recipe.iterations, self.recipe.iterations)
        if self.iteration < end and not self.finished:
            self._half_done = True
            with torch.random.fork_rng(devices=self._cuda_devices), advice_on_memory(self):
                set_generator_states(self._generators, self._cuda_devices)
                self._train(end)
            self._half_done = False
        if self.finished and self.recipe.patience:
            if distributed.is_main():
                load_exactly(self.model, load_tensors(self.best), f"{self.best}: the weights")
            distributed.broadcast_weights(self.model)
        if self.finished and not distributed.from_main(is_result_of(self.run_dir / "result.json", self.recipe)):
            trimap = {width: self._new_matrix() for width in TRIMAP_WIDTHS}
            reestimate(self)
            matrix = self.evaluate(trimap=trimap)
            if distributed.is_main():
                result = result_of(self, matrix, trimap) | {"world_size": distributed.world_size()}
                write_json(self.run_dir / "result.json", sealed(result))
        return self

    def evaluate(
        self, progress: bool | None = None, trimap: dict[int, ConfusionMatrix] | None = None
    ) -> ConfusionMatrix:
        """Scores the model as it is now on the recipe's val list, by the recipe's evaluation protocol.

        `trimap`: see `seglib.predict.evaluate`.
        """
        recipe = self.recipe
        mine = range(distributed.rank(), len(self.val_set), distributed.world_size())
        bands = {width: self._new_matrix() for width in trimap or {}}
        matrix = evaluate(
            self.model,
            self.val_set.subset(mine),
            self.normalisation,
            scales=recipe.eval_scales,
            flip=recipe.eval_flip,
            output_stride=recipe.eval_output_stride,
            window=recipe.eval_window,
            num_workers=self.num_workers,
            progress=self.progress if progress is None else progress,
            trimap=bands,
        )
        for counted in (matrix, *bands.values()):
            distributed.sum_over_processes(counted.matrix)
        for width, band in bands.items():
            trimap[width].merge(band)
        return matrix

    def _new_matrix(self) -> ConfusionMatrix:
        return ConfusionMatrix(self.val_set.num_classes, self.val_set.ignore_index, self.device)

    def _train(self, end: int) -> None:
        recipe = self.recipe
        self.model.train()
        if recipe.freeze_bn:
            freeze_batch_norm(self.model)
        place = {"rank": distributed.rank(), "world_size": distributed.world_size()}
        batches = EpochBatches(len(self.train_set), recipe.batch_size, end, recipe.seed, self.iteration, **place)
        if self.iteration == 0:
            self._save(0.0)  # finds out before the work, not after it, whether the folder can be written
        loader = make_loader(self.train_set, batches, self.num_workers)
        saved = logged = time.perf_counter()
        bar = tqdm(total=recipe.iterations, initial=self.iteration, desc="train", disable=not self.progress)
        with bar:
            for images, labels in loader:
                self._history.waiting.append(self._step(images, labels))
                self.iteration += 1
                bar.update()
                if self.iteration % LOG_EVERY == 0:
                    row = self._log_losses()
                    rate = LOG_EVERY * recipe.batch_size / (time.perf_counter() - logged)
                    bar.set_postfix_str(f"loss {row['loss']:.3f}, lr {row['lr']:.4f}, {rate:.0f} images/s")
                    logged = time.perf_counter()
                if self.eval_every and self.iteration % self.eval_every == 0:
                    self._log_scores()
                    logged = time.perf_counter()
                stop = self.iteration == end or self.finished
                if stop or distributed.from_main(time.perf_counter() - saved > self.checkpoint_seconds):
                    self._save(time.perf_counter() - saved)
                    saved = time.perf_counter()
                if stop:
                    break

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        recipe = self.recipe
        images = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(self.device, non_blocking=True)
        set_learning_rate(self.optimizer, learning_rate(recipe, self.iteration))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            logits = self.model(self.normalisation(images), upsample=not self.at_head_stride)  # (B, K, H, W)
        loss = self.loss(logits, labels)
        self.scaler.scale(loss).backward()
        distributed.sum_gradients(self.model.parameters())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return distributed.sum_over_processes(loss.detach())

    def _log_losses(self) -> dict[str, Any]:
        self._check_loss()
        return self._history.log_losses(self.iteration, self.optimizer.param_groups[-1]["lr"])

    def _check_loss(self) -> None:
        if not np.isfinite(loss := self._history.mean_loss()):
            raise FloatingPointError(
                f"{self.run_dir}: the loss is {loss} at iteration {self.iteration}; expected a finite number. "
                f"The last checkpoint is from before. A lower lr than {self.recipe.lr} is the usual cure."
            )

    def _log_scores(self) -> None:
        self._history.log_scores(self.iteration, self.evaluate(progress=False).compute())
        if self.recipe.patience and self._history.since_best == 0 and distributed.is_main():
            # a run that is killed before its next checkpoint comes by here again and writes the same
            write_atomic(self.best, lambda file: torch.save(self.model.state_dict(), file))

    def _save(self, seconds: float) -> None:
        self._check_loss()
        self.seconds += seconds
        generators = generator_states(self._cuda_devices) if self.iteration else self._generators
        state = {
            "recipe": self.recipe.changes(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **pack_generators(generators),
            **self._history.state_dict(),
        }
        if distributed.is_main():
            save_state(self.checkpoint, state)
        self._generators = generators

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        load_exactly(self.model, state["model"], f"{path}: the weights")
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: the optimiser's state does not fit this version's ({error})") from error
        self.scaler.load_state_dict(state["scaler"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self._history.load_state_dict(state)
        self._generators = unpack_generators(state, self.recipe, self._cuda_devices)
        self._half_done = False

    @property
    def _cuda_devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.train.trainer RECIPE.toml --run-dir DIR`, also with `torchrun -m`."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.train.trainer", description="Train a recipe; resumes by itself."
    )
    parser.add_argument("recipe", help="a TOML file, or the name of one in seglib/recipes")
    parser.add_argument("--run-dir", type=Path, help="default: runs/NAME, after the recipe's hash")
    parser.add_argument("--data-root", type=Path, help="the VOCdevkit folder; default: bundled, or under SEGLIB_DATA")
    parser.add_argument("--packed-root", type=Path, help="keep a decoded copy of the data here, and read that")
    parser.add_argument("--weights-root", type=Path, help="folder of the initial weights")
    parser.add_argument("--workers", type=int, default=0, dest="num_workers", help="loader processes")
    parser.add_argument("--eval-every", type=int, help="iterations between scores on the val list")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    with distributed.joined(), one_line_errors():
        recipe = Recipe.load(options.recipe)
        if options.seed is not None:
            recipe = recipe.replace(seed=options.seed)
        names = ("data_root", "packed_root", "weights_root", "num_workers", "eval_every")
        given = {name: getattr(options, name) for name in names}
        trainer = Trainer(recipe, options.run_dir or Path("runs") / recipe.name, **given).fit()
        if distributed.is_main():
            print((trainer.run_dir / "result.json").read_text(encoding="utf-8"))


def training_crops(
    recipe: Recipe, train_set: SegmentationDataset, count: int, start: int = 0, num_workers: int = 0
) -> Iterator[Tensor]:
    """The crops (B, 3, H, W) uint8 that a training has in its `count` iterations from `start` on.

    In one of several processes: its part of each batch.
    """
    place = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    batches = EpochBatches(len(train_set), recipe.batch_size, start + count, recipe.seed, start, **place)
    return (images for images, _ in make_loader(train_set, batches, num_workers))


def reestimate(trainer: "Trainer") -> None:
    """Gives the model of a finished run the statistics of its recipe's `reestimate_bn` batches, of the next epoch on.

    Nothing happens where that is 0. The batches are those after the last epoch that the recipe's iterations reach into:
    the training has had none of these crops. The checkpoint on the disk keeps the training's statistics.
    """
    recipe = trainer.recipe
    if not recipe.reestimate_bn:
        return
    per_epoch = len(trainer.train_set) // recipe.batch_size
    start = -(-recipe.iterations // per_epoch) * per_epoch
    crops = training_crops(recipe, trainer.train_set, recipe.reestimate_bn, start, trainer.num_workers)
    reestimate_batch_norm(trainer.model, crops, trainer.normalisation)
