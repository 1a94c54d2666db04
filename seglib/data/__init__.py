"""Data sets, joint transforms, and the order of samples."""

from seglib.data.base import VOID, SegmentationDataset, sample_rng
from seglib.data.batches import EpochBatches, make_loader
from seglib.data.cache import PackedDataset, pack
from seglib.data.camvid import CAMVID_CLASSES, CamVid, camvid_palette
from seglib.data.cityscapes import CITYSCAPES_CLASSES, CityscapesSegmentation, cityscapes_palette
from seglib.data.folder import FolderSegmentation
from seglib.data.open import build_dataset
from seglib.data.toy import TOY_MINI_CLASSES, TOY_VOC_CLASSES, ToyCityscapes, ToyMini, ToyVOC
from seglib.data.voc import VOC_CLASSES, VOCSegmentation, voc_palette
from seglib.metrics.cityscapes_labels import train_ids_to_ids

__all__ = [
    "CAMVID_CLASSES", "CITYSCAPES_CLASSES", "TOY_MINI_CLASSES", "TOY_VOC_CLASSES", "VOC_CLASSES", "VOID",
    "CamVid", "CityscapesSegmentation", "EpochBatches", "FolderSegmentation", "PackedDataset", "SegmentationDataset",
    "ToyCityscapes", "ToyMini", "ToyVOC", "VOCSegmentation", "build_dataset", "camvid_palette", "cityscapes_palette",
    "make_loader", "pack", "sample_rng", "train_ids_to_ids", "voc_palette",
]  # fmt: skip
