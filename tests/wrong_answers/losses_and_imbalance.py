"""Usual wrong answers to the exercises of notebook 12."""

from tests.wrong_answers import fill

MEDIAN = fill(
    """
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
valid = (labels != 255).float()
terms = []
for k in range({classes}):
    p, t = {p}, (labels == k).float()
    terms.append(({twice} * (p * t).sum() + {smooth}) / (p.sum() + t.sum() + {smooth}))
return {result}
""",
    classes=3,
    p="probabilities[:, k] * valid",
    smooth=1,
    twice=2,
    result="1 - torch.stack(terms).mean()",
)
MEAN_NETWORK = fill(
    """
import copy
from seglib.train.optim import reestimate_batch_norm
states = [network.state_dict() for network in networks]
mean = {{name: {mean} if first.is_floating_point() else first for name, first in states[0].items()}}
result = {start}
{load}
{anew}
return {result}
""",
    mean="torch.stack([state[name] for state in states]).mean(0)",
    start="copy.deepcopy(networks[0])",
    load="result.load_state_dict(mean)",
    anew="reestimate_batch_norm(result, batches, torch.nn.Identity())",
    result="result.eval()",
)

WRONG = {
    "12.1": {
        "divide by `images_with`": MEDIAN(below="pixels.sum()"),
        "that is the frequencies' mean, not": MEDIAN(middle="np.mean(frequency[pixels > 0])"),
        "that is upside down": MEDIAN(above="frequency, middle"),
        "classes without a pixel do not count in the median": MEDIAN(middle="np.median(frequency)"),
        "the median of an even number": MEDIAN(middle="np.sort(frequency[pixels > 0])[((pixels > 0).sum() - 1) // 2]"),
        "0 for a class without a pixel": MEDIAN(above="middle, np.maximum(frequency, 1e-6)").replace(
            ", out=np.zeros(len(pixels)), where=pixels > 0)\n", ")\n"
        ),
        "should have the shape (5,)": "return [1.0]",
    },
    "12.2": {
        "divided by the number of valid pixels": MEAN(below="valid.sum().float()"),
        "divided by the number of all pixels": MEAN(below="torch.tensor(float(labels.numel()))"),
        "divided by the sum of the K weights": MEAN(below="weights.sum()"),
        "the weights are missing in the sum above the line": MEAN(above="(losses * valid).sum()"),
        "that is the mean without weights": MEAN(below="valid.sum().float()", above="(losses * valid).sum()"),
        "void pixels count as the last class": MEAN(
            below="weights[labels.clamp(max=2)].sum()", above="(weights[labels.clamp(max=2)] * losses).sum()"
        ),
        "The mean of a batch of void is nan": MEAN(below="weight.sum() / valid.any()"),
        "The weighted mean should have the shape ()": MEAN(above="(weight * losses)"),
    },
    "12.3": {
        "that is the Dice coefficient": DICE(result="torch.stack(terms).mean()"),
        "void pixels count in the predicted area": DICE(p="probabilities[:, k]"),
        "the constant 1 above and below the line is missing": DICE(smooth=1e-09),
        "class 2 is left out": DICE(classes=2),
        "The loss should have the shape ()": DICE(result="1 - torch.stack(terms)"),
        "that is a mean over the images": """
terms = []
for probability, label in zip(probabilities, labels):
    for k in range(3):
        p, t = probability[k] * (label != 255), label == k
        terms.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
return torch.stack(terms).mean()
""",
        "the 2 above the line is missing": DICE(twice=1),
    },
    "12.4": {
        "that is the first network still": MEAN_NETWORK(load=""),
        "that is the last network": MEAN_NETWORK(load="result.load_state_dict(states[-1])"),
        "that is the sum": MEAN_NETWORK(mean="torch.stack([state[name] for state in states]).sum(0)"),
        "load a state_dict that holds the means": MEAN_NETWORK(
            mean="torch.stack([s[name] for s in states[:2]]).mean(0)"
        ),
        "that is the mean of the networks' variances": MEAN_NETWORK(anew=""),
        "after the weights are averaged, not before": MEAN_NETWORK(
            load="",
            anew="""reestimate_batch_norm(result, batches, torch.nn.Identity())
for name, value in result.named_parameters():
    value.data = mean[name]""",
        ),
        "statistics are a plain mean": MEAN_NETWORK(anew="result[1].reset_running_stats()"),
        "One of the given networks has changed": MEAN_NETWORK(start="networks[0]"),
        "The mean network is in training mode": MEAN_NETWORK(result="result.train()"),
        "A network is expected": MEAN_NETWORK(result="mean"),
    },
}
