"""Usual wrong answers to the exercises of notebook 11."""

from tests.wrong_answers import fill

MEDIAN = fill(
    """
def median_weights(pixels, images_with):
    frequency = np.divide(pixels, {below}, out=np.zeros(len(pixels)), where=pixels > 0)
    middle = {middle}
    return np.divide({above}, out=np.zeros(len(pixels)), where=pixels > 0)
""",
    below="images_with",
    middle="np.median(frequency[pixels > 0])",
    above="middle, frequency",
)
MEAN = fill(
    """
def weighted_mean(losses, labels, weights):
    valid = labels != 255
    weight = weights[labels.where(valid, 0)] * valid
    total = {below}
    return {above} / total.clamp(min=1e-9)
""",
    below="weight.sum()",
    above="(weight * losses).sum()",
)
DICE = fill(
    """
def soft_dice(probabilities, labels):
    valid = (labels != 255).float()
    terms = []
    for k in range({classes}):
        p, t = {p}, (labels == k).float()
        terms.append((2 * (p * t).sum() + {smooth}) / (p.sum() + t.sum() + {smooth}))
    return {result}
""",
    classes=3,
    p="probabilities[:, k] * valid",
    smooth=1,
    result="1 - torch.stack(terms).mean()",
)
PAIRED = fill(
    """
def paired(base, row):
    seeds = sorted(set(base) & set(row))
    differences = np.array([row[seed] - base[seed] for seed in seeds])
    return {mean}, {sd}
""",
    mean="float(differences.mean())",
    sd="float(differences.std(ddof=1))",
)

WRONG = {
    "11.1": {
        "divide by `images_with`": MEDIAN(below="pixels.sum()"),
        "that is the frequencies' mean over the frequency": MEDIAN(middle="np.mean(frequency[pixels > 0])"),
        "that is upside down": MEDIAN(above="frequency, middle"),
        "classes without a pixel do not count in the median": MEDIAN(middle="np.median(frequency)"),
        "the median of an even number is the mean of the middle two": """
def median_weights(pixels, images_with):
    frequency = np.divide(pixels, images_with, out=np.zeros(len(pixels)), where=pixels > 0)
    there = np.sort(frequency[pixels > 0])
    middle = there[(len(there) - 1) // 2]
    return np.divide(middle, frequency, out=np.zeros(len(pixels)), where=pixels > 0)
""",
        "0/0 is nan and 1/0 infinite": """
def median_weights(pixels, images_with):
    frequency = pixels / np.maximum(images_with, 1)
    return np.median(frequency[pixels > 0]) / np.maximum(frequency, 1e-6)
""",
        "Expected 5 weights": """
def median_weights(pixels, images_with):
    return [1.0]
""",
    },
    "11.2": {
        "divided by the number of valid pixels": MEAN(below="valid.sum().float()"),
        "divided by the number of all pixels": MEAN(below="torch.tensor(float(labels.numel()))"),
        "divided by the sum of the K weights": MEAN(below="weights.sum()"),
        "the weights are missing in the sum above the line": MEAN(above="(losses * valid).sum()"),
        "that is the mean without weights": MEAN(below="valid.sum().float()", above="(losses * valid).sum()"),
        "void pixels count with the weight of the last class": """
def weighted_mean(losses, labels, weights):
    weight = weights[labels.clamp(max=2)]
    return (weight * losses).sum() / weight.sum()
""",
        "A batch of void gives nan": """
def weighted_mean(losses, labels, weights):
    valid = labels != 255
    weight = weights[labels[valid]]
    return (weight * losses[valid]).sum() / weight.sum()
""",
        "The result should have the shape ()": MEAN(above="(weight * losses)"),
    },
    "11.3": {
        "that is the Dice coefficient": DICE(result="torch.stack(terms).mean()"),
        "void pixels count in the predicted area": DICE(p="probabilities[:, k]"),
        "the constant 1 above and below the line is missing": DICE(smooth=1e-09),
        "class 2 is left out": DICE(classes=2),
        "The result should have the shape ()": DICE(result="1 - torch.stack(terms)"),
        "that is a mean over the images": """
def soft_dice(probabilities, labels):
    valid = (labels != 255).float()
    means = []
    for image in range(len(labels)):
        terms = []
        for k in range(probabilities.shape[1]):
            p, t = probabilities[image, k] * valid[image], (labels[image] == k).float()
            terms.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
        means.append(torch.stack(terms).mean())
    return torch.stack(means).mean()
""",
        "the 2 above the line is missing": """
def soft_dice(probabilities, labels):
    valid = (labels != 255).float()
    terms = []
    for k in range(probabilities.shape[1]):
        p, t = probabilities[:, k] * valid, (labels == k).float()
        terms.append(1 - ((p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return torch.stack(terms).mean()
""",
    },
    "11.4": {
        "that is the base minus the row": PAIRED(mean="-float(differences.mean())"),
        "seed 7 was run only with the base": PAIRED(mean="np.mean(list(row.values())) - np.mean(list(base.values()))"),
        "divide by n - 1": PAIRED(sd="float(differences.std())"),
        "that is the spread of the row itself": PAIRED(sd="float(np.std(list(row.values()), ddof=1))"),
        "that is the standard error": PAIRED(sd="float(differences.std(ddof=1)) / len(seeds) ** 0.5"),
        "those are the spreads of two samples added": PAIRED(
            sd="float(np.hypot(np.std([row[s] for s in seeds], ddof=1), np.std([base[s] for s in seeds], ddof=1)))"
        ),
        "values were paired by their place": """
def paired(base, row):
    differences = np.array([b - a for a, b in zip(base.values(), row.values())])
    return float(differences.mean()), float(differences.std(ddof=1))
""",
        "the sample's standard deviation of the differences": PAIRED(sd="float(np.ptp(differences))"),
    },
}
