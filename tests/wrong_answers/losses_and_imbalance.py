"""Usual wrong answers to the exercises of notebook 12."""

from tests.wrong_answers import mistaken

MEDIAN, MEAN, DICE, MEAN_NETWORK = map(mistaken, ("12.1", "12.2", "12.3", "12.4"))
LOAD, ANEW = "result.load_state_dict(mean)\n", "reestimate_batch_norm(result, batches, torch.nn.Identity())\n"

WRONG = {
    "12.1": {
        "divide by `images_with`": MEDIAN("images_with[there]", "pixels.sum()"),
        "that is the frequencies' mean, not": MEDIAN("np.median", "np.mean"),
        "that is upside down": MEDIAN("np.median(frequency) / frequency", "frequency / np.median(frequency)"),
        "classes without a pixel do not count in the median": MEDIAN(
            "np.median(frequency)", "np.median([*frequency, *np.zeros((~there).sum())])"
        ),
        "the median of an even number": MEDIAN("np.median(frequency)", "np.sort(frequency)[(len(frequency) - 1) // 2]"),
        "0 for a class without a pixel": MEDIAN("np.zeros", "np.ones"),
        "should have the shape (5,)": "return [1.0]",
    },
    "12.2": {
        "divided by the number of valid pixels": MEAN("/ weight.sum()", "/ valid.sum()"),
        "divided by the number of all pixels": MEAN("/ weight.sum()", "/ labels.numel()"),
        "divided by the sum of the K weights": MEAN("/ weight.sum()", "/ weights.sum()"),
        "the weights are missing in the sum above the line": MEAN("weight * ", ""),
        "that is the mean without weights": MEAN("weight * ", "", "/ weight.sum()", "/ valid.sum()"),
        "void pixels count as the last class": MEAN(
            "!= 255", ">= 0", "[labels[valid]]", "[labels[valid].clamp(max=2)]"
        ),
        "The mean of a batch of void is nan": MEAN("if weight.sum() == 0:\n    return losses.sum() * 0\n", ""),
        "guard the lower sum where it is 0, and nowhere else": MEAN("/ weight.sum()", "/ weight.sum().clamp(min=1)"),
        "The weighted mean should have the shape ()": MEAN("(weight * losses[valid]).sum()", "weight * losses[valid]"),
    },
    "12.3": {
        "that is the Dice coefficient": DICE("1 - (2", "(2"),
        "void pixels count in the predicted area": DICE(" * valid", ""),
        "the constant 1 above and below the line is missing": DICE("+ 1)", "+ 1e-9)"),
        "class 2 is left out": DICE("probabilities.shape[1]", "2"),
        "The loss should have the shape ()": DICE(".mean()", ""),
        "that is a mean over the images": """
terms = []
for probability, label in zip(probabilities, labels):
    for k in range(3):
        p, t = probability[k] * (label != 255), label == k
        terms.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
return torch.stack(terms).mean()
""",
        "the 2 above the line is missing": DICE("(2 *", "(1 *"),
    },
    "12.4": {
        "that is the first network still": MEAN_NETWORK(LOAD, ""),
        "that is the last network": MEAN_NETWORK("load_state_dict(mean)", "load_state_dict(states[-1])"),
        "that is the sum": MEAN_NETWORK(".mean(0)", ".sum(0)"),
        "load a state_dict that holds the means": MEAN_NETWORK("for state in states]", "for state in states[:2]]"),
        "that is the mean of the networks' variances": MEAN_NETWORK(f"with torch.no_grad():\n    {ANEW}", ""),
        "after the weights are averaged, not before": MEAN_NETWORK(
            LOAD,
            "",
            ANEW,
            f"{ANEW}    for name, value in result.named_parameters():\n        value.data = mean[name]\n",
        ),
        "statistics are a plain mean": MEAN_NETWORK(ANEW, "result[1].reset_running_stats()\n"),
        "0.bias of the mean network": MEAN_NETWORK("if first.is_floating_point()", "if name.endswith('.weight')"),
        "1.weight of the mean network": MEAN_NETWORK("if first.is_floating_point()", "if name[:2] == '0.'"),
        "One of the given networks has changed": MEAN_NETWORK("copy.deepcopy(networks[0])", "networks[0]"),
        "a part of it, is in training mode": MEAN_NETWORK("return result", "result[1].train()\nreturn result"),
        "A network is expected": MEAN_NETWORK("return result", "return mean"),
    },
}
