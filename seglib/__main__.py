"""The command line: `python -m seglib COMMAND`. A command's help comes from its function's signature and docstring."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from seglib.predict import Scoring
    from seglib.recipe import Recipe
    from seglib.train.checkpoint import Run

# Imported only when called: each of the rest takes seconds to load torch, which scoring files does without.
COMMANDS = {
    "train": ("seglib.__main__", "train"),
    "study": ("seglib.studies.run", "run_study"),
    "rerun": ("seglib.studies.rerun", "rerun"),
    "staged": ("seglib.studies.staged", "run_staged"),
    "predict": ("seglib.__main__", "predict"),
    "export": ("seglib.__main__", "export"),
    "score": ("seglib.__main__", "score"),
    "score-cityscapes": ("seglib.metrics.cityscapes", "score_cityscapes"),
    "download": ("seglib.data.download", "download"),
    "check-folder": ("seglib.diagnose.folder", "check_folder"),
    "diagnose": ("seglib.diagnose.checks", "diagnose"),
    "convert-masks": ("seglib.data.convert_masks", "convert_masks"),
    "convert-camvid": ("seglib.data.convert_camvid", "convert_camvid"),
    "grade": ("seglib.course.grade", "grade"),
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
    tensorboard: bool = False,
    diagnose: bool = True,
) -> None:
    """Train a recipe; resumes by itself. On four GPUs: `torchrun --nproc-per-node=4 -m seglib train RECIPE`.

    A folder of one's own is diagnosed first, and not trained on if there is an error. Prints the scores in the end, and
    what settings and curve betray.

    Args:
        recipe: a TOML file, or the name of one in seglib/recipes.
        run_dir: holds the checkpoint and the result; default: a folder with the recipe's name in the folder of runs.
        data_root: the data set's folder, such as VOCdevkit; default: the bundled data, or SEGLIB_DATA.
        packed_root: keep a decoded copy of the data in this folder, and read that.
        weights_root: folder of the initial weights, searched before data/checkpoints; default: weights in SEGLIB_DATA.
        workers: processes that load samples.
        eval_every: iterations between scores on the val list.
        seed: in place of the recipe's.
        tensorboard: write curves for TensorBoard into the run's folder.
        diagnose: look for errors in a folder of one's own first.
    """
    import numpy as np

    from seglib.diagnose import check
    from seglib.files import run_folder, tell
    from seglib.metrics import ConfusionMatrix
    from seglib.predict_files import describe_scores
    from seglib.recipe import Recipe
    from seglib.train import Trainer, distributed
    from seglib.train.results import load_result

    if eval_every is not None and eval_every < 0:
        raise ValueError(f"--eval-every {eval_every}; expected a number of iterations, or leave it out")
    with distributed.join():
        settings = Recipe.load(recipe)
        if seed is not None:
            settings = settings.replace(seed=seed)
        if diagnose and settings.data == "folder" and data_root is not None:
            _diagnose_first(data_root)
        trainer = Trainer(
            settings,
            run_dir or run_folder(settings.name),
            data_root=data_root,
            packed_root=packed_root,
            weights_root=weights_root,
            num_workers=workers,
            eval_every=eval_every,
            tensorboard=tensorboard,
        ).fit()
        if distributed.is_main():
            result = load_result(path := trainer.run_dir / "result.json")
            scores = ConfusionMatrix.from_matrix(np.array(result["confusion"])).compute()
            print(describe_scores(scores, result["classes"], result["data"]["val"]["pixels"]))
            print(f"{path}: these and more scores, the settings, the data and the losses", flush=True)
            report = check(recipe=settings, run=trainer.log, classes=result["classes"])
            if report.findings:
                tell(str(report))
        distributed.end()


def _diagnose_first(data_root: Path) -> None:
    """Prints what is wrong with a folder. Raises ValueError if there is an error."""
    from seglib.diagnose.checks import check_root
    from seglib.files import tell
    from seglib.train import distributed

    report = check_root(data_root, samples=40)
    if distributed.is_main():
        tell(str(report))
    if report.errors:
        names = ", ".join(report.names("error"))
        cure = "mend it as said above, then train; if the folder is right as it is, train with --no-diagnose"
        raise ValueError(f"{data_root}: {names}; {cure}")


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights a network has, and how it is run."""

    source: Literal["torchvision", "smp", "vainf", "jfzhang95", "tf-mobilenet"] | None = None
    """the library that other weights come from."""
    normalisation: Literal["imagenet", "unit"] | None = None  # the pixel convention.
    output_stride: int | None = None  # predict at this output stride.

    def given(self) -> list[str]:
        """Lists the options that the command line has."""
        return [f"--{key.replace('_', '-')}" for key, value in vars(self).items() if value != getattr(type(self), key)]

    def load(self, checkpoint: Path, data: str | None, device: str | None) -> "Run":
        """Loads a run's network, or another library's, whose classes are those of the data set."""
        import torch

        from seglib.data.open import CLASSES
        from seglib.data.transforms import Normalisation
        from seglib.files import find_checkpoint
        from seglib.recipe import Recipe
        from seglib.train.checkpoint import Run, load_run
        from seglib.zoo import load_checkpoint

        checkpoint = find_checkpoint(checkpoint)
        if self.source is None:
            run = load_run(checkpoint)
        elif data is None:
            raise ValueError("other libraries' weights do not say what their classes are: expected --palette or --data")
        else:
            model, recipe = load_checkpoint(checkpoint, self.source), Recipe(data=data)
            if data not in CLASSES:
                raise ValueError(f"{data}: a data set without classes of its own; expected one of {[*CLASSES]}")
            classes, make_palette = CLASSES[data]
            if len(classes) != model.num_classes:
                raise ValueError(f"{data} has {len(classes)} classes; {checkpoint} has {model.num_classes}")
            run = Run(model, recipe, classes, make_palette(), Normalisation.named(recipe.normalisation), [])
        try:
            place = torch.empty(0, device=device or ("cuda" if torch.cuda.is_available() else "cpu")).device
        except (RuntimeError, AssertionError) as error:
            found = str(error).partition("\n")[0]
            raise ValueError(f"--device {device}: expected cpu, or cuda where there is a GPU ({found})") from None
        run.model.to(place, memory_format=torch.channels_last)
        named = self.normalisation and Normalisation.named(self.normalisation, run.recipe.in_channels)
        return run._replace(normalisation=named or run.normalisation)


