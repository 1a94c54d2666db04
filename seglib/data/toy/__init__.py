"""The two bundled data sets: the painter that makes them, and their readers.

`python -m seglib.data.toy voc ROOT` and `python -m seglib.data.toy cityscapes ROOT` write larger ones.
"""

from seglib.data.toy.reader import ToyCityscapes, ToyVOC
from seglib.data.toy.street_scenes import StreetScene, street_scene
from seglib.data.toy.voc_scenes import TOY_VOC_CLASSES, VOCScene, voc_scene
from seglib.data.toy.write import (
    generate_toy_cityscapes,
    generate_toy_voc,
    toy_cityscapes_scene,
    toy_voc_scene,
)

__all__ = [
    "TOY_VOC_CLASSES",
    "StreetScene",
    "ToyCityscapes",
    "ToyVOC",
    "VOCScene",
    "generate_toy_cityscapes",
    "generate_toy_voc",
    "street_scene",
    "toy_cityscapes_scene",
    "toy_voc_scene",
    "voc_scene",
]
