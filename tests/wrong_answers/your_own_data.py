"""Usual wrong answers to the exercises of notebook 13."""

from tests.wrong_answers import fill

COLOURS = fill(
    """
label = np.full(mask.shape[:2], {start}, np.uint8)
for k, colour in enumerate(colours):
    label[{test}] = k
label[(mask == unlabelled).all(axis=2)] = {void}
{refuse}
return label
""",
    start=254,
    test="(mask == colour).all(axis=2)",
    void=255,
    refuse="if (label == 254).any(): raise ValueError('a colour without a class')",
)
HOLD = fill(
    """
walks = sorted({{name.{split}[0] for name in names}})
count = {count}
drawn = set(np.random.default_rng({seed}).permutation(walks)[:count].tolist())
return {{name for name in names if name.{split}[0] in drawn}}
""",
    split="rsplit('_', 1)",
    count="max(1, round(share * len(walks)))",
    seed="seed",
)
OVERLAY = fill(
    """
mixed = {mixed}
return np.where(({drawn})[..., None], mixed, image){end}
""",
    mixed="(image.astype(int) + palette[label]) // 2",
    drawn="(label > 0) & (label < 255)",
    end=".astype(np.uint8)",
)
PREDICT = fill(
    "logits = session.run(None, {{'images': {pixels}}})[0]\nreturn {label}",
    pixels="image.transpose(2, 0, 1)[None]",
    label="logits.argmax(axis=1)[0]",
)

WRONG = {
    "13.1": {
        "the network would learn it as background": COLOURS(void=0),
        "one class more": COLOURS(void="len(colours)"),
        "colours of one sum": COLOURS(test="mask.sum(axis=2) == sum(colour)"),
        "if all three channels agree": COLOURS(test="(mask == colour).any(axis=2)"),
        "a smoothed edge becomes a class": COLOURS(refuse="label[label == 254] = 0"),
    },
    "13.2": {
        "draw walks, then take all": "return set(np.random.default_rng(seed).permutation(names)[:8].tolist())",
        "at least one walk": HOLD(count="round(share * len(walks))"),
        "a walk's name ends at the last _": HOLD(split="split('_', 1)"),
        "round(share * number of walks)": HOLD(count="1 + round(share * len(walks))"),
        "a generator of its own": HOLD(seed=""),
        "the seed should decide": HOLD(seed="0"),
        "return names, not walks": HOLD().replace(
            "return {name for name in names if", "return {name[:-3] for name in names if"
        ),
    },
    "13.3": {
        "uint8 has no room": OVERLAY(mixed="(image + palette[label]) // 2"),
        "void is tinted too": OVERLAY(drawn="label > 0"),
        "background is tinted too": OVERLAY(drawn="label < 255"),
        "everything is tinted": OVERLAY(drawn="label >= 0"),
        "that is the colour": OVERLAY(mixed="palette[label]"),
        "where a pixel has a class of 1 or more": OVERLAY(mixed="image // 2 + palette[label]"),
        "a picture is uint8": OVERLAY(end=""),
    },
    "13.4": {
        "channels first": PREDICT(pixels="image[None]"),
        "and then [None] for the batch": PREDICT(pixels="image.transpose(2, 0, 1)"),
        "the bytes as they are": PREDICT(pixels="(image / 127.5 - 1).astype('float32').transpose(2, 0, 1)[None]"),
        "one map comes out": PREDICT(label="logits.argmax(axis=1)"),
        "fits least": PREDICT(label="logits.argmin(axis=1)[0]"),
        "swapped height and width": PREDICT(pixels="image.T[None]"),
    },
}