@dataclass(frozen=True)
class ScoringOptions(NetworkOptions):
    """How a network is scored; by default, as the run's recipe says."""

    scales: tuple[float, ...] = ()  # scales of the input that are averaged.
    flip: bool | None = None  # average with the mirrored image.
    pad_to: int | None = None  # side of a square to put every image into.
    window: tuple[int, int] | None = None
    """height and width of sliding windows; at one scale, an image of any size then needs little memory."""
    overlap: float = 1 / 3  # of windows, a share of their side.
    device: str | None = None  # such as cpu or cuda.

    def change(self, recipe: "Recipe") -> "Scoring":
        """Returns the recipe's scoring with what the command line says otherwise."""
        from seglib.predict import Scoring

        if not all(map(isfinite, self.scales)):
            raise ValueError(f"scales = {self.scales}; expected finite numbers")
        given = {name: getattr(self, name) for name in ("scales", "flip", "output_stride", "window", "pad_to")}
        given = {name: value for name, value in given.items() if value not in (None, ())}
        return replace(Scoring.of(recipe), overlap=self.overlap, **given)


def predict(
    checkpoint: Path,
    images: tuple[Path, ...],
    /,
    *,
    output: Path,
    overlay: float = 0.0,
    areas: Path | None = None,
    crf: bool = False,
    ids: bool = False,
    palette: str | None = None,
    pixel_range: tuple[float, float] | None = None,
    network: ScoringOptions = ScoringOptions(),
) -> None:
    """Write a palette PNG of classes for each image, of its size and name. Scored as the run's recipe says by default.

    Args:
        checkpoint: the folder of a run, its checkpoint.pt, or another library's weights.
        images: image files, and folders, whose sub-folders are kept.
        output: folder for the masks.
        overlay: opacity, 0 to 1, of the masks over the pictures in NAME_overlay.jpg; 0 writes none.
        areas: a CSV file for the pixels of each class, and their share, in each picture.
        crf: refine the network's probabilities by a fully connected CRF, as DeepLab v1 and v2 do.
        ids: write grey PNGs of Cityscapes' ids, as its benchmark wants them.
        palette: the data set that other weights were trained on: its classes and their colours.
        pixel_range: for images of more than 8 bits a channel: the values that become 0 and 255; default: the run's.
    """
    from PIL import Image

    from seglib.data import CITYSCAPES_CLASSES
    from seglib.files import some
    from seglib.predict_files import find_images, write_masks

    targets = find_images(images, output)
    if palette and network.source is None:
        raise ValueError("--palette: only for other libraries' weights; a run's checkpoint says what its classes are")
    run = network.load(checkpoint, palette, network.device)
    if ids and run.classes != CITYSCAPES_CLASSES:
        raise ValueError(f"--ids: ids are Cityscapes'; the network's classes are {some(run.classes)}")
    scoring = network.change(run.recipe)
    if run.recipe.eval_squash:
        seen = "x".join(map(str, run.recipe.eval_squash))
        print(f"{checkpoint}: scored on pictures squashed to {seen}; here each has its own size", file=sys.stderr)
    if scoring.window:
        Image.MAX_IMAGE_PIXELS = None  # Pillow's limit is against too large images by surprise
    more = {"crf": crf, "ids": ids, "overlay": overlay, "areas": areas, "pixel_range": pixel_range or run.pixel_range}
    for mask in write_masks(run.model, targets, run.classes, run.palette, run.normalisation, scoring, **more):
        print(mask)


