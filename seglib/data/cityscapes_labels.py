"""The label table of Cityscapes: names, ids, trainIds, colours, and which classes have instances or are evaluated."""

from typing import NamedTuple


class CityscapesLabel(NamedTuple):
    """One row of the table; `train_id` 255 = not trained on, `ignored` = left out of the evaluation."""

    name: str
    id: int
    train_id: int
    category: str
    has_instances: bool
    ignored: bool
    colour: tuple[int, int, int]


CITYSCAPES_LABELS = (
    CityscapesLabel("unlabeled", 0, 255, "void", False, True, (0, 0, 0)),
    CityscapesLabel("ego vehicle", 1, 255, "void", False, True, (0, 0, 0)),
    CityscapesLabel("rectification border", 2, 255, "void", False, True, (0, 0, 0)),
    CityscapesLabel("out of roi", 3, 255, "void", False, True, (0, 0, 0)),
    CityscapesLabel("static", 4, 255, "void", False, True, (0, 0, 0)),
    CityscapesLabel("dynamic", 5, 255, "void", False, True, (111, 74, 0)),
    CityscapesLabel("ground", 6, 255, "void", False, True, (81, 0, 81)),
    CityscapesLabel("road", 7, 0, "flat", False, False, (128, 64, 128)),
    CityscapesLabel("sidewalk", 8, 1, "flat", False, False, (244, 35, 232)),
    CityscapesLabel("parking", 9, 255, "flat", False, True, (250, 170, 160)),
    CityscapesLabel("rail track", 10, 255, "flat", False, True, (230, 150, 140)),
    CityscapesLabel("building", 11, 2, "construction", False, False, (70, 70, 70)),
    CityscapesLabel("wall", 12, 3, "construction", False, False, (102, 102, 156)),
    CityscapesLabel("fence", 13, 4, "construction", False, False, (190, 153, 153)),
    CityscapesLabel("guard rail", 14, 255, "construction", False, True, (180, 165, 180)),
    CityscapesLabel("bridge", 15, 255, "construction", False, True, (150, 100, 100)),
    CityscapesLabel("tunnel", 16, 255, "construction", False, True, (150, 120, 90)),
    CityscapesLabel("pole", 17, 5, "object", False, False, (153, 153, 153)),
    CityscapesLabel("polegroup", 18, 255, "object", False, True, (153, 153, 153)),
    CityscapesLabel("traffic light", 19, 6, "object", False, False, (250, 170, 30)),
    CityscapesLabel("traffic sign", 20, 7, "object", False, False, (220, 220, 0)),
    CityscapesLabel("vegetation", 21, 8, "nature", False, False, (107, 142, 35)),
    CityscapesLabel("terrain", 22, 9, "nature", False, False, (152, 251, 152)),
    CityscapesLabel("sky", 23, 10, "sky", False, False, (70, 130, 180)),
    CityscapesLabel("person", 24, 11, "human", True, False, (220, 20, 60)),
    CityscapesLabel("rider", 25, 12, "human", True, False, (255, 0, 0)),
    CityscapesLabel("car", 26, 13, "vehicle", True, False, (0, 0, 142)),
    CityscapesLabel("truck", 27, 14, "vehicle", True, False, (0, 0, 70)),
    CityscapesLabel("bus", 28, 15, "vehicle", True, False, (0, 60, 100)),
    CityscapesLabel("caravan", 29, 255, "vehicle", True, True, (0, 0, 90)),
    CityscapesLabel("trailer", 30, 255, "vehicle", True, True, (0, 0, 110)),
    CityscapesLabel("train", 31, 16, "vehicle", True, False, (0, 80, 100)),
    CityscapesLabel("motorcycle", 32, 17, "vehicle", True, False, (0, 0, 230)),
    CityscapesLabel("bicycle", 33, 18, "vehicle", True, False, (119, 11, 32)),
    CityscapesLabel("license plate", -1, -1, "vehicle", False, True, (0, 0, 142)),
)
