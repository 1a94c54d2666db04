"""Usual wrong answers to the exercises of notebook 08."""

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
ANEW = fill(
    """
{mode}
norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
momenta = [norm.momentum for norm in norms]
for norm in norms:
    {reset}
    {momentum}
    {training}
    pass
with torch.no_grad():
    for batch in {given}:
        network(batch)
for norm, momentum in zip(norms, momenta):
    {last}
    pass
return {result}
""",
    mode="network.eval()",
    reset="norm.reset_running_stats()",
    momentum="norm.momentum = None",
    training="norm.train()",
    given="batches",
    last="norm.momentum = momentum",
    result="network.eval()",
)
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
        "nothing was gathered": ANEW(training=""),
        "the old statistics are there still": ANEW(training="", reset=""),
        "dropout was on": ANEW(mode="network.train()"),
        "still count: reset": ANEW(reset=""),
        "a momentum is no plain mean": ANEW(reset="", momentum=""),
        "that is a running mean with the momentum of training": ANEW(momentum=""),
        "the mean of the batches' own means": ANEW(given="batches[:1]"),
        "A weight has changed.": ANEW(last="norm.weight.data *= 2"),
        "give each batch norm its own back": ANEW(last=""),
        "The network is in training mode.": ANEW(result="network.train()"),
        "The network is expected": ANEW(result="norms"),
    },
    "8.4": {
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
}