def score(
    predicted: Path,
    /,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    split: str | None = None,
    output: Path | None = None,
    workers: int = 0,
    network: ScoringOptions = ScoringOptions(),
) -> None:
    """Score a network, or a folder of masks, on any list of a data set. Scored as the run's recipe says by default.

    Args:
        predicted: the folder of a run, its checkpoint.pt, another library's weights, or a folder with a mask NAME.png
            for each image.
        data: data set with the labels, such as voc; default: the run's.
        data_root: its folder; default: the bundled data, or SEGLIB_DATA.
        split: its image list; default: the run's val list, or val.
        output: a JSON file for the scores, the confusion matrix and what was scored.
        workers: processes that load images.
    """
    from seglib.data import build_dataset
    from seglib.data.fingerprint import count_labels, fingerprint
    from seglib.files import some, write_json
    from seglib.predict import evaluate
    from seglib.predict_files import describe_scores, score_masks
    from seglib.recipe import Recipe

    run = scoring = None
    if predicted.is_dir() and not (predicted / "checkpoint.pt").is_file():
        if data is None:
            found = f"{predicted} has no checkpoint.pt, so it is a folder of masks, which do not say what they are of"
            raise ValueError(f"--data: {found}; expected the data set with their labels")
        if given := network.given():
            raise ValueError(f"{', '.join(given)}: for a network; {predicted} is a folder of masks")
        recipe = Recipe(data=data)
    else:
        run = network.load(predicted, data, network.device)
        recipe = run.recipe
        if recipe.reestimate_bn:
            print("batch norm has the training's statistics: reestimate_bn is not repeated", file=sys.stderr)
        scoring = network.change(recipe)
    where = {"name": data or recipe.data, "split": split or recipe.val_split}
    dataset = build_dataset(recipe.replace(data=where["name"]), where["split"], data_root)
    if run is None:
        matrix = score_masks(dataset, predicted)
    elif run.classes != dataset.classes:
        found = f"its classes are {some(dataset.classes)}; those of {predicted} are {some(run.classes)}"
        raise ValueError(f"{where['name']}: {found}")
    else:
        channels, expected = dataset.read_image(dataset.files[0][0]).shape[2], len(run.normalisation.mean)
        if (channels, dataset.pixel_range) != (expected, run.pixel_range):
            found = f"pictures of {channels} channels, pixel_range = {dataset.pixel_range}"
            trained = f"expected {expected}, {run.pixel_range}, as {predicted} was trained on"
            raise ValueError(f"{where['name']}: {found}; {trained}")
        progress = sys.stderr.isatty()
        matrix = evaluate(run.model, dataset, run.normalisation, scoring, num_workers=workers, progress=progress)
    identity, scores = fingerprint(dataset, count_labels(dataset, {})), matrix.compute()
    print(describe_scores(scores, dataset.classes, identity["pixels"]))
    if output is not None:
        found = {"predicted": str(predicted), "scoring": scoring and asdict(scoring), "classes": list(dataset.classes)}
        found |= {"data": {**where, **identity}}
        write_json(output, found | {"scores": scores.to_dict(), "confusion": matrix.matrix.tolist()})


