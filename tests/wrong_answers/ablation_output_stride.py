"""Usual wrong answers to the exercises of notebook 09. Runs are kept between those of 9.4: each has its own row."""

RANKS = """
def rank_correlation(x, y):
    x, y = np.asarray(x), np.asarray(y)
    return float({result})
"""
COST = """
def cost_at(costs, output_stride):
    return sum({term} for stride, cost in costs.items())
"""
UNDONE = """
def undone(base, both, stride_only):
    seeds = base.keys() & both.keys() & stride_only.keys()
    stride = float(np.mean([stride_only[seed] - base[seed] for seed in seeds]))
    batch = float(np.mean([both[seed] - stride_only[seed] for seed in seeds]))
    total = float(np.mean([both[seed] - base[seed] for seed in seeds]))
    return {result}
"""
ROW = """
def my_study(study):
    mine = study.with_row({row})
    for row in {run}:
        mine.run(row, seeds=[{seed}], progress=False)
    return {result}
"""

WRONG = {
    "9.1": [
        RANKS.format(result="np.corrcoef(x, y)[0, 1]"),
        RANKS.format(result="np.corrcoef(np.argsort(x), np.argsort(y))[0, 1]"),
        """
def rank_correlation(x, y):
    a, b = (np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (x, y))
    return float(np.corrcoef(a, b)[0, 1])
""",
        RANKS.format(result="np.corrcoef((x[:, None] > x).sum(1), -(y[:, None] > y).sum(1))[0, 1]"),
        RANKS.format(result="np.corrcoef((x[:, None] > x).sum(1), (y[:, None] > y).sum(1))[0, 1]"),
        """
def rank_correlation(x, y):
    a, b = ((v[:, None] > v).sum(1) + (v[:, None] == v).sum(1) / 2 for v in (x, y))
    return float(1 - 6 * ((a - b) ** 2).sum() / (len(x) * (len(x) ** 2 - 1)))
""",
    ],
    "9.2": [
        COST.format(term="cost * stride / min(stride, output_stride)"),
        COST.format(term="cost * (stride / output_stride) ** 2"),
        COST.format(term="cost * (max(costs) / output_stride) ** 2"),
        COST.format(term="cost * ((stride / output_stride) ** 2 if stride == max(costs) > output_stride else 1)"),
        COST.format(term="cost * (min(stride, output_stride) / stride) ** 2"),
        COST.format(term="cost"),
        COST.format(term="cost * (stride / min(stride, output_stride)) ** 3"),
    ],
    "9.3": [
        UNDONE.format(result="batch, stride"),
        UNDONE.format(result="-stride, -batch"),
        UNDONE.format(result="stride, total"),
        UNDONE.format(result="stride, -batch"),
        UNDONE.format(result="total, total"),
        UNDONE.format(result="total"),
        """
def undone(base, both, stride_only):
    a, b, c = (float(np.mean(list(row.values()))) for row in (base, both, stride_only))
    return c - a, b - c
""",
        """
def undone(base, both, stride_only):
    stride = np.mean([stride_only[seed] - base[seed] for seed in stride_only.keys() & base.keys()])
    batch = np.mean([both[seed] - stride_only[seed] for seed in both.keys() & stride_only.keys()])
    return float(stride), float(batch)
""",
    ],
    "9.4": [
        ROW.format(row="'mine', batch_size=2", run="()", seed=0, result="mine"),
        ROW.format(row="'mine', eval_scales=[0.75]", run="()", seed=0, result="mine"),
        ROW.format(row="'mine', eval_flip=True", run="()", seed=0, result="study"),
        ROW.format(row="'mine', eval_flip=True", run="()", seed=0, result="mine.table()"),
        ROW.format(row="'mine', eval_output_stride=8", run="()", seed=0, result="mine"),
        ROW.format(row="'mine'", run="()", seed=0, result="mine"),
        ROW.format(row="'mine', eval_scales=[1.25]", run="('mine',)", seed=1, result="mine"),
    ],
}
