"""Usual wrong answers to the exercises of notebook 08. Runs are kept between those of 8.4: each has its own row."""

from tests.wrong_answers import fill

VARIANCE = "(share * (variances + means**2)).sum(0) - mean**2"
MERGED = fill(
    """
share = (counts / counts.sum())[:, None]
mean = {mean}
return mean, {variance}
""",
    mean="(share * means).sum(0)",
    variance=VARIANCE,
)
REMEMBERED = "return {result}"
EQUAL = fill(
    """
factor = recipe.batch_size / batch_size
steps = None if recipe.decay_steps is None else round(recipe.decay_steps * factor)
return recipe.replace(batch_size={size}, iterations={iterations}, lr={lr}, decay_steps={steps})
""",
    size="batch_size",
    iterations="round(recipe.iterations * factor)",
    lr="recipe.lr / factor",
    steps="steps",
)
ROW = fill(
    """
mine = study.with_row({row})
for row in {run}:
    mine.run(row, seeds=[{seed}], progress=False)
return {result}
""",
    run="()",
    seed=0,
    result="mine",
)

WRONG = {
    "8.1": {
        "a part with more values counts for more": MERGED(mean="means.mean(0)"),
        "that is the mean of the parts' variances": MERGED(variance="(share * variances).sum(0)"),
        "averaged without their counts": MERGED(variance="(variances + means**2).mean(0) - mean**2"),
        "that is the mean square": MERGED(variance="(share * (variances + means**2)).sum(0)"),
        "that is the variance of the means only": MERGED(variance="(share * (means - mean) ** 2).sum(0)"),
        "that is the standard deviation": MERGED(variance=f"({VARIANCE}).sqrt()"),
        "that is the unbiased variance": MERGED(variance=f"({VARIANCE}) * counts.sum() / (counts.sum() - 1)"),
        "mean square of all minus": MERGED(variance="(counts[:, None] * variances).sum(0)"),
        "the sum over the parts": MERGED(mean="(counts[:, None] * means).sum(0)"),
        "The mean should have the shape (3,)": MERGED(mean="(share * means).sum()", variance="variances.mean()"),
        "the pair (mean, variance)": "return means.mean(0)",
    },
    "8.2": {
        "that is the number of batches": REMEMBERED.format(result="(2 - momentum) / momentum"),
        "1 / momentum is the time in which a value fades": REMEMBERED.format(result="batch_size / momentum"),
        "in TensorFlow's convention": REMEMBERED.format(result="batch_size * (1 + momentum) / (1 - momentum)"),
        "that is the sum of the squared weights": REMEMBERED.format(result="momentum / (2 - momentum)"),
        "the wrong side of the fraction": REMEMBERED.format(result="(2 - momentum) / momentum / batch_size"),
        "batch_size over the sum": REMEMBERED.format(result="batch_size * (1 - momentum) / momentum"),
    },
    "8.3": {
        "replace(batch_size=...) returns a new recipe": EQUAL(size="recipe.batch_size"),
        "see as many images": EQUAL(iterations="recipe.iterations"),
        "the rate has to change with the batch size": EQUAL(lr="recipe.lr"),
        "that is the rule of the square root": EQUAL(lr="recipe.lr / factor**0.5"),
        "the wrong way round": EQUAL(lr="recipe.lr * factor"),
        "lr times the new batch size over the old one": EQUAL(lr="recipe.lr / factor**2"),
        "decay_steps is 800, expected 1600": EQUAL(steps="recipe.decay_steps"),
        "decay_steps is 2000, expected None": EQUAL(steps="round(recipe.iterations * factor)"),
        "['momentum'] changed as well": EQUAL(steps="steps, momentum=0.0"),
        "A Recipe is expected": "return {'batch_size': batch_size}",
    },
    "8.4": {
        "The row 'mine' has no result.": ROW(row="'mine', batch_size=2"),
        "`with_row` leaves the study as it is and returns a new one": ROW(row="'mine', batch_size=2", result="study"),
        "return what `with_row` returned": ROW(row="'mine', batch_size=2", result="mine.report()"),
        "choose another value": ROW(row="'mine', batch_size=8"),
        "The row differs from the base in nothing.": ROW(row="'mine'"),
        "the base in ['batch_size', 'iterations', 'lr']": ROW(row="'mine', batch_size=8, lr=0.05, iterations=8"),
        "only add a row": ROW(row="'mine', batch_size=2", result="dataclasses.replace(mine, base='4')"),
        "the base row has to be run too": ROW(row="'mine', batch_size=6", run="('mine',)", seed=1),
    },
}
