"""The command line: `python -m seglib COMMAND`. A command's help comes from its function's signature and docstring."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

# Imported only when called: each of the rest takes seconds to load torch, which scoring files does without.
COMMANDS = {
    "train": ("seglib.__main__", "train"),
    "study": ("seglib.studies.run", "run_study"),
    "rerun": ("seglib.studies.rerun", "rerun"),
    "staged": ("seglib.studies.staged", "run_staged"),
    "predict": ("seglib.__main__", "predict"),
    "score-cityscapes": ("seglib.metrics.cityscapes", "score_cityscapes"),
    "download": ("seglib.data.download", "download"),
    "convert-camvid": ("seglib.data.convert_camvid", "convert_camvid"),
}


def train(
    recipe: str,
    /,
    *,
    run_dir: Path | None = None,
    data_root: Path | None = None,
    packed_root: Path | None = None,
    weights_root: Path | None = None,
    workers: int = 0,
    eval_every: int | None = None,
    seed: int | None = None,
) -> None:
    """Train a recipe; resumes by itself. On four GPUs: `torchrun --nproc-per-node=4 -m seglib train RECIPE`.

    Args:
        recipe: a TOML file, or the name of one in seglib/recipes.
        run_dir: holds the checkpoint and the result; default: a folder with the recipe's name in the folder of runs.
        data_root: the data set's folder, such as VOCdevkit; default: the bundled data, or SEGLIB_DATA.
        packed_root: keep a decoded copy of the data in this folder, and read that.
        weights_root: folder of the initial weights, searched before data/checkpoints; default: weights in SEGLIB_DATA.
        workers: processes that load samples.
        eval_every: iterations between scores on the val list.
        seed: in place of the recipe's.
    """
    from seglib.files import run_folder
    from seglib.recipe import Recipe
    from seglib.train import Trainer, distributed

    with distributed.join():
        settings = Recipe.load(recipe)
        if seed is not None:
            settings = settings.replace(seed=seed)
        trainer = Trainer(
            settings,
            run_dir or run_folder(settings.name),
            data_root=data_root,
            packed_root=packed_root,
            weights_root=weights_root,
            num_workers=workers,
            eval_every=eval_every,
        ).fit()
        if distributed.is_main():
            print((trainer.run_dir / "result.json").read_text(encoding="utf-8"), flush=True)
        distributed.end()


def predict(
    checkpoint: Path,
    images: tuple[Path, ...],
    /,
    *,
    output: Path,
    ids: bool = False,
    source: Literal["torchvision", "smp", "vainf", "jfzhang95", "tf-mobilenet"] | None = None,
    palette: Literal["voc", "toy_voc", "cityscapes", "camvid"] | None = None,
    normalisation: Literal["imagenet", "unit"] | None = None,
    output_stride: int | None = None,
    scales: tuple[float, ...] = (),
    flip: bool | None = None,
    pad_to: int | None = None,
    window: tuple[int, int] | None = None,
    overlap: float = 1 / 3,
    device: str | None = None,
) -> None:
    """Write a palette PNG of classes for each image, of its size and name. Scored as the run's recipe says by default.

    Args:
        checkpoint: checkpoint.pt of a run, or another library's weights.
        images: image files.
        output: folder for the masks.
        ids: write grey PNGs of Cityscapes' ids, as its benchmark wants them.
        source: the library that other weights come from.
        palette: the data set that other weights were trained on: its classes' colours.
        normalisation: the pixel convention.
        output_stride: predict at this output stride.
        scales: scales of the input that are averaged.
        flip: average with the mirrored image.
        pad_to: side of a square to put every image into.
        window: height and width of sliding windows.
        overlap: of windows, a share of their side.
        device: such as cpu or cuda.
    """
    from dataclasses import replace

    import torch

    from seglib.data.open import CLASSES
    from seglib.data.transforms import Normalisation
    from seglib.predict import Scoring, write_masks
    from seglib.recipe import Recipe
    from seglib.train.checkpoint import load_run
    from seglib.zoo import load_checkpoint

    if not images:
        raise ValueError("images: expected at least one file")
    if source is None:
        model, recipe, *_ = load_run(checkpoint)
        palette = palette or recipe.data
    elif palette is None:
        raise ValueError("--palette: other libraries' weights do not say what their classes are; expected the data set")
    else:
        model, recipe = load_checkpoint(checkpoint, source), Recipe()
    if ids and not palette.endswith("cityscapes"):
        raise ValueError(f"--ids: ids are Cityscapes'; the network's classes are those of {palette}")
    names, make_palette = CLASSES[palette]
    if len(names) != model.num_classes:
        raise ValueError(f"--palette {palette}: {len(names)} classes; {checkpoint} has {model.num_classes}")
    own = Scoring.of(recipe)
    scoring = replace(
        own,
        scales=scales or own.scales,
        flip=own.flip if flip is None else flip,
        output_stride=output_stride or own.output_stride,
        window=window or own.window,
        overlap=overlap,
        pad_to=pad_to or own.pad_to,
    )
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), memory_format=torch.channels_last)
    convention = Normalisation.named(normalisation or recipe.normalisation)
    for mask in write_masks(model, images, output, convention, scoring, None if ids else make_palette()):
        print(mask)


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command that the arguments name; an error that a user can mend ends it with one line."""
    import tyro

    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in COMMANDS:
        if name not in ("-h", "--help"):
            print(f"no command {name!r}", file=sys.stderr)
        print("usage: python -m seglib COMMAND ...; with --help after a command for its options\n")
        for known in COMMANDS:
            print(f"  {known:17} {(_load(known).__doc__ or '').splitlines()[0]}")
        return int(name not in ("-h", "--help"))
    try:
        return tyro.cli(_load(name), prog=f"python -m seglib {name}", args=rest)
    except Exception as error:
        mendable = isinstance(error, OSError | ValueError | FloatingPointError)
        if not mendable and type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        message = str(error)  # of a process that loads samples: that process's traceback, and at its end the error
        raise SystemExit(f"error: {message.splitlines()[-1] if message.startswith('Caught ') else message}") from error


def _load(name: str) -> Callable[..., Any]:
    module, function = COMMANDS[name]
    return globals()[function] if module == "seglib.__main__" else getattr(import_module(module), function)


if __name__ == "__main__":
    raise SystemExit(main())
