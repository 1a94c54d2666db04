"""The painter of the two bundled data sets.

`python -m tools.toy_data voc ROOT` and `python -m tools.toy_data cityscapes ROOT` write larger ones.
"""

from tools.toy_data.street_scenes import StreetScene, street_scene
from tools.toy_data.voc_scenes import VOCScene, voc_scene
from tools.toy_data.write import generate_toy_cityscapes, generate_toy_voc, toy_cityscapes_scene, toy_voc_scene

__all__ = [
    "StreetScene",
    "VOCScene",
    "generate_toy_cityscapes",
    "generate_toy_voc",
    "street_scene",
    "toy_cityscapes_scene",
    "toy_voc_scene",
    "voc_scene",
]
