"""Usual wrong answers to the exercises of notebook 14."""

from tests.wrong_answers import fill

BOX = fill(
    """
scale = {scale}
rows, columns = (max(1, round(length * scale)) for length in label.shape)
picture = np.full((side, side, 3), {colour}, np.uint8)
mask = np.full((side, side), {void}, np.uint8)
picture[:rows, :columns] = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)[:side, :side]
mask[:rows, :columns] = Image.fromarray(label).resize((columns, rows), Image.Resampling.{how})
return picture, mask
""".replace("[:side, :side]", ""),
    scale="side / max(label.shape)",
    colour="(124, 116, 104)",
    void=255,
    how="NEAREST",
)
RENAME = fill("return {answer}", answer="linear_sum_assignment(matrix.T, maximize=True)[1].tolist()")
SHIFT = fill(
    """
(height, width), shares = label.shape, {{}}
padded = np.pad(prediction.astype(int), reach, {beyond})
for dy in range(-reach, reach + 1):
    for dx in range(-reach, reach + 1):
        moved = padded[reach - dy :, reach - dx :][:height, :width]
        counted = (moved >= 0) {labelled}
        shares[{key}] = (moved == label)[counted].mean()
return max(shares, key=shares.get)
""",
    beyond="constant_values=-1",
    labelled="& (label != 255)",
    key="dy, dx",
)
FAULTS = fill(
    'return {{"A": "{a}", "B": "{b}", "C": "{c}"}}', a="misaligned", b="batch_norm_statistics", c="zero_never_used"
)

WRONG = {
    "14.1": {
        "what was padded has no class": BOX(void=0),
        "black is a colour like others": BOX(colour=0),
        "nearest neighbour only": BOX(how="BILINEAR"),
        "both are squares of `side`": """
scale = side / max(label.shape)
rows, columns = (max(1, round(length * scale)) for length in label.shape)
size = columns, rows
return np.asarray(Image.fromarray(image).resize(size)), np.asarray(Image.fromarray(label).resize(size, 0))
""",
        "keep the proportions": """
size = side, side
return np.asarray(Image.fromarray(image).resize(size)), np.asarray(Image.fromarray(label).resize(size, 0))
""",
        "the result at the top left": """
scale = side / max(label.shape)
rows, columns = (max(1, round(length * scale)) for length in label.shape)
picture, mask = np.full((side, side, 3), (124, 116, 104), np.uint8), np.full((side, side), 255, np.uint8)
top, left = (side - rows) // 2, (side - columns) // 2
picture[top : top + rows, left : left + columns] = Image.fromarray(image).resize((columns, rows))
mask[top : top + rows, left : left + columns] = Image.fromarray(label).resize((columns, rows), 0)
return picture, mask
""",
    },
    "14.2": {
        "each name is used once": RENAME(answer="matrix.argmax(axis=0).tolist()"),
        "rows are labels": RENAME(answer="linear_sum_assignment(matrix, maximize=True)[1].tolist()"),
        "maximize=True": RENAME(answer="linear_sum_assignment(matrix.T)[1].tolist()"),
    },
    "14.3": {
        "has the other sign": SHIFT(key="-dy, -dx"),
        "rows come first": SHIFT(key="dx, dy"),
        "void agrees with nothing": SHIFT(labelled=""),
        "np.roll brings in": SHIFT(beyond="mode='wrap'"),
    },
    "14.4": {
        "edges of its masks": FAULTS(a="learning_rate"),
        "pictures that it was trained on": FAULTS(b="learning_rate"),
        "try rename": FAULTS(c="learning_rate"),
    },
}