def export(
    checkpoint: Path,
    file: Path,
    /,
    *,
    labels: bool = False,
    palette: str | None = None,
    network: NetworkOptions = NetworkOptions(),
) -> None:
    """Write a network as a file that runs without this package, for images of any size, and compare its output.

    ONNX and .pt2 take (B, 3, H, W) uint8 RGB, as pictures are shown, or as many channels as the run has; and return
    (B, K, H, W) float32 logits.

    Args:
        checkpoint: the folder of a run, its checkpoint.pt, or another library's weights.
        file: NAME.onnx, NAME.pt2 for torch.export, or NAME.safetensors for the weights of a run.
        labels: return (B, H, W) uint8 classes in place of logits.
        palette: the data set that other weights were trained on: its classes and their colours.
    """
    if file.suffix not in (".onnx", ".pt2", ".safetensors"):
        raise ValueError(f"{file}: expected a file NAME.onnx, NAME.pt2 or NAME.safetensors")
    if file.suffix == ".safetensors":
        from seglib.export import save_weights
        from seglib.files import find_checkpoint
        from seglib.train.checkpoint import load_run

        if unused := ["--labels"] * labels + ["--palette"] * bool(palette) + network.given():
            raise ValueError(f"{', '.join(unused)}: not for {file}, which holds a run's weights as they are")
        return save_weights(load_run(find_checkpoint(checkpoint)), file)
    from seglib.export import export_network
    from seglib.predict import Scoring

    run = network.load(checkpoint, palette, "cpu")
    scoring = Scoring.of(run.recipe)
    if stride := network.output_stride or scoring.output_stride:
        run.model.set_output_stride(stride)
    different = export_network(
        run.model, file, run.classes, run.palette, run.normalisation, Scoring(continued=scoring.continued), labels,
        run.pixel_range,
    )  # fmt: skip
    print(f"{file}: differs from PyTorch by at most {different:.1g} in a logit")
    if scoring != Scoring(output_stride=scoring.output_stride, continued=scoring.continued):
        print(f"{file}: one view of a whole image; the recipe is scored by {scoring}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command that the arguments name; an error that a user can mend ends it with one line."""
    try:
        import tyro
    except ModuleNotFoundError:
        cure = "expected the course's: .venv/bin/python, or `source .venv/bin/activate` first"
        raise SystemExit(f"error: {sys.executable}: a Python without the package tyro; {cure}") from None

    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in COMMANDS:
        if name not in ("-h", "--help"):
            print(f"no command {name!r}", file=sys.stderr)
        print("usage: python -m seglib COMMAND ...; with --help after a command for its options\n")
        for known in COMMANDS:
            print(f"  {known:17} {(_load(known).__doc__ or '').splitlines()[0]}")
        return int(name not in ("-h", "--help"))
    home = os.path.expanduser("~")  # which a user without a home keeps; a shell leaves ~ as it is in --output=~/masks
    rest = [re.sub(r"^(--[\w-]+=)?~(?=[/\\]|$)", lambda found: (found[1] or "") + home, each) for each in rest]
    try:
        return tyro.cli(_load(name), prog=f"python -m seglib {name}", args=rest, config=(tyro.conf.OmitArgPrefixes,))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        mendable = isinstance(error, OSError | ValueError | FloatingPointError)
        if not mendable and type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        from seglib.diagnose.report import explain_message
        from seglib.files import HAS_COURSE, PROJECT

        message = str(error)  # of a process that loads samples: that process's traceback, and at its end the error
        message = message.splitlines()[-1] if message.startswith("Caught ") else message
        if not HAS_COURSE and any(part in message for part in (str(PROJECT / "data"), "SEGLIB_DATA")):
            message += "; seglib was installed without the course's folder: clone that, and `pip install -e .` in it"
        raise SystemExit(f"error: {explain_message(message)}") from error


def _load(name: str) -> Callable[..., Any]:
    module, function = COMMANDS[name]
    return globals()[function] if module == "seglib.__main__" else getattr(import_module(module), function)


if __name__ == "__main__":
    raise SystemExit(main())
