"""Published numbers: spot checks against the papers, consistency between their tables, and the accessor's errors."""

from collections import Counter
from decimal import Decimal
from functools import partial

import pytest

from seglib.studies.papers import cite, load_papers, published

v3, plus = partial(published, "deeplabv3"), partial(published, "deeplabv3plus")
TABLES = [
    pytest.param(paper, name, table, id=f"{paper}-{name}")
    for paper, entry in load_papers().items()
    for name, table in entry["tables"].items()
]

# Typed from the papers, not from the file.
SPOT_CHECKS = [
    (75.18, "deeplabv3", 1, {"output_stride": 8}),
    (64.81, "deeplabv3", 2, {"backbone": "ResNet-50", "last_block": 4}),
    (74.62, "deeplabv3", 3, {"multi_grid": (2, 2, 2), "last_block": 7}),
    (78.93, "deeplabv3", 4, {"output_stride": 8, "multi_scale": True, "flip": False}),
    (76.58, "deeplabv3", 5, {"multi_grid": (1, 2, 4), "atrous_rates": (6, 12, 18), "image_pooling": False}),
    (82.70, "deeplabv3", 6, {"coco": True}),
    (86.9, "deeplabv3", 7, {"model": "DeepLabv3-JFT"}),
    (67.22, "deeplabv3", 8, {"crop_size": 321}),
    (64.43, "deeplabv3", 9, {"batch_size": 4}),
    (75.75, "deeplabv3", 10, {"train_output_stride": 32, "output_stride": 8}),
    (76.69, "deeplabv3", 11, {"replicas": 32}),
    (79.30, "deeplabv3", 12, {"flip": True}),
    (81.3, "deeplabv3", 13, {}),
    (78.21, "deeplabv3plus", 1, {"decoder_channels": 48}),
    (78.61, "deeplabv3plus", 2, {"low_level": "Conv2+Conv3"}),
    (80.57, "deeplabv3plus", 3, {"output_stride": 8, "decoder": True, "flip": True}),
    (84.56, "deeplabv3plus", 5, {"output_stride": 8, "jft": True, "flip": True}),
    (87.8, "deeplabv3plus", 6, {"model": "DeepLabv3+ (Xception)"}),
    (79.55, "deeplabv3plus", "7(a)", {"backbone": "X-71"}),
    (82.1, "deeplabv3plus", "7(b)", {"model": "DeepLabv3+"}),
    (56.0, "fcn", 1, {"model": "FCN-VGG16"}),
    (62.7, "fcn", 2, {"model": "FCN-8s"}),
    (62.2, "fcn", 3, {"year": 2012}),
    (92.8, "fcn", "Appendix A", {"factor": 16}),
    (65.4, "fcn", "Reference weights", {"model": "FCN-8s at once"}),
    (64.21, "deeplabv1", "1(a)", {"model": "DeepLab-MSc-LargeFOV"}),
    (71.6, "deeplabv1", "Test set", {"model": "DeepLab-MSc-CRF-LargeFOV"}),
    (63.41, "deeplabv2", 1, {"kernel_size": 4, "atrous_rate": 8}),
    (64.71, "deeplabv2", 2, {"batch_size": 10, "iterations": 10000}),
    (68.96, "deeplabv2", 3, {"model": "ASPP-L"}),
    (77.69, "deeplabv2", 4, {"step": "CRF"}),
    (70.4, "deeplabv2", 9, {"step": "ASPP"}),
    (51.1, "segformer", 2, {"backbone": "MiT-B4"}),
    (45.5, "maskformer", 1, {"backbone": "R101c", "model": "DeepLabV3+"}),
    (17.4, "maskformer", 2, {"classes": 847}),
    (47.2, "mask2former", 3, {"backbone": "R50"}),
    (58, "course_report", "Sections 2.6 to 2.8", {"epochs": "70-90"}),
    (76.6, "reimplementation_report", "Section 1.4", {"backbone": "ResNet-50"}),
    (55.85, "reimplementation_report", "Section 3", {"scored": "during training, epoch 143"}),
    # other columns than the mIoU
    (74.20, "deeplabv3plus", 3, {"value": "mult_adds", "output_stride": 32, "decoder": True}),
    (6.02, "deeplabv3plus", 4, {"value": "top5_error", "backbone": "ResNet-101"}),
    (4.8, "deeplabv3plus", "Figure 5(a)", {"value": "miou_gain", "backbone": "ResNet-101"}),
    (0.06, "deeplabv3", 11, {"value": "relative_time", "replicas": 16}),
    (83.0, "fcn", 2, {"value": "fwiou", "model": "FCN-16s"}),
    (13.2, "segformer", 5, {"value": "gaussian_noise", "model": "DeepLabv3+"}),
    (50.3, "segformer", "1(a)", {"backbone": "MiT-B4"}),
    (68.70, "deeplabv1", "1(a)", {"value": "miou_crf", "model": "DeepLab-MSc-LargeFOV"}),
]


@pytest.mark.parametrize(("number", "paper", "table", "row"), SPOT_CHECKS)
def test_number_is_the_papers(number: float, paper: str, table: int | str, row: dict) -> None:
    assert published(paper, table, **row) == number


