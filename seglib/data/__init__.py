"""Data sets, joint transforms, and the order of samples."""

from seglib.data.dataset import SegmentationDataset, sample_rng
from seglib.data.sampling import EpochBatches, make_loader
from seglib.data.toy import TOY_VOC_CLASSES, ToyVOC
from seglib.data.voc import VOC_CLASSES, VOCSegmentation, voc_palette

__all__ = [
    "TOY_VOC_CLASSES",
    "VOC_CLASSES",
    "EpochBatches",
    "SegmentationDataset",
    "ToyVOC",
    "VOCSegmentation",
    "make_loader",
    "sample_rng",
    "voc_palette",
]
