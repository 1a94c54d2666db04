"""Usual wrong answers to the exercises of notebook 14."""

from tests.wrong_answers import mistaken

BOX, RENAME, SHIFT, FAULTS = map(mistaken, ("14.1", "14.2", "14.3", "14.4"))

WRONG = {
    "14.1": {
        "what was padded has no class": BOX("255, np.uint8", "0, np.uint8"),
        "black is a colour like others": BOX("(124, 116, 104)", "0"),
        "nearest neighbour only": BOX("NEAREST", "BILINEAR"),
        "both are squares of `side`": BOX("(side, side", "(rows, columns"),
        "keep the proportions": BOX("picture =", "rows = columns = side\npicture ="),
        "the result at the top left": BOX(
            "picture =", "top, left = (side - rows) // 2, (side - columns) // 2\npicture =",
            "[:rows, :columns]", "[top : top + rows, left : left + columns]",
        ),
        "resize the label by NEAREST": BOX(
            "picture[:rows, :columns] = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)\n",
            "", "Image.fromarray(label).resize((columns, rows), Image.Resampling.NEAREST)", "0",
        ),
        "to the same place as the mask's": BOX(
            "picture[:rows, :columns] = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)\n", ""
        ),
    },
    "14.2": {
        "each name is used once": "return matrix.argmax(axis=0).tolist()",
        "rows are labels": RENAME("matrix.T", "matrix"),
        "maximize=True": RENAME(", maximize=True", ""),
    },
    "14.3": {
        "has the other sign": SHIFT("shares[dy, dx]", "shares[-dy, -dx]"),
        "rows come first": SHIFT("shares[dy, dx]", "shares[dx, dy]"),
        "void agrees with nothing": SHIFT(" & (label != 255)", ""),
        "a large shift has fewer pixels": SHIFT(".mean()", ".sum()"),
        "np.roll brings in": SHIFT("np.full(label.shape, 254)", "np.roll(prediction, (dy, dx), (0, 1))"),
    },
    "14.4": {
        "edges of its masks": FAULTS("misaligned", "learning_rate"),
        "pictures that it was trained on": FAULTS("batch_norm_statistics", "learning_rate"),
        "try rename": FAULTS("zero_never_used", "learning_rate"),
    },
}  # fmt: skip
