"""Usual wrong answers to the exercises of notebook 09. Runs are kept between those of 9.4: each has its own row."""

from tests.wrong_answers import fill
from tests.wrong_answers.ablation_batch_size import ROW

RANKS = fill(
    """
x, y = np.asarray(x), np.asarray(y)
below_x, below_y = (x[:, None] > x).sum(1), (y[:, None] > y).sum(1)
return float(np.corrcoef({ranks})[0, 1])
"""
)
COST = "return sum({term} for stride, cost in costs.items())"
UNDONE = """
begin, end, between = (float(np.mean([*row.values()])) for row in (base, both, stride_only))
stride, batch = between - begin, end - between
return {result}
"""
PARTS = fill(
    """
def mean(later, earlier):
    return float(np.mean([later[s] - earlier[s] for s in {seeds}]))
return mean(stride_only, base), mean(both, stride_only)
"""
)

WRONG = {
    "9.1": {
        "that is the correlation of the values": RANKS(ranks="x, y"),
        "`argsort` gives the sorted values' places": RANKS(ranks="np.argsort(x), np.argsort(y)"),
        "equal values share the mean of their ranks": """
a, b = (np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (x, y))
return float(np.corrcoef(a, b)[0, 1])
""",
        "the sign is turned": RANKS(ranks="below_x, -below_y"),
        "the rank is the number of": RANKS(ranks="below_x, below_y"),
        "the formula with squared": """
a, b = ((v[:, None] > v).sum(1) + (v[:, None] == v).sum(1) / 2 for v in (x, y))
return float(1 - 6 * ((a - b) ** 2).sum() / (len(x) * (len(x) ** 2 - 1)))
""",
    },
    "9.2": {
        "half the stride is twice the width": COST.format(term="cost * stride / min(stride, output_stride)"),
        "layers whose stride is below": COST.format(term="cost * (stride / output_stride) ** 2"),
        "every layer was scaled": COST.format(term="cost * (max(costs) / output_stride) ** 2"),
        "all layers above the output stride pay": COST.format(
            term="cost * ((stride / output_stride) ** 2 if stride == max(costs) > output_stride else 1)"
        ),
        "a finer map costs more": COST.format(term="cost * (min(stride, output_stride) / stride) ** 2"),
        "that is the sum at the largest output stride": COST.format(term="cost"),
        "cost times (stride over the": COST.format(term="cost * (stride / min(stride, output_stride)) ** 3"),
    },
    "9.3": {
        "the two are exchanged": UNDONE.format(result="batch, stride"),
        "the signs are turned": UNDONE.format(result="-stride, -batch"),
        "the second is the whole difference": UNDONE.format(result="stride, stride + batch"),
        "the batch size's part is turned round": UNDONE.format(result="stride, -batch"),
        "first stride_only - base": UNDONE.format(result="stride + batch, stride + batch"),
        "the pair (stride, batch)": UNDONE.format(result="stride + batch"),
        "runs were left out": PARTS(seeds="base.keys() & both.keys() & stride_only.keys()"),
        "trainings of their own are not paired": PARTS(seeds="later.keys() & earlier.keys()"),
    },
    "9.4": {
        "change nothing but eval_output_stride": ROW(row="'mine', batch_size=2"),
        "The row 'mine' has no result.": ROW(row="'mine', eval_scales=[0.75]"),
        "`with_row` leaves the study as it is and returns a new one": ROW(row="'mine', eval_flip=True", result="study"),
        "return what `with_row` returned": ROW(row="'mine', eval_flip=True", result="mine.table()"),
        "choose another value": ROW(row="'mine', eval_output_stride=8"),
        "change one field": ROW(row="'mine'"),
        "the base row has to be run too": ROW(row="'mine', eval_scales=[1.25]", run="('mine',)", seed=1),
    },
}
