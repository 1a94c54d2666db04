"""Usual wrong answers to the exercises of notebook 08."""

from tests.wrong_answers import mistaken

MERGED, ANEW, EQUAL = map(mistaken, ("8.1", "8.3", "8.4"))
MEAN, VARIANCE = "(share * means).sum(0)", "mean_square - mean**2"
RESET, MOMENTUM, TRAIN = "    norm.reset_running_stats()\n", "    norm.momentum = None\n", "    norm.train()\n"
LAST = "for norm, momentum in zip(norms, momenta, strict=True):\n    norm.momentum = momentum\n"

WRONG = {
    "8.1": {
        "a part with more values counts for more": MERGED(MEAN, "means.mean(0)"),
        "that is the mean of the parts' variances": MERGED(VARIANCE, "(share * variances).sum(0)"),
        "averaged without their counts": MERGED(
            "(share * (variances + means**2)).sum(0)", "(variances + means**2).mean(0)"
        ),
        "that is the mean square": MERGED(" - mean**2", ""),
        "that is the variance of the means only": MERGED(VARIANCE, "(share * (means - mean) ** 2).sum(0)"),
        "that is the standard deviation": MERGED(VARIANCE, f"({VARIANCE}).sqrt()"),
        "that is the unbiased variance": MERGED(VARIANCE, f"({VARIANCE}) * counts.sum() / (counts.sum() - 1)"),
        "mean square of all minus": MERGED(VARIANCE, "(counts[:, None] * variances).sum(0)"),
        "the sum over the parts": MERGED(MEAN, "(counts[:, None] * means).sum(0)"),
        "The mean should have the shape (3,)": MERGED(MEAN, "(share * means).sum()", VARIANCE, "variances.mean()"),
        "the pair (mean, variance)": "return means.mean(0)",
    },
    "8.2": {
        "that is the number of batches": "return (2 - momentum) / momentum",
        "1 / momentum is the time in which a value fades": "return batch_size / momentum",
        "in TensorFlow's convention": "return batch_size * (1 + momentum) / (1 - momentum)",
        "that is the sum of the squared weights": "return momentum / (2 - momentum)",
        "the wrong side of the fraction": "return (2 - momentum) / momentum / batch_size",
        "batch_size over the sum": "return batch_size * (1 - momentum) / momentum",
    },
    "8.3": {
        "nothing was gathered": ANEW(TRAIN, ""),
        "the old statistics are there still": ANEW(TRAIN, "", RESET, ""),
        "dropout was on": ANEW("network.eval()\nnorms", "network.train()\nnorms"),
        "still count: reset": ANEW(RESET, ""),
        "a momentum is no plain mean": ANEW(RESET, "", MOMENTUM, ""),
        "that is a running mean with the momentum of training": ANEW(MOMENTUM, ""),
        "the mean of the batches' own means": ANEW("in batches", "in batches[:1]"),
        "variances at (8,) is 5": ANEW("network.modules()", "network.children()"),
        "A weight has changed.": ANEW("norm.momentum = momentum", "norm.weight.data *= 2"),
        "give each batch norm its own back": ANEW(LAST, ""),
        "The network is in training mode.": ANEW("return network.eval()", "return network.train()"),
        "The network is expected": ANEW("return network.eval()", "return norms"),
    },
    "8.4": {
        "replace(batch_size=...) returns a new recipe": EQUAL("size=batch_size", "size=recipe.batch_size"),
        "see as many images": EQUAL("round(recipe.iterations * factor)", "recipe.iterations"),
        "the rate has to change with the batch size": EQUAL("lr / factor", "lr"),
        "that is the rule of the square root": EQUAL("lr / factor", "lr / factor**0.5"),
        "the wrong way round": EQUAL("lr / factor", "lr * factor"),
        "lr times the new batch size over the old one": EQUAL("lr / factor", "lr / factor**2"),
        "decay_steps is 800, expected 1600": EQUAL("=steps", "=recipe.decay_steps"),
        "decay_steps is 2000, expected None": EQUAL("=steps", "=round(recipe.iterations * factor)"),
        "['momentum'] changed as well": EQUAL("=steps", "=steps, momentum=0.0"),
        "A Recipe is expected": "return {'batch_size': batch_size}",
    },
}
