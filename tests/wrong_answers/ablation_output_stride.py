"""Usual wrong answers to the exercises of notebook 09."""

from tests.wrong_answers import fill

PERFECT = fill(
    """
from seglib.geometry import Grid
wanted = torch.from_numpy(label).long() == torch.arange(num_classes)[:, None, None]
{more}
shares = F.avg_pool2d(wanted[None].float(), {square}, count_include_pad={pad})
stretched = {stretched}
return {result}
""",
    more="",
    square="stride + 1, stride, stride // 2",
    pad=False,
    stretched="Grid(stride).resize(shares, label.shape)",
    result="stretched[0].argmax(0).numpy().astype(np.uint8)",
)
COST = "return sum({term} for stride, cost in costs.items())"
INTERACTION = fill(
    """
corners = (plain, stride, batch, both)
n = np.array([len(values) for values in corners])
mean = {mean}
v = np.array([np.var(values, ddof={ddof}) for values in corners]) / {over}
freedom = {freedom}
half = student_t_quantile(freedom, {p}) * {root}
return {result}
""",
    mean="np.mean(both) - np.mean(stride) - np.mean(batch) + np.mean(plain)",
    ddof=1,
    over="n",
    freedom="v.sum() ** 2 / sum(v**2 / (n - 1))",
    p=0.975,
    root="np.sqrt(v.sum())",
    result="float(mean), float(mean - half), float(mean + half)",
)

WRONG = {
    "9.1": {
        "each pixel takes the nearest value": PERFECT(stretched="F.interpolate(shares, label.shape)"),
        "values in the middle of cells": PERFECT(stretched="F.interpolate(shares, label.shape, mode='bilinear')"),
        "leave it out of the mean": PERFECT(pad=True),
        "void was counted as a class": PERFECT(more="wanted[-1] |= torch.from_numpy(label == 255)"),
        "half a stride to *each* side": PERFECT(square="stride - 1, stride, (stride - 1) // 2"),
        "then argmax over the classes": PERFECT(result="stretched[0].argmin(0).numpy().astype(np.uint8)"),
        "should have the shape": PERFECT(result="shares[0].argmax(0).numpy()"),
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
        "that is the whole difference": INTERACTION(mean="np.mean(both) - np.mean(plain)"),
        "the signs are turned": INTERACTION(mean="np.mean(stride) + np.mean(batch) - np.mean(both) - np.mean(plain)"),
        "add `plain` again": INTERACTION(mean="np.mean(both) - np.mean(stride) - np.mean(batch)"),
        "of the means": INTERACTION(mean="np.mean(both)"),
        "divide by n - 1": INTERACTION(ddof=0),
        "a mean's variance is s squared over n": INTERACTION(over="1"),
        "1.96 is for many runs": INTERACTION(freedom="1e9"),
        "the quantile 0.975": INTERACTION(p=0.95),
        "not the number of runs less four": INTERACTION(freedom="n.sum() - 4"),
        "t times the root": INTERACTION(root="v.sum()"),
        "should lie around the interaction": INTERACTION(result="float(mean), float(mean), float(mean + half)"),
        "The function should return": INTERACTION(result="float(mean)"),
    },
}
