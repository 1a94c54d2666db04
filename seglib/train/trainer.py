"""The training loop: a recipe and a folder in, weights and a result out. Killed at any moment, it can be resumed."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from seglib.data.base import SegmentationDataset
from seglib.data.batches import EpochBatches, make_loader
from seglib.data.fingerprint import Counts, check_classes, count_labels, fingerprint  # to tell data by their labels
from seglib.data.open import open_sets  # data sets with their augmentation, and the normalisation
from seglib.data.transforms import Normalisation
from seglib.files import load_tensors, some, tell, write_atomic, write_json  # tell: print a line
from seglib.metrics import ConfusionMatrix
from seglib.models.weights import hash_weights, load_exactly
from seglib.predict import Scoring, evaluate
from seglib.recipe import Recipe
from seglib.train import checkpoint as checkpoints
from seglib.train import distributed, optim, results  # results: result.json, and the code it was measured with
from seglib.train.curves import Curves  # for TensorBoard
from seglib.train.start import build_network

LOG_EVERY = 10  # iterations whose mean loss is one row of the history
SCORES = ("miou", "pixel_accuracy", "iou")  # of a row of the history
TRIMAP_WIDTHS = (1, 2, 3, 5, 8, 12, 20)  # pixels


class Trainer:
    """Trains a recipe's model in a folder of its own.

    A second call of `fit`, or a new process with the same recipe and folder, resumes from the last checkpoint; on the
    CPU the weights it ends with equal those of an uninterrupted run bit for bit, whatever the number of workers.
    Several processes (`seglib.train.distributed`) share each batch and the val list, and one run_dir.

    Args:
        recipe: everything that the result depends on.
        run_dir: holds checkpoint.pt and its predecessor, with patience best.pt, and at the end result.json as well.
        data_root: the data set's folder; None is the bundled toy set, or that folder in SEGLIB_DATA.
        packed_root: folder for decoded copies of the data, which are read in their place; None reads the files.
        train_set, val_set: data sets in the place of the recipe's, both or neither; see `seglib.data.open.open_sets`.
        weights_root: folder that is searched first for the initial weights; see `build_model`.
        device: None takes CUDA if there is one.
        num_workers: processes that load samples; 0 loads them in this one.
        eval_every: iterations between scores on the val list; None takes the recipe's, or scores only at the end.
        checkpoint_seconds: a kill loses at most about this much work.
        progress: draw a progress bar.
        tensorboard: write the curves of the log into run_dir at every checkpoint.

    Raises:
        ValueError: if run_dir holds a run of another recipe, data or initial weights (says what differs), or no
            checkpoint that is whole and fits the network; if an eval_every is given beside a recipe's patience.
    """

    def __init__(
        self,
        recipe: Recipe,
        run_dir: str | Path,
        *,
        data_root: Path | None = None,
        packed_root: Path | None = None,
        weights_root: Path | None = None,
        train_set: SegmentationDataset | None = None,
        val_set: SegmentationDataset | None = None,
        device: str | torch.device | None = None,
        num_workers: int = 0,
        eval_every: int | None = None,
        checkpoint_seconds: float = 30.0,
        progress: bool = True,
        tensorboard: bool = False,
    ) -> None:
        if recipe.patience and eval_every not in (None, recipe.eval_every):
            counted = f"the recipe's, {recipe.eval_every}, is what its patience counts"
            raise ValueError(f"eval_every = {eval_every}; {counted}")
        if recipe.bn_batch is not None and (number := distributed.world_size()) > 1:
            expected = "expected one: several take batch norm's statistics over all of the batch"
            raise ValueError(f"recipe: bn_batch = {recipe.bn_batch} in {number} processes; {expected}")
        self.recipe, self.run_dir = recipe, Path(run_dir)
        self.checkpoint = self.run_dir / "checkpoint.pt"  # the file that the run resumes from
        self.best = self.run_dir / "best.pt"  # the weights of the best score so far, if the recipe has patience
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._cuda_devices = [self.device] if self.device.type == "cuda" else []  # whose generators a run has
        self.num_workers, self.eval_every = num_workers, eval_every or recipe.eval_every
        self.checkpoint_seconds = checkpoint_seconds
        self.progress = progress and distributed.is_main()
        self._curves = Curves(self.run_dir) if tensorboard and distributed.is_main() else None
        self.code = results.code_hashes()  # of the whole training, which may have begun with other code
        self.iteration, self.seconds = 0, 0.0
        self.log: list[dict[str, Any]] = []  # rows of losses and rows of scores, in the order in which they came
        self._losses: list[Tensor] = []  # since the last row; on their device, so that a GPU is not waited for
        self._interrupted = False

        stored = checkpoints.load_state(self.checkpoint, recipe)
        measured = Normalisation(**stored[0]["normalisation"]) if stored else None
        opened = open_sets(recipe, data_root, packed_root, train_set, val_set, measured)
        self.train_set, self.val_set, self.normalisation = opened
        # counts of labels; those in the checkpoint save reading every label again
        self._labels: Counts = {} if stored is None else stored[0]["labels"]
        self.initial = hash_weights(recipe, weights_root)  # the files of the initial weights, as they are now
        sets = {"train": self.train_set, "val": self.val_set}
        for each in sets.values():
            self._labels |= count_labels(each, self._labels)
        if (absent := check_classes(self.train_set, self._labels)) and distributed.is_main():
            tell(f"no training label has a pixel of {some(absent)}: it cannot be learned")
        self.data = {part: fingerprint(each, self._labels) for part, each in sets.items()}
        if stored is not None:
            checkpoints.check_data(stored[0], self.data, self.train_set.classes, self.initial, stored[1])
        if (path := self.run_dir / "result.json").exists():
            if not results.is_training_of(path, recipe):
                found = results.load_result(path)["name"]
                raise ValueError(f"{path}: a result of another recipe, {found}. Choose another run_dir.")
            checkpoints.check_data(results.load_result(path), self.data, self.train_set.classes, self.initial, path)
        # a machine's first process downloads public weights, the others find them
        with torch.random.fork_rng(devices=self._cuda_devices), distributed.first_of_machine_first():
            torch.manual_seed(recipe.seed)
            # a resumed run finds its weights in the checkpoint and does not need the file of the initial ones
            self.model = build_network(recipe, self.train_set.classes, weights_root, initial=stored is None)
            self._generators = checkpoints.generator_states(self._cuda_devices)
        if not distributed.is_main():  # each process needs its own dropout masks
            self._generators = checkpoints.fresh_generator_states(recipe.seed, 0, self._cuda_devices)
        if recipe.eval_output_stride:  # fail now, not after the training, if it is not offered
            self.model.set_output_stride(recipe.eval_output_stride)
            self.model.set_output_stride(recipe.output_stride)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.model = distributed.synchronise_batch_norm(self.model, self.device)
        self._forward = torch.compile(self.model) if recipe.compile else self.model  # both have the same weights
        self.optimizer = optim.build_optimizer(self.model, recipe)
        self.loss = optim.build_loss(recipe, self.train_set, self.device, self.model.logits_grid)
        self._upsample = not (recipe.downsample_labels or recipe.loss.startswith("upsampled"))  # else the loss does
        self.autocast_dtype = _autocast_dtype(self.device) if recipe.mixed_precision else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast_dtype == torch.float16)
        if stored is not None:
            self._restore(*stored)
        distributed.check_alike("the iteration to resume from", self.iteration)
        distributed.broadcast_weights(self.model)

    @property
    def history(self) -> pd.DataFrame:
        """A row per ten iterations (iteration, loss, lr) and per evaluation (iteration, miou, pixel_accuracy)."""
        return pd.DataFrame(self.log, columns=["iteration", "loss", "lr", "miou", "pixel_accuracy"])

    @property
    def class_history(self) -> pd.DataFrame:
        """Per-class IoU on the val list: a row per evaluation, indexed by the iteration, a column per class."""
        rows = self._scores
        iterations = pd.Index([row["iteration"] for row in rows], name="iteration")
        return pd.DataFrame([row["iou"] for row in rows], iterations, self.val_set.classes, dtype=float)

    @property
    def finished(self) -> bool:
        """True after the last iteration, or when the recipe's patience has run out."""
        out_of_patience = bool(self.recipe.patience) and self._scores_since_best >= self.recipe.patience
        return self.iteration == self.recipe.iterations or out_of_patience

    def fit(self, until: int | None = None) -> "Trainer":
        """Trains to the recipe's last iteration, or only to `until`, and leaves a checkpoint there.

        After the last iteration, or when patience runs out, the val list is scored and result.json written; a folder
        whose run differs from the recipe only in its scoring is scored anew. With patience the model then has the
        weights of the best score, which best.pt holds.

        Raises:
            FloatingPointError: if the loss is no longer finite; the last checkpoint is from before that.
            OSError, ValueError: if a sample cannot be read, or a checkpoint not be written; the last good one is kept.
            torch.OutOfMemoryError: if the GPU's memory is too small; says which settings need less.
        """
        if self.finished and self.progress:
            tell(f"{self.run_dir}: finished already; delete the folder to train again")
        if self._interrupted and (stored := checkpoints.load_state(self.checkpoint, self.recipe)):
            self._restore(*stored)  # an exception may have stopped a step between two parameters
        end = self.recipe.iterations if until is None else min(until, self.recipe.iterations)
        if self.iteration < end and not self.finished:
            self._interrupted = True
            with torch.random.fork_rng(devices=self._cuda_devices):
                checkpoints.set_generator_states(self._generators, self._cuda_devices)
                try:
                    self._train(end)
                except torch.OutOfMemoryError as error:
                    where = f"{self.run_dir}: the GPU's memory does not hold iteration {self.iteration + 1}"
                    raise torch.OutOfMemoryError(results.advise_on_memory(where, self.recipe, error)) from None
            self._interrupted = False
        if self.finished:
            self._finish()
        return self

    def _train(self, end: int) -> None:
        """Trains from the present iteration to `end`, or until patience ends."""
        recipe = self.recipe
        self.model.train()
        if recipe.freeze_bn:
            optim.freeze_batch_norm(self.model)
        if recipe.frozen_blocks:
            optim.freeze_blocks(self.model.backbone, recipe.frozen_blocks)
        # before anything is written: a batch size that cannot be is refused here
        batches = load_batches(recipe, self.train_set, self.iteration, end, self.num_workers)
        if self.iteration == 0:
            self._save(0.0)  # fail now if the folder is not writable
            if distributed.is_main() and (old := self.run_dir / "result.json").exists():  # its weights are gone
                tell(f"{old}: of a training whose checkpoint is gone; kept as result.earlier.json")
                old.replace(old.with_name("result.earlier.json"))
        saved = logged = time.perf_counter()
        with tqdm(total=recipe.iterations, initial=self.iteration, desc="train", disable=not self.progress) as bar:
            for images, labels in batches:
                self._losses.append(self._step(images, labels))
                self.iteration += 1
                bar.update()
                if self.iteration % LOG_EVERY == 0:
                    loss, lr = self._mean_loss(), self.optimizer.param_groups[-1]["lr"]  # the head's, of factor 1
                    self.log.append({"iteration": self.iteration, "loss": loss, "lr": lr})
                    self._losses = []
                    rate = LOG_EVERY * recipe.batch_size / (time.perf_counter() - logged)
                    bar.set_postfix_str(f"loss {loss:.3f}, lr {lr:.4f}, {rate:.0f} images/s")
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
        """Takes one step on (B, C, H, W) uint8 images and (B, H, W) uint8 labels; returns the loss."""
        recipe, images = self.recipe, images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(self.device, non_blocking=True)
        optim.set_learning_rate(self.optimizer, optim.learning_rate(recipe, self.iteration))
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for pixels, truth in zip(images.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True):
            with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
                logits = self._forward(self.normalisation(pixels), upsample=self._upsample)  # (B, K, H, W)
            loss = self.loss(logits, truth, labels)
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        distributed.sum_gradients(self.model.parameters())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return distributed.sum_over_processes(torch.stack(losses).sum())

    def _finish(self) -> None:
        """Scores the val list and writes result.json, unless that is done."""
        if self.recipe.patience:
            if distributed.is_main():
                load_exactly(self.model, load_tensors(self.best), f"{self.best}: the weights")
            distributed.broadcast_weights(self.model)
        path = self.run_dir / "result.json"
        if distributed.from_main(results.is_result_of(path, self.recipe)):
            return
        if self.recipe.reestimate_bn:
            # batches of the next epoch, so that the training has had none of these crops
            per_epoch = len(self.train_set) // self.recipe.batch_size
            start = -(-self.recipe.iterations // per_epoch) * per_epoch
            end = start + self.recipe.reestimate_bn
            batches = load_batches(self.recipe, self.train_set, start, end, self.num_workers)
            parts = (part for images, _ in batches for part in images.chunk(self.recipe.accumulate))  # as in `_step`
            optim.reestimate_batch_norm(self.model, parts, self.normalisation)
        val = self.val_set
        trimap = {width: ConfusionMatrix(val.num_classes, val.ignore_index, self.device) for width in TRIMAP_WIDTHS}
        matrix = self.evaluate(trimap=trimap)
        if distributed.is_main():
            result = results.collect(self.recipe, matrix, trimap, val.classes) | {
                "data": self.data,
                "initial": self.initial,
                "history": json.loads(self.history.to_json(orient="records")),
                "class_history": json.loads(self.class_history.to_json(orient="split")),
                "train_seconds": round(self.seconds, 1),
                "code": self.code,
                "world_size": distributed.world_size(),
                **results.describe_machine(self.device),
            }
            write_json(path, results.seal(result))

    def evaluate(
        self, progress: bool | None = None, trimap: dict[int, ConfusionMatrix] | None = None
    ) -> ConfusionMatrix:
        """Scores the model as it is now on the recipe's val list, by the recipe's evaluation protocol.

        `trimap`, of empty matrices, is that of `seglib.predict.evaluate`; `progress` None does as the trainer does.
        """
        mine = self.val_set.subset(range(distributed.rank(), len(self.val_set), distributed.world_size()))
        progress, scoring = self.progress if progress is None else progress, Scoring.of(self.recipe)
        options = {"trimap": trimap, "num_workers": self.num_workers, "progress": progress}
        matrix = evaluate(self.model, mine, self.normalisation, scoring, **options)
        for counted in (matrix, *(trimap or {}).values()):
            distributed.sum_over_processes(counted.matrix)
        return matrix

    # --- parts of the above

    @property
    def _scores(self) -> list[dict[str, Any]]:
        return [row for row in self.log if "miou" in row]

    @property
    def _scores_since_best(self) -> int:
        mious = [row["miou"] or 0.0 for row in self._scores]  # None: nothing was scored
        return len(mious) - 1 - mious.index(max(mious)) if mious else 0

    def _mean_loss(self) -> float:
        loss = float(torch.stack(self._losses).double().mean()) if self._losses else 0.0
        if not np.isfinite(loss):
            cure = f"The last checkpoint is from before. A lower lr than {self.recipe.lr} is the usual cure."
            found = f"the loss is {loss} at iteration {self.iteration}; expected a finite number"
            raise FloatingPointError(f"{self.run_dir}: {found}. {cure}")
        return loss

    def _log_scores(self) -> None:
        scores = self.evaluate(progress=False).compute().to_dict()
        self.log.append({"iteration": self.iteration} | {name: scores[name] for name in SCORES})
        if self.recipe.patience and self._scores_since_best == 0 and distributed.is_main():
            # a run that is killed before its next checkpoint passes here again and writes the same
            write_atomic(self.best, lambda file: torch.save(self.model.state_dict(), file))

    def _save(self, seconds: float) -> None:
        self._mean_loss()  # a state that is no longer finite must not replace a good one
        if broken := checkpoints.find_not_finite(self.model):
            cure = f"The last checkpoint is from before. A lower lr than {self.recipe.lr} is the usual cure."
            raise FloatingPointError(f"{self.run_dir}: {some(broken)} not finite at iteration {self.iteration}. {cure}")
        self.seconds += seconds
        generators = checkpoints.generator_states(self._cuda_devices)
        state = {
            "recipe": self.recipe.changes(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **checkpoints.pack_generators(generators),
            "log": list(self.log),
            "losses": [float(loss) for loss in self._losses],
            "code": self.code,
            "data": self.data,
            "initial": self.initial,
            "labels": self._labels,
            "classes": list(self.train_set.classes),
            "palette": torch.from_numpy(self.train_set.palette),
            "normalisation": asdict(self.normalisation),
        }
        if distributed.is_main():
            checkpoints.save_state(self.checkpoint, state)
        if self._curves:
            self._curves.write(self.log)
        self._generators = generators

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        load_exactly(self.model, state["model"], f"{path}: the weights")
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: the optimiser's state does not fit this version's ({error})") from error
        if state["scaler"]:  # empty where no loss was scaled: on a CPU, or in bfloat16
            self.scaler.load_state_dict(state["scaler"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.log, self._losses = list(state["log"]), [torch.tensor(x, device=self.device) for x in state["losses"]]
        self.code = state.get("code", {}) | self.code
        self._generators = checkpoints.unpack_generators(state, self.recipe, self._cuda_devices)
        self._interrupted = False
        if path != self.checkpoint and distributed.is_main():  # damaged: must not push its good predecessor out
            self.checkpoint.unlink(missing_ok=True)


def load_batches(
    recipe: Recipe, train_set: SegmentationDataset, start: int, end: int, num_workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Loads the batches that a training takes in its iterations `start` to `end`; of several processes, its parts."""
    batches = EpochBatches(
        len(train_set), recipe.batch_size, end, recipe.seed, start, distributed.rank(), distributed.world_size(),
        recipe.accumulate,
    )  # fmt: skip
    return iter(make_loader(train_set, batches, num_workers))


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Chooses bfloat16 or float16, whichever the GPU is fast at; None for a CPU."""
    if device.type != "cuda":
        return None
    # older GPUs, such as Colab's T4, only emulate bfloat16, slowly
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
