"""Usual wrong answers to the exercises of notebook 11."""

from tests.wrong_answers import fill

VIEWS = fill(
    """
found = []
for scale in scales:
    size = tuple(round(side * scale) for side in images.shape[2:])
    scaled = F.interpolate(images, size=size, mode="bilinear", antialias={antialias})
    seen = [network(scaled)] + ([network(scaled.flip(-1)){back}] if {flip} else [])
    found += [F.interpolate(x, size=images.shape[2:], mode="bilinear", align_corners=False){each} for x in seen]
return torch.stack(found){result}
""",
    antialias="True",
    back=".flip(-1)",
    flip="flip",
    each=".softmax(1)",
    result=".mean(0)",
)
PRICE = """
pairs = [(name, *rows[name], other, *rows[other]) for name in rows for other in rows]
return {{*rows}} - {{name for name, points, cost, other, p, c in pairs if {beaten}}}
"""
WRONG = {
    "11.1": {
        "a mirrored prediction has to be mirrored back": VIEWS(back=""),
        "take the softmax of each view first": VIEWS(each="", result=".mean(0).softmax(1)"),
        "these are logits": VIEWS(each=""),
        "that is the sum": VIEWS(result=".sum(0)"),
        "shrink the images with antialias=True": VIEWS(antialias="False"),
        "the mirrored views are missing": VIEWS(flip="False"),
        "resize, run, mirror back": VIEWS(result=".amax(0)"),
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
