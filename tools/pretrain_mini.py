"""Trains the backbone that the scale `mini` starts from, on scenes whose labels do not hold what its studies ask.

python tools/pretrain_mini.py [RECIPE [FILE]]

The scenes are of another seed than data/toy_mini. Their labels call kites and fish one class, and boats and tents one.
Grass, sand and water stay classes: what the ground is can be told, and what it means cannot.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from seglib.data.toy import TOY_VOC_CLASSES
from seglib.files import PROJECT, load_tensors, runs_folder, write_atomic
from seglib.recipe import Recipe
from seglib.train.results import load_result
from seglib.train.trainer import Trainer
from tools.toy_data import MiniScene, generate_toy_mini, toy_mini_scene

SCENES, SEED = 2000, 1
MERGED = {"fish": "kite", "tent": "boat"}


def paint_merged(part: str, index: int, seed: int) -> MiniScene:
    """Paints a scene with merged labels."""
    scene = toy_mini_scene(part, index, seed)
    table = np.arange(256, dtype=np.uint8)
    for name, other in MERGED.items():
        table[TOY_VOC_CLASSES.index(name)] = TOY_VOC_CLASSES.index(other)
    return replace(scene, label=table[scene.label], label_sbd=table[scene.label_sbd])


def keep_backbone(checkpoint: Path, target: Path) -> None:
    """Writes the backbone's weights, kernels in half precision."""
    weights = {k: v for k, v in load_tensors(checkpoint)["model"].items() if k.startswith("backbone.")}
    kept = {k.removeprefix("backbone."): v.half() if v.ndim > 1 else v for k, v in weights.items()}
    write_atomic(target, lambda file: torch.save(kept, file))


def main(recipe: str = "toy_mini_pretraining", target: str = "data/checkpoints/toy_mini_pretrained.pth") -> None:
    """Command line; resumes a run that was interrupted."""
    chosen = Recipe.load(recipe)
    run_dir = runs_folder() / chosen.training_name
    with tempfile.TemporaryDirectory() as folder:
        generate_toy_mini(folder, train=1, trainaug=SCENES, seed=SEED, paint=paint_merged)
        Trainer(chosen, run_dir, data_root=Path(folder)).fit()
    keep_backbone(run_dir / "checkpoint.pt", PROJECT / target)
    result = load_result(run_dir / "result.json")
    found = zip(result["classes"], result["scores"]["iou"], strict=True)
    print("IoU:", {name: iou and round(iou, 3) for name, iou in found})
    print(f"{target}: {(PROJECT / target).stat().st_size / 1e6:.2f} MB, {result['train_seconds']:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:3])
