"""Draws the README's picture, docs/overview.png, from a finished run of the toy recipe.

python tools/overview.py RUN_DIR
"""

import sys
from pathlib import Path

from seglib.course.figures import png, show_samples
from seglib.data import build_dataset
from seglib.data.transforms import Normalisation
from seglib.files import PROJECT
from seglib.predict import Scoring, predict_image
from seglib.train.checkpoint import load_run

PICTURE = PROJECT / "docs" / "overview.png"
IMAGES = (0, 40)  # of the val list


def main(run_dir: str) -> None:
    checkpoint = Path(run_dir) / "checkpoint.pt"
    if not checkpoint.exists():
        sys.exit(f"{checkpoint}: no such file; train one with python -m seglib train toy_voc --run-dir {run_dir}")
    model, recipe, *_ = load_run(checkpoint)
    val = build_dataset(recipe, recipe.val_split)
    images, labels = zip(*(val.read(index) for index in IMAGES), strict=True)
    convention, scoring = Normalisation.named(recipe.normalisation), Scoring.of(recipe)
    predictions = [predict_image(model, image, convention, scoring) for image in images]
    figure = show_samples(images, labels, predictions, classes=val.classes, palette=val.palette)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(png(figure, alt="overview").data)


if __name__ == "__main__":
    main(*sys.argv[1:2] or sys.exit(__doc__))
