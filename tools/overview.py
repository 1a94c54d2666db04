"""Draws the README's picture, docs/overview.png: photographs of data/photographs, and what a bundled network predicts.

python tools/overview.py
"""

from seglib.course.figures import png, show_overlays
from seglib.data import FolderSegmentation
from seglib.data.transforms import UNIT
from seglib.files import PROJECT
from seglib.predict import Scoring, predict_image
from seglib.zoo import load_checkpoint

PICTURE = PROJECT / "docs" / "overview.png"
SHOWN = ("motorcycle", "cat")


def main() -> None:
    """Command line."""
    network = load_checkpoint(PROJECT / "data" / "checkpoints" / "deeplabv3_mobilenet_v2_voc.pth", "tf-mobilenet")
    photographs = FolderSegmentation(PROJECT / "data" / "photographs", "val")
    images = {name: photographs.read(photographs.names.index(name))[0] for name in SHOWN}
    panels = {name: (image, predict_image(network, image, UNIT, Scoring(pad_to=513))) for name, image in images.items()}
    figure = show_overlays(panels, photographs.classes, photographs.palette)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(png(figure, alt="overview").data)


if __name__ == "__main__":
    main()
