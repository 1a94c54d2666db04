"""Usual wrong answers to the exercises of notebook 07."""

IIOU = """
def iiou_of(label_ids, prediction_ids, instance_ids, class_id, mean_size):
    hit = miss = 0.0
    for instance in np.unique(instance_ids[label_ids == class_id]):
        mask = instance_ids == instance
        {skip}
        weight = {weight}
        hit += weight * (prediction_ids[mask] == class_id).sum()
        miss += weight * (prediction_ids[mask] != class_id).sum()
    wrong = ((prediction_ids == class_id) & (label_ids != class_id){scored}).sum()
    return hit / (hit + miss + {wrong})
"""
SINGLE = "if instance < 1000: continue"
RIGHT = {
    "skip": SINGLE,
    "weight": "mean_size / mask.sum()",
    "scored": " & np.isin(label_ids, SCORED)",
    "wrong": "wrong",
}
BOX = """
def squashed_box(box, frame, target):
    down, across = target[0] / frame[0], target[1] / frame[1]
    return {result}
"""

WRONG = {
    "7.1": [
        "def submission_ids(prediction):\n    return prediction.copy()",
        """
def submission_ids(prediction):
    table = np.full(256, 255, np.uint8)
    for row in CITYSCAPES_LABELS:
        if row.id >= 0:
            table[row.id] = row.train_id
    return table[prediction]
""",
        """
def submission_ids(prediction):
    ids = prediction.copy()
    for row in CITYSCAPES_LABELS:
        if not row.ignored:
            ids[ids == row.train_id] = row.id
    return ids
""",
        "def submission_ids(prediction):\n    return prediction + 7",
        """
def submission_ids(prediction):
    table = {row.train_id: row.id for row in CITYSCAPES_LABELS if not row.ignored}
    return np.vectorize(table.get)(prediction)
""",
        """
def submission_ids(prediction):
    table = np.array([row.id for row in CITYSCAPES_LABELS if not row.ignored], np.uint8)
    prediction[:] = table[prediction]
    return prediction
""",
        "def submission_ids(prediction):\n    return [row.id for row in CITYSCAPES_LABELS if not row.ignored]",
    ],
    "7.2": [
        IIOU.format(**RIGHT | {"weight": "1", "skip": ""}),
        IIOU.format(**RIGHT | {"weight": "mask.sum() / mean_size"}),
        IIOU.format(**RIGHT | {"wrong": "0"}),
        IIOU.format(**RIGHT | {"skip": "", "weight": "mean_size / mask.sum() if instance > 1000 else 1"}),
        IIOU.format(**RIGHT | {"scored": ""}),
        IIOU.format(**RIGHT | {"wrong": "0 * wrong + miss"}),
    ],
    "7.3": [
        "def starts_of(length, window, stride):\n    return list(range(0, max(length - window, 0) + 1, stride))",
        "def starts_of(length, window, stride):\n    return list(range(0, length, stride))",
        """
def starts_of(length, window, stride):
    last = max(length - window, 0)
    return [*range(0, last + 1, stride), last]
""",
        """
def starts_of(length, window, stride):
    count = -(-max(length - window, 0) // stride) + 1
    return [round(i * (length - window) / max(count - 1, 1)) for i in range(count)]
""",
        """
def starts_of(length, window, stride):
    last = max(length - window, 0)
    return [*range(stride, last, stride), last]
""",
    ],
    "7.4": [
        BOX.format(result="(box[1] * across, box[0] * down)"),
        BOX.format(result="(box[0] * down, box[1] * down)"),
        BOX.format(result="(box[0] * across, box[1] * across)"),
        BOX.format(result="(int(box[0] * down), int(box[1] * across))"),
        BOX.format(result="(box[0] / down, box[1] / across)"),
        BOX.format(result="box[0] * down / (box[1] * across)"),
        BOX.format(result="(box[0] * target[0], box[1] * target[1])"),
    ],
}
