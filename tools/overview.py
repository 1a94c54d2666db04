"""Draws the README's picture, docs/overview.png, from a finished run of the toy recipe.

python tools/overview.py RUN_DIR
"""

import sys
from pathlib import Path

from seglib.course.figures import png, show_samples
from seglib.data.open import build_dataset, normalisation
from seglib.models.build import build_model
from seglib.predict import predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_state

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "overview.png"
IMAGES = (0, 40)  # of the val list


def main(run_dir: str) -> None:
    found = load_state(Path(run_dir) / "checkpoint.pt")
    if found is None:
        sys.exit(
            f"{run_dir}: holds no checkpoint.pt; train one with python -m seglib train toy_voc --run-dir {run_dir}"
        )
    state, _ = found
    recipe = Recipe.from_dict(state["recipe"])
    val = build_dataset(recipe, recipe.val_split)
    model = build_model(recipe.replace(weights=""), val.num_classes)
    model.load_state_dict(state["model"])
    model.eval()
    samples = [val.read(index) for index in IMAGES]
    predictions = [
        predict_image(model, image, normalisation(recipe), recipe.eval_scales, recipe.eval_flip) for image, _ in samples
    ]
    figure = show_samples(
        [image for image, _ in samples],
        [label for _, label in samples],
        predictions,
        classes=val.classes,
        palette=val.palette,
    )
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(png(figure, alt="overview").data)


if __name__ == "__main__":
    main(*sys.argv[1:2] or sys.exit(__doc__))
