"""Usual wrong answers to the exercises of notebook 08. Runs are kept between those of 8.4: each has its own row."""

MERGED = """
def merged(means, variances, counts):
    share = (counts / counts.sum())[:, None]
    mean = {mean}
    return mean, {variance}
"""
MEAN = "(share * means).sum(0)"
REMEMBERED = """
def images_remembered(momentum, batch_size):
    return {result}
"""
EQUAL = """
def at_equal_images(recipe, batch_size):
    factor = recipe.batch_size / batch_size
    steps = None if recipe.decay_steps is None else round(recipe.decay_steps * factor)
    return recipe.replace(batch_size={size}, iterations={iterations}, lr={lr}, decay_steps={steps})
"""
RIGHT = {"size": "batch_size", "iterations": "round(recipe.iterations * factor)", "lr": "recipe.lr / factor"}
ROW = """
def my_study(study):
    mine = study.with_row({row})
    for row in {run}:
        mine.run(row, seeds=[0], progress=False)
    return {result}
"""

WRONG = {
    "8.1": [
        MERGED.format(mean="means.mean(0)", variance="variances.mean(0)"),
        MERGED.format(mean=MEAN, variance="(share * variances).sum(0)"),
        MERGED.format(mean=MEAN, variance="(variances + means**2).mean(0) - mean**2"),
        MERGED.format(mean=MEAN, variance="(share * (variances + means**2)).sum(0)"),
        MERGED.format(mean=MEAN, variance="(share * (means - mean) ** 2).sum(0)"),
        MERGED.format(mean=MEAN, variance="((share * (variances + means**2)).sum(0) - mean**2).sqrt()"),
        MERGED.format(
            mean=MEAN,
            variance="((share * (variances + means**2)).sum(0) - mean**2) * counts.sum() / (counts.sum() - 1)",
        ),
        MERGED.format(mean=MEAN, variance="(counts[:, None] * variances).sum(0)"),
        MERGED.format(mean="(counts[:, None] * means).sum(0)", variance="variances.mean(0)"),
        MERGED.format(mean="(share * means).sum()", variance="variances.mean()"),
        """
def merged(means, variances, counts):
    return means.mean(0)
""",
    ],
    "8.2": [
        REMEMBERED.format(result="(2 - momentum) / momentum"),
        REMEMBERED.format(result="batch_size / momentum"),
        REMEMBERED.format(result="batch_size * (1 + momentum) / (1 - momentum)"),
        REMEMBERED.format(result="momentum / (2 - momentum)"),
        REMEMBERED.format(result="(2 - momentum) / momentum / batch_size"),
        REMEMBERED.format(result="batch_size * (1 - momentum) / momentum"),
    ],
    "8.3": [
        EQUAL.format(**RIGHT | {"size": "recipe.batch_size"}, steps="steps"),
        EQUAL.format(**RIGHT | {"iterations": "recipe.iterations"}, steps="steps"),
        EQUAL.format(**RIGHT | {"lr": "recipe.lr"}, steps="steps"),
        EQUAL.format(**RIGHT | {"lr": "recipe.lr / factor**0.5"}, steps="steps"),
        EQUAL.format(**RIGHT | {"lr": "recipe.lr * factor"}, steps="steps"),
        EQUAL.format(**RIGHT | {"lr": "recipe.lr / factor**2"}, steps="steps"),
        EQUAL.format(**RIGHT, steps="recipe.decay_steps"),
        EQUAL.format(**RIGHT, steps="round(recipe.iterations * factor)"),
        EQUAL.format(**RIGHT, steps="steps, momentum=0.0"),
        """
def at_equal_images(recipe, batch_size):
    return {"batch_size": batch_size}
""",
    ],
    "8.4": [
        ROW.format(row="'mine', batch_size=2", run="()", result="mine"),
        ROW.format(row="'mine', batch_size=2", run="()", result="study"),
        ROW.format(row="'mine', batch_size=2", run="()", result="mine.report()"),
        ROW.format(row="'mine', batch_size=8", run="()", result="mine"),
        ROW.format(row="'mine'", run="()", result="mine"),
        ROW.format(row="'mine', batch_size=8, lr=0.05, iterations=8", run="()", result="mine"),
        """
def my_study(study):
    mine = study.with_row("mine", batch_size=2)
    return dataclasses.replace(mine, base="4")
""",
        """
def my_study(study):
    mine = study.with_row("mine", batch_size=6)
    mine.run("mine", seeds=[1], progress=False)
    return mine
""",
    ],
}
