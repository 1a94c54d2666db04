"""Usual wrong answers to the exercises of notebook 13."""

from tests.wrong_answers import mistaken

COLOURS, HOLD, OVERLAY, PREDICT = map(mistaken, ("13.1", "13.2", "13.3", "13.4"))
CHANNELS = "any({*mask[..., c].flat} - {k[c] for k in (*colours, unlabelled)} for c in range(3))"
COUNT, MIXED = "max(1, round(share * len(walks)))", "(image.astype(int) + palette[label]) // 2"

WRONG = {
    "13.1": {
        "the network would learn it as background": COLOURS("= 255\n", "= 0\n"),
        "one class more": COLOURS("= 255\n", "= len(colours)\n"),
        "colours of one sum": COLOURS("(mask == colour).all(axis=2)", "mask.sum(axis=2) == sum(colour)"),
        "if all three channels agree": COLOURS("(mask == colour).all", "(mask == colour).any"),
        "(200, 0, 200) is in no table": COLOURS("(label == 254).any()", CHANNELS),
        "a smoothed edge becomes a class": COLOURS("254, np.uint8", "0, np.uint8"),
    },
    "13.2": {
        "draw walks, then take all": "return set(np.random.default_rng(seed).permutation(names)[:8].tolist())",
        "at least one walk": HOLD(COUNT, "round(share * len(walks))"),
        "a walk's name ends at the last _": HOLD("rsplit", "split"),
        "round(share * number of walks)": HOLD(COUNT, "1 + round(share * len(walks))"),
        "3 are held out, expected 4": HOLD("round(share", "int(share"),
        "3 are held out, expected 2": HOLD("round(share * len(walks))", "int(share * len(walks) + 0.99)"),
        "a generator of its own": HOLD("default_rng(seed)", "default_rng()"),
        "the seed should decide": HOLD("default_rng(seed)", "default_rng(0)"),
        "return names, not walks": HOLD("return {name for", "return {name[:-3] for"),
    },
    "13.3": {
        "uint8 has no room": OVERLAY("image.astype(int)", "image"),
        "void is tinted too": OVERLAY(" & (label < 255)", ""),
        "background is tinted too": OVERLAY("(label > 0) & ", ""),
        "everything is tinted": OVERLAY("(label > 0) & (label < 255)", "label >= 0"),
        "that is the colour": OVERLAY(MIXED, "palette[label]"),
        "where a pixel has a class of 1 or more": OVERLAY(MIXED, "image // 2 + palette[label]"),
        "a picture is uint8": OVERLAY(".astype(np.uint8)", ""),
    },
    "13.4": {
        "channels first": PREDICT("image.transpose(2, 0, 1)", "image"),
        "and then [None] for the batch": PREDICT("[None]", ""),
        "the bytes as they are": PREDICT("image.transpose", "(image / 127.5 - 1).astype('float32').transpose"),
        "one map comes out": PREDICT("(axis=1)[0]", "(axis=1)"),
        "fits least": PREDICT("argmax", "argmin"),
        "swapped height and width": PREDICT("image.transpose(2, 0, 1)", "image.T"),
    },
}
