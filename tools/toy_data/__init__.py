"""The painter of the bundled data sets.

`python -m tools.toy_data voc ROOT`, and the same with `mini` or `cityscapes`, write larger ones; `raw` writes the small
one that nobody has put in order yet.
"""

from tools.toy_data.mini_scenes import MiniScene, mini_scene
from tools.toy_data.street_scenes import StreetScene, street_scene
from tools.toy_data.voc_scenes import VOCScene, voc_scene
from tools.toy_data.write import (
    generate_toy_cityscapes,
    generate_toy_mini,
    generate_toy_voc,
    toy_cityscapes_scene,
    toy_mini_scene,
    toy_voc_scene,
)

__all__ = [
    "MiniScene",
    "StreetScene",
    "VOCScene",
    "generate_toy_cityscapes",
    "generate_toy_mini",
    "generate_toy_voc",
    "mini_scene",
    "street_scene",
    "toy_cityscapes_scene",
    "toy_mini_scene",
    "toy_voc_scene",
    "voc_scene",
]
