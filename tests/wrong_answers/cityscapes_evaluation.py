"""Usual wrong answers to the exercises of notebook 07."""

from tests.wrong_answers import fill

IIOU = fill(
    """
hit = miss = 0.0
for instance in np.unique(instance_ids[label_ids == class_id]):
    mask = instance_ids == instance
    {skip}
    weight = {weight}
    hit += weight * (prediction_ids[mask] == class_id).sum()
    miss += weight * (prediction_ids[mask] != class_id).sum()
wrong = ((prediction_ids == class_id) & (label_ids != class_id){scored}).sum()
return hit / (hit + miss + {wrong})
""",
    skip="if instance < 1000: continue",
    weight="mean_size / mask.sum()",
    scored=" & np.isin(label_ids, SCORED)",
    wrong="wrong",
)
STITCH = fill(
    """
total = np.zeros((len(windows[0][2]), height, width))
seen = np.zeros((height, width))
for top, left, probabilities in windows:
    rows, columns = slice(top, top + probabilities.shape[1]), slice(left, left + probabilities.shape[2])
    total[:, rows, columns] {keep}
    seen[rows, columns] += 1
return {result}
""",
    keep="+= probabilities",
    result="total / seen",
)

WRONG = {
    "7.1": {
        "these are still trainIds": "return prediction.copy()",
        "your table goes from ids to trainIds": """
table = np.full(256, 255, np.uint8)
for row in CITYSCAPES_LABELS:
    if row.id >= 0:
        table[row.id] = row.train_id
return table[prediction]
""",
        "some values were replaced twice": """
ids = prediction.copy()
for row in CITYSCAPES_LABELS:
    if not row.ignored:
        ids[ids == row.train_id] = row.id
return ids
""",
        "the ids that are not scored leave gaps between the others": "return prediction + 7",
        "a PNG of ids is uint8": """
table = {row.train_id: row.id for row in CITYSCAPES_LABELS if not row.ignored}
return np.vectorize(table.get)(prediction)
""",
        "write to a new array": """
table = np.array([row.id for row in CITYSCAPES_LABELS if not row.ignored], np.uint8)
prediction[:] = table[prediction]
return prediction
""",
        "should have the shape (4, 19)": "return [row.id for row in CITYSCAPES_LABELS if not row.ignored]",
    },
    "7.2": {
        "this is the plain IoU": IIOU(skip="", weight="1"),
        "the weight is upside down": IIOU(weight="mask.sum() / mean_size"),
        "pixels predicted as the class on another one are FP": IIOU(wrong="0"),
        "pixels of a group": IIOU(skip="", weight="mean_size / mask.sum() if instance > 1000 else 1"),
        "a caravan is ignored": IIOU(scored=""),
        "iTP / (iTP + FP + iFN)": IIOU(wrong="0 * wrong + miss"),
    },
    "7.3": {
        "the rest needs a last window": "return list(range(0, max(length - window, 0) + 1, stride))",
        "move the last one back": "return list(range(0, length, stride))",
        "look at the last two": """
last = max(length - window, 0)
return [*range(0, last + 1, stride), last]
""",
        "only the last one is moved": """
last = max(length - window, 0)
return np.linspace(0, last, -(-last // stride) + 1).round().tolist()
""",
        "then the one that ends with the side": """
last = max(length - window, 0)
return [*range(stride, last, stride), last]
""",
    },
    "7.4": {
        "this is the sum": STITCH(result="total"),
        "the last window that sees a pixel has the word": STITCH(keep="= probabilities", result="total"),
        "the largest probability is no mean": STITCH(
            keep="= np.maximum(total[:, rows, columns], probabilities)", result="total"
        ),
        "not by all of them": STITCH(result="total / len(windows)"),
        "classes cannot be averaged": STITCH(result="(total / seen).argmax(axis=0)"),
        "sum and count, pixel by pixel": STITCH(keep="= probabilities"),
        "should have the shape (3, 7, 11)": STITCH(result="(total / seen).transpose(1, 2, 0)"),
    },
}