@pytest.mark.parametrize(("paper", "name", "table"), TABLES)
def test_table_is_well_formed(paper: str, name: str, table: dict) -> None:
    """Rows share their columns; each is reached by its conditions alone; every value is written with its decimals."""
    rows = table["rows"]
    assert table["caption"] and table["protocol"]
    assert all(set(row) == set(rows[0]) for row in rows)
    values = [column for column, entry in rows[0].items() if isinstance(entry, Decimal)]
    assert values
    for column in values:
        assert all(isinstance(row[column], Decimal) for row in rows)
        if column in ("miou", "mult_adds"):
            digits = {-row[column].as_tuple().exponent for row in rows}
            assert len(digits) == 1 or (paper, name) == ("deeplabv2", "9"), f"{column} mixes numbers of decimals"
    for row in rows:
        conditions = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k not in values}
        for column in values:
            assert published(paper, name, value=column, **conditions) == float(row[column])


def test_number_of_published_values() -> None:
    """Cells counted by hand in the papers: a row lost or doubled by an edit shows here."""
    rows = [
        (paper, row) for paper, p in load_papers().items() for table in p["tables"].values() for row in table["rows"]
    ]
    cells = Counter(paper for paper, row in rows for entry in row.values() if isinstance(entry, Decimal))
    assert cells == {
        "deeplabv3": 6 + 8 + 20 + 4 + 5 + 5 + 2 + 4 + 4 + 6 + 12 + 4 + 1,
        "deeplabv3plus": 5 + 6 + 28 + 4 + 48 + 2 + 4 + 2 + 2,
        "fcn": 3 + 16 + 2 + 6 + 6,
        "deeplabv1": 10 + 2,
        "deeplabv2": 8 + 5 + 6 + 7 + 9 + 1 + 1,
        "segformer": 6 * 2 + 5 * 5 + 2 * 5,
        "maskformer": 6 * 4 + 4 * 2,
        "mask2former": 3 * 2,
        "course_report": 3,
        "reimplementation_report": 1 + 3,
    }


def test_deeplabv3_tables_agree() -> None:
    assert v3(2, backbone="ResNet-50", last_block=7) == v3(1, output_stride=16)
    for block in (4, 5, 6, 7):
        assert v3(2, backbone="ResNet-101", last_block=block) == v3(3, multi_grid=(1, 1, 1), last_block=block)
    assert v3(4, output_stride=16) == v3(3, multi_grid=(1, 2, 1), last_block=7)
    best = v3(5, image_pooling=True)
    assert best == v3(6, output_stride=16) == v3(9, batch_size=16) == v3(11, replicas=1)
    assert best == v3(8, crop_size=513, upsample_logits=True, train_batch_norm=True)
    assert best == v3(10, train_output_stride=16, output_stride=16)
    assert v3(6, output_stride=8, multi_scale=False) == v3(10, train_output_stride=16, output_stride=8)


def test_deeplabv3plus_agrees_with_itself_and_with_v3() -> None:
    for row in ({"output_stride": 16}, {"output_stride": 8, "multi_scale": False}, {"output_stride": 8, "flip": True}):
        assert plus(3, train_output_stride=16, decoder=False, **row) == v3(6, coco=False, **row)
    assert plus(1, decoder_channels=48) == plus(2, low_level="Conv2", structure="[3x3, 256]")
    decoder = plus(3, train_output_stride=16, output_stride=16, decoder=True, multi_scale=False)
    assert plus(2, structure="[3x3, 256] x 2") == decoder
    assert plus("7(b)", model="DeepLabv3") == v3(13)


def test_crf_gains_printed_in_the_text() -> None:
    gains = {"DeepLab": 3.94, "DeepLab-MSc": 3.91, "DeepLab-7x7": 3.26, "DeepLab-LargeFOV": 5.39}
    for model, gain in {**gains, "DeepLab-MSc-LargeFOV": 4.49}.items():
        before, after = (published("deeplabv1", "1(a)", value=v, model=model) for v in ("miou", "miou_crf"))
        assert after - before == pytest.approx(gain)


def test_cite_prints_the_digits_of_the_paper() -> None:
    assert cite("deeplabv3", 3, multi_grid=(2, 2, 2), last_block=5) == "74.30 (DeepLabv3, Table 3)"
    assert cite("deeplabv3", 9, batch_size=16) == "77.21 (DeepLabv3, Table 9)"
    gain = cite("deeplabv3plus", "Figure 5(a)", value="miou_gain", backbone="Xception")
    assert gain == "5.4 (DeepLabv3+, Figure 5(a))"
    whole = cite("course_report", "Sections 2.6 to 2.8", epochs="50-70")
    assert whole == "56 (course report, Sections 2.6 to 2.8)", "printed without decimals, as there"


def test_errors_name_what_there_is() -> None:
    for arguments, row, said in (
        (("deeplabv4", 1), {}, "there are: deeplabv3, deeplabv3plus, fcn"),
        (("fcn", 9), {}, "no table 9; there are: 1, 2, 3"),
        (("fcn", 2), {"value": "iou", "model": "FCN-8s"}, "pixel_accuracy, mean_accuracy, miou, fwiou"),
        (("deeplabv3", 9), {"batch": 16}, "no condition batch; there are: batch_size"),
        (("deeplabv3", 9), {"miou": 77.21}, "no condition miou"),
        (("deeplabv3", 9), {"batch_size": 32}, "found 0 of: batch_size=4; batch_size=8"),
        (("deeplabv3", 10), {"output_stride": 8}, "found 3 of: train_output_stride=8"),
    ):
        with pytest.raises(KeyError) as error:
            published(*arguments, **row)
        assert said in str(error.value)
