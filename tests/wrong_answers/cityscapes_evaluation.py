"""Usual wrong answers to the exercises of notebook 07."""

from tests.wrong_answers import mistaken

IDS, IIOU, STARTS, STITCH = map(mistaken, ("7.1", "7.2", "7.3", "7.4"))
SKIP = "    if instance < 1000:\n        continue\n"
HITS = "hit += (prediction_ids[instance_ids == instance] == class_id).sum()"

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
        "a PNG of ids is uint8": IDS("np.uint8", "np.int64"),
        "write to a new array": IDS("return table[prediction]", "prediction[:] = table[prediction]\nreturn prediction"),
        "should have the shape (4, 19)": "return [row.id for row in CITYSCAPES_LABELS if not row.ignored]",
    },
    "7.2": {
        "this is the plain IoU": IIOU(SKIP, "", "mean_size / mask.sum()", "1"),
        "the weight is upside down": IIOU("mean_size / mask.sum()", "mask.sum() / mean_size"),
        "pixels predicted as the class on another one are FP": IIOU("miss + wrong", "miss"),
        "pixels of a group": IIOU(SKIP, "", "/ mask.sum()", "/ mask.sum() if instance > 1000 else 1"),
        "a group is labelled as the class": IIOU("label_ids != class_id", "instance_ids < 1000"),
        "where half of a group is found": IIOU(SKIP, SKIP.replace("continue", f"{HITS}\n        continue")),
        "a caravan is ignored": IIOU("np.isin(label_ids, SCORED) & ", ""),
        "iTP / (iTP + FP + iFN)": IIOU("miss + wrong", "2 * miss"),
    },
    "7.3": {
        "the rest needs a last window": "return list(range(0, max(length - window, 0) + 1, stride))",
        "move the last one back": "return list(range(0, length, stride))",
        "look at the last two": STARTS("range(0, last,", "range(0, last + 1,"),
        "only the last one is moved": STARTS(
            "[*range(0, last, stride), last]", "np.linspace(0, last, -(-last // stride) + 1).round().tolist()"
        ),
        "then the one that ends with the side": STARTS("range(0,", "range(stride,"),
    },
    "7.4": {
        "this is the sum": STITCH(" / seen", ""),
        "the last window that sees a pixel has the word": STITCH("*place] +=", "*place] =", " / seen", ""),
        "the largest probability is no mean": STITCH(
            "+= probabilities", "= np.maximum(total[:, *place], probabilities)", " / seen", ""
        ),
        "not by all of them": STITCH("/ seen", "/ len(windows)"),
        "classes cannot be averaged": STITCH("total / seen", "(total / seen).argmax(axis=0)"),
        "sum and count, pixel by pixel": STITCH("*place] +=", "*place] ="),
        "should have the shape (3, 7, 11)": STITCH("total / seen", "(total / seen).transpose(1, 2, 0)"),
    },
}
