"""Usual wrong answers to the exercises of notebook 11."""

MEDIAN = """
def median_weights(pixels, images_with):
    frequency = np.divide(pixels, {below}, out=np.zeros(len(pixels)), where=pixels > 0)
    middle = {middle}
    return np.divide({above}, out=np.zeros(len(pixels)), where=pixels > 0)
"""
RIGHT_RATIO = "middle, frequency"
MEAN = """
def weighted_mean(losses, labels, weights):
    valid = labels != 255
    weight = weights[labels.where(valid, 0)] * valid
    total = {below}
    return {above} / total.clamp(min=1e-9)
"""
DICE = """
def soft_dice(probabilities, labels):
    valid = (labels != 255).float()
    terms = []
    for k in range({classes}):
        p, t = {p}, (labels == k).float()
        terms.append((2 * (p * t).sum() + {smooth}) / (p.sum() + t.sum() + {smooth}))
    return {result}
"""
PAIRED = """
def paired(base, row):
    seeds = sorted(set(base) & set(row))
    differences = np.array([row[seed] - base[seed] for seed in seeds])
    return {mean}, {sd}
"""
MEAN_DIFFERENCE, SAMPLE_SD = "float(differences.mean())", "float(differences.std(ddof=1))"

WRONG = {
    "11.1": [
        MEDIAN.format(below="pixels.sum()", middle="np.median(frequency[pixels > 0])", above=RIGHT_RATIO),
        MEDIAN.format(below="images_with", middle="np.mean(frequency[pixels > 0])", above=RIGHT_RATIO),
        MEDIAN.format(below="images_with", middle="np.median(frequency[pixels > 0])", above="frequency, middle"),
        MEDIAN.format(below="images_with", middle="np.median(frequency)", above=RIGHT_RATIO),
        """
def median_weights(pixels, images_with):
    frequency = np.divide(pixels, images_with, out=np.zeros(len(pixels)), where=pixels > 0)
    there = np.sort(frequency[pixels > 0])
    middle = there[(len(there) - 1) // 2]
    return np.divide(middle, frequency, out=np.zeros(len(pixels)), where=pixels > 0)
""",
        """
def median_weights(pixels, images_with):
    frequency = pixels / np.maximum(images_with, 1)
    return np.median(frequency[pixels > 0]) / np.maximum(frequency, 1e-6)
""",
        """
def median_weights(pixels, images_with):
    return [1.0]
""",
    ],
    "11.2": [
        MEAN.format(below="valid.sum().float()", above="(weight * losses).sum()"),
        MEAN.format(below="torch.tensor(float(labels.numel()))", above="(weight * losses).sum()"),
        MEAN.format(below="weights.sum()", above="(weight * losses).sum()"),
        MEAN.format(below="weight.sum()", above="(losses * valid).sum()"),
        MEAN.format(below="valid.sum().float()", above="(losses * valid).sum()"),
        """
def weighted_mean(losses, labels, weights):
    weight = weights[labels.clamp(max=2)]
    return (weight * losses).sum() / weight.sum()
""",
        """
def weighted_mean(losses, labels, weights):
    valid = labels != 255
    weight = weights[labels[valid]]
    return (weight * losses[valid]).sum() / weight.sum()
""",
        MEAN.format(below="weight.sum()", above="(weight * losses)"),
    ],
    "11.3": [
        DICE.format(classes=3, p="probabilities[:, k] * valid", smooth=1, result="torch.stack(terms).mean()"),
        DICE.format(classes=3, p="probabilities[:, k]", smooth=1, result="1 - torch.stack(terms).mean()"),
        DICE.format(classes=3, p="probabilities[:, k] * valid", smooth=1e-9, result="1 - torch.stack(terms).mean()"),
        DICE.format(classes=2, p="probabilities[:, k] * valid", smooth=1, result="1 - torch.stack(terms).mean()"),
        DICE.format(classes=3, p="probabilities[:, k] * valid", smooth=1, result="1 - torch.stack(terms)"),
        """
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
        """
def soft_dice(probabilities, labels):
    valid = (labels != 255).float()
    terms = []
    for k in range(probabilities.shape[1]):
        p, t = probabilities[:, k] * valid, (labels == k).float()
        terms.append(1 - ((p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return torch.stack(terms).mean()
""",
    ],
    "11.4": [
        PAIRED.format(mean="-" + MEAN_DIFFERENCE, sd=SAMPLE_SD),
        PAIRED.format(mean="np.mean(list(row.values())) - np.mean(list(base.values()))", sd=SAMPLE_SD),
        PAIRED.format(mean=MEAN_DIFFERENCE, sd="float(differences.std())"),
        PAIRED.format(mean=MEAN_DIFFERENCE, sd="float(np.std(list(row.values()), ddof=1))"),
        PAIRED.format(mean=MEAN_DIFFERENCE, sd="float(differences.std(ddof=1)) / len(seeds) ** 0.5"),
        PAIRED.format(
            mean=MEAN_DIFFERENCE,
            sd="float(np.hypot(np.std([row[s] for s in seeds], ddof=1), np.std([base[s] for s in seeds], ddof=1)))",
        ),
        """
def paired(base, row):
    differences = np.array([b - a for a, b in zip(base.values(), row.values())])
    return float(differences.mean()), float(differences.std(ddof=1))
""",
        PAIRED.format(mean=MEAN_DIFFERENCE, sd="float(np.ptp(differences))"),
    ],
}
