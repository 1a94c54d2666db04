from seglib.cityscapes_labels import CITYSCAPES_LABELS, CityscapesLabel, train_ids_to_ids

__all__ = ["CITYSCAPES_LABELS", "CityscapesLabel", "train_ids_to_ids"]
