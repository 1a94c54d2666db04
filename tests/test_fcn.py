"""FCN: aligned transposed convolutions, the skips, and VGG16's fully connected layers as convolutions."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import meta, randomise_norms
from torch import Tensor
from torch.nn import functional as F

from seglib.models import (
    FCN,
    VGG16,
    BilinearUpsampling,
    ResNet,
    convolutional_vgg16,
    load_imagenet_weights,
)


def small(stride: int = 8, kind: str = "resnet") -> FCN:
    return FCN(4, ResNet(18, 32, width=8) if kind == "resnet" else VGG16(width=4), stride)


@pytest.mark.parametrize("learned", [True, False])
@settings(max_examples=20)
@given(st.sampled_from([2, 4, 8, 16, 32]), st.integers(1, 5), st.integers(2, 5), st.integers(0, 31))
def test_between_cells_it_is_torchs_interpolation(learned: bool, factor: int, h: int, w: int, cut: int) -> None:
    """Half-pixel centres, at the edges too; a size below the whole is its upper left part."""
    x = torch.randn(2, 3, h, w)
    whole = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    size = (h * factor, w * factor - min(cut, factor - 1))
    result = BilinearUpsampling(3, factor, learned)(x, size)
    torch.testing.assert_close(result, whole[..., : size[0], : size[1]])


@settings(max_examples=20)
@given(st.sampled_from([2, 4, 8, 16, 32]), st.integers(2, 5), st.integers(2, 5))
def test_between_points_it_is_torchs_interpolation_from_corner_to_corner(factor: int, h: int, w: int) -> None:
    """Beyond the last point the map continues."""
    x, upsample = torch.randn(2, 3, h, w), BilinearUpsampling(3, factor, cell_centred=False)
    size = ((h - 1) * factor + 1, (w - 1) * factor + 1)
    torch.testing.assert_close(upsample(x, size), F.interpolate(x, size=size, mode="bilinear", align_corners=True))
    whole = upsample(x, (h * factor, w * factor))
    corner = whole[..., size[0] - 1 :, size[1] - 1 :]
    torch.testing.assert_close(corner, x[..., -1:, -1:].expand_as(corner))


@pytest.mark.parametrize("kind", ["resnet", "vgg"])
def test_skips_by_hand(kind: str) -> None:
    """FCN-8s = up8(up2(up2(score32) + score16) + score8), each from the right map."""
    model = randomise_norms(small(8, kind)).eval()
    corners = kind == "resnet"
    x = torch.randn(2, 3, 65, 97) if corners else torch.randn(2, 3, 64, 96)

    def up(y: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(y, size=like.shape[2:], mode="bilinear", align_corners=corners)

    with torch.inference_mode():
        (eight, sixteen), thirty_two = model.backbone(x, taps=(8, 16))
        assert [m.shape[3] for m in (eight, sixteen, thirty_two)] == ([13, 7, 4] if corners else [12, 6, 3])
        scores = [
            F.conv2d(m, s.weight, s.bias) for m, s in zip((thirty_two, sixteen, eight), model.scores, strict=True)
        ]
        expected = up(up(up(scores[0], sixteen) + scores[1], eight) + scores[2], x)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_scores_start_at_zero_and_the_last_upsampling_stays_bilinear() -> None:
    model = small().train()
    assert not model(torch.randn(1, 3, 65, 65)).any()
    assert all(upsampling.conv.weight.requires_grad for upsampling in model.upsamplings)
    assert not model.last_upsampling.conv.weight.requires_grad and len(model.upsamplings) == 2


def test_a_coarser_nets_weights_fit_a_finer_one() -> None:
    """The paper's staged training: the finer net starts as the coarser one, but for its two-step interpolation."""
    coarse, fine = randomise_norms(small(32)).eval(), small(16).eval()
    names = set(coarse.state_dict()) - {"last_upsampling.conv.weight"}
    found = fine.load_state_dict({name: coarse.state_dict()[name] for name in names}, strict=False)
    assert not found.unexpected_keys
    x = torch.randn(1, 3, 65, 65)
    with torch.inference_mode():
        torch.testing.assert_close(fine(x)[..., ::32, ::32], coarse(x)[..., ::32, ::32], rtol=1e-4, atol=1e-4)


def test_vgg16_computes_what_torchvisions_does() -> None:
    """fc7 at the middle of a 224x224 image is torchvision's last layer but one; unpadded it is all there is."""
    theirs = torchvision.models.vgg16(weights=None).eval()
    ours = meta(VGG16).to_empty(device="cpu")
    assert sum(p.numel() for p in ours.parameters()) == 134_260_544  # VGG16's 138,357,544 less its last layer
    load_imagenet_weights(ours.eval(), theirs.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        features = theirs.avgpool(theirs.features(x)).flatten(1)
        expected = theirs.classifier[:-1](features)
        torch.testing.assert_close(ours(x).high[:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)
        ours.fc6.padding = (0, 0)
        assert ours(x).high.shape == (1, 4096, 1, 1)
        torch.testing.assert_close(ours(x).high.flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_vgg16_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"torchvision's layout; \['classifier.0.weight'"):
        convolutional_vgg16({"conv1.weight": torch.zeros(1)})
    state = VGG16(width=4).state_dict()
    other = {key: value for key, value in state.items() if key.startswith("features.")}
    for name in ("classifier.0", "classifier.3"):
        other |= {f"{name}.weight": torch.zeros(256, 32 * 49), f"{name}.bias": torch.zeros(256)}
    with pytest.raises(ValueError, match=r"mine\.pth do not fit VGG16: 1 of another shape: fc7\.weight"):
        load_imagenet_weights(VGG16(width=4), other, "mine.pth")
