"""Usual wrong answers to the exercises of notebook 11."""

from tests.wrong_answers import mistaken

VIEWS = mistaken("11.1")
PRICE = """
pairs = [(name, *rows[name], other, *rows[other]) for name in rows for other in rows]
return {{*rows}} - {{name for name, points, cost, other, p, c in pairs if {beaten}}}
"""
WRONG = {
    "11.1": {
        "a mirrored prediction has to be mirrored back": VIEWS(
            "network(scaled.flip(-1)).flip(-1)", "network(scaled.flip(-1))"
        ),
        "take the softmax of each view first": VIEWS(".softmax(1)", "", ".mean(0)", ".mean(0).softmax(1)"),
        "these are logits": VIEWS(".softmax(1)", ""),
        "that is the sum": VIEWS(".mean(0)", ".sum(0)"),
        "shrink the images with antialias=True": VIEWS(", antialias=True", ""),
        "bring predictions back without antialiasing": VIEWS(
            'images.shape[2:], mode="bilinear")', 'images.shape[2:], mode="bilinear", antialias=True)'
        ),
        "resize the logits first": VIEWS("F.interpolate(x, ", "F.interpolate(x.softmax(1), ", ").softmax(1)", ")"),
        "round the sides of a view": VIEWS("round(", "int("),
        "the mirrored views are missing": VIEWS("if flip", "if False"),
        "resize, run, mirror back": VIEWS(".mean(0)", ".amax(0)"),
        "should have the shape": "return network(images).softmax(1).argmax(1).float()",
    },
    "11.2": {
        "as many points for less": PRICE.format(beaten="p > points and c < cost"),
        "two rows that are alike": PRICE.format(beaten="p >= points and c <= cost and other != name"),
        "cheap is better": PRICE.format(beaten="p >= points and c >= cost and (p, c) != (points, cost)"),
        "the best row is one of them": PRICE.format(beaten="p > points"),
        "points divided by price favours the cheapest": PRICE.format(beaten="p / c > points / cost"),
        "these are the rows to leave out": """
beats = lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b
return {name for name, row in rows.items() if any(beats(other, row) for other in rows.values())}
""",
        "are not names of rows": "return list(rows.values())",
        "A set of names is expected": "return 'base'",
        "look for another one that beats it": "return set()",
    },
}
