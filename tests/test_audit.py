"""The audit of live models, and the table of documented ones."""

from itertools import product

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from networks import meta
from peer_networks import Weights, jfzhang95, vainf
from refusal import refused

from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet
from seglib.zoo import load_checkpoint
from seglib.zoo.audit import PAPERS, PEERS, Dilations, audit, set_dilations

BY_NAME = {peer.name: peer for peer in PEERS}
segmentation = torchvision.models.segmentation


def test_torchvision() -> None:
    documented = BY_NAME["torchvision"]
    found = audit(meta(segmentation.deeplabv3_resnet50, weights=None, weights_backbone=None, aux_loss=True))
    assert found.output_stride == 8
    assert found.dilations == documented.dilations[8] == Dilations((1, 2, 2, 2, 2, 2), (2, 4, 4), (12, 24, 36))
    assert found.align_corners is documented.align_corners is False
    assert found.decoder_inputs == ()
    mobile = audit(meta(segmentation.deeplabv3_mobilenet_v3_large, weights=None, weights_backbone=None))
    assert (mobile.output_stride, mobile.dilations.atrous_rates) == (16, (12, 24, 36))


@pytest.mark.parametrize("output_stride", [16, 8])
def test_segmentation_models_pytorch(output_stride: int) -> None:
    documented = BY_NAME["segmentation_models.pytorch"]
    theirs = meta(smp.DeepLabV3Plus, "resnet50", encoder_weights=None, encoder_output_stride=output_stride)
    found = audit(theirs)
    assert (found.output_stride, found.dilations) == (output_stride, documented.dilations[output_stride])
    assert found.align_corners is documented.align_corners is True
    assert found.decoder_inputs == (256, 48)


@pytest.mark.parametrize("output_stride", [16, 8])
def test_ours_is_the_papers(output_stride: int) -> None:
    ours = meta(DeepLabV3Plus, 3, ResNet(50, output_stride), variant=HeadVariant(decoder_order="low_first"))
    found = audit(ours.train())
    assert (found.output_stride, found.dilations) == (output_stride, PAPERS.dilations[output_stride])
    assert found.align_corners is None
    assert found.decoder_inputs == (48, 256)
    assert ours.training
    for resize, corners in (("centred", False), ("stretched", True)):
        ours.variant = HeadVariant(resize=resize)
        assert audit(ours).align_corners is corners


def test_a_stem_of_stride_1_keeps_the_nominal_stride() -> None:
    ours = meta(DeepLabV3, 3, ResNet(50, 16, stem="3x3", stem_stride=1))
    assert audit(ours).output_stride == 16 and audit(ours).dilations.atrous_rates == (6, 12, 18)


def test_documented_profiles_are_those_that_are_loaded() -> None:
    """Two tables, one for the loader and one for the reader, that must not drift apart."""
    x = torch.zeros(1, 3, 33, 33)
    weights = {"vainf": Weights(), "jfzhang95": Weights()}
    with torch.inference_mode():
        vainf(weights["vainf"], x, 2, 16, True, "resnet50")
        jfzhang95(weights["jfzhang95"], x, 2, 16, "resnet50")
    names = {"vainf": "VainF/DeepLabV3Plus-Pytorch", "jfzhang95": "jfzhang95/pytorch-deeplab-xception"}
    for (source, name), output_stride in product(names.items(), (16, 8)):
        model = load_checkpoint(dict(weights[source]), source, output_stride)
        documented, variant = BY_NAME[name], model.variant
        assert audit(model).dilations == documented.dilations[output_stride]
        assert audit(model).align_corners is documented.align_corners is (variant.resize == "stretched")
        assert (variant.decoder_order, variant.aspp_order) == (documented.decoder_order, documented.aspp_order)
        assert variant.decoder_depth == documented.decoder_depth


def test_who_follows_the_papers() -> None:
    following = {peer.name for peer in PEERS if peer.follows_the_papers(16)}
    assert following == {
        "the papers",
        "jfzhang95/pytorch-deeplab-xception",
        "kazuto1011/deeplab-pytorch",
        "detectron2 DeepLab",
        "sthalles/deeplab_v3",
    }
    assert BY_NAME["torchvision"].follows_the_papers(16) is None
    assert BY_NAME["torchvision"].follows_the_papers(8) is False


def test_dilations_can_be_exchanged() -> None:
    backbone = ResNet(50, 16, (1, 1, 1), width=8, stride_unit="first")
    model = DeepLabV3(3, backbone, channels=8).eval()
    for peer in PEERS:
        for output_stride, dilations in peer.dilations.items():
            model.set_output_stride(output_stride)
            set_dilations(model, dilations)
            found = audit(model)
            assert (found.output_stride, found.dilations) == (output_stride, dilations)
    wrong, fcn = Dilations((1,) * 6, (1, 2), (6, 12, 18)), meta(segmentation.fcn_resnet50, weights_backbone=None)
    refused(r"dilations \(1, 2\); expected 3, one per unit", set_dilations, model, wrong)
    refused("FCN: expected a DeepLab, found no atrous branches", audit, fcn)
