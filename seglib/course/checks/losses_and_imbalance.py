"""Checks of notebook 12: median weights, the weighted mean over pixels, Dice under void, the mean of networks."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, kind
from seglib.data import VOID
from seglib.train.optim import reestimate_batch_norm


@exercise("12.1", "The middle class has weight 1, and a class is compared only with the images it occurs in.")
def median_weights(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Takes odd and even numbers of classes, and a class without a pixel."""

    def values(pixels: np.ndarray, images_with: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        frequency, of_all = pixels / np.maximum(images_with, 1), pixels / pixels.sum()
        present = np.sort(frequency[pixels > 0])

        def weigh(middle: float, below: np.ndarray = frequency) -> np.ndarray:
            return np.divide(middle, below, out=np.zeros(len(pixels)), where=pixels > 0)

        return weigh(np.median(present)), {
            "divide by `images_with`, not by all pixels.": weigh(np.median(of_all[pixels > 0]), of_all),
            "that is upside down: a frequent class should get a small weight.": frequency / np.median(present),
            "that is the frequencies' mean, not their median.": weigh(present.mean()),
            "the median of an even number is the mean of the middle two.": weigh(present[(len(present) - 1) // 2]),
            "classes without a pixel do not count in the median.": weigh(np.median(frequency)),
        }

    pixels = [800, 60, 30, 10, 100], [90, 10], [500, 0, 20, 120]
    images_with = [1000, 200, 150, 100, 250], [100, 20], [680, 0, 60, 600]
    cases = zip(map(np.array, pixels), map(np.array, images_with), strict=True)
    compare(answer, cases, values, "the median frequency over each class's own, 0 for a class without a pixel.")


@exercise("12.2", "Void is in neither sum, and a common factor of all weights changes nothing.")
def weighted_mean(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Takes a batch with some void, the same with small weights, and a batch with nothing else than void."""
    weights = torch.tensor([0.5, 2.0, 6.0])
    labels = torch.randint(0, 3, (2, 5, 6))
    labels[0, :2], labels[1, 3] = VOID, VOID
    losses = torch.rand(2, 5, 6) + 0.2
    clipped, valid = weights[labels.clamp(max=2)], labels != VOID
    above, below = (clipped * losses)[valid].sum(), clipped[valid].sum()
    usual = {
        "divided by the number of valid pixels: a common factor would act as a learning rate.": above / valid.sum(),
        "divided by the number of all pixels, void too.": above / labels.numel(),
        "divided by the sum of the K weights; count each pixel's weight once.": above / weights.sum(),
        "void pixels count as the last class: 255 was clipped.": (clipped * losses).sum() / clipped.sum(),
        "the weights are missing in the sum above the line.": losses[valid].sum() / below,
        "that is the mean without weights.": losses[valid].mean(),
    }
    found = call(answer, losses.clone(), labels.clone(), weights.clone())
    diagnose("The weighted mean", found, above / below, usual, "sum of weight times loss over sum of weight.")
    found = call(answer, losses.clone(), labels.clone(), weights / 1000)
    hint = "a common factor should cancel; guard the lower sum where it is 0, and nowhere else."
    diagnose("The mean with a thousandth of the weights", found, above / below, {}, hint)
    found = call(answer, losses.clone(), torch.full_like(labels, VOID), weights.clone())
    diagnose("The mean of a batch of void", float(found), 0.0, {}, "0/0; see that the lower sum is not 0.")


@exercise("12.3", "One sum over all pixels that have a label; a region counts by what overlaps.")
def soft_dice(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Takes two images, of which one holds void; a class has no pixel."""
    probabilities = torch.softmax(2 * torch.randn(2, 3, 4, 5), dim=1)
    labels = torch.randint(0, 2, (2, 4, 5))
    labels[1, :3] = VOID

    def dice(images: slice = slice(2), smooth: int = 1, twice: int = 2, void: bool = False, classes: int = 3) -> Tensor:
        terms, valid = [], (labels[images] != VOID) | void
        for k in range(classes):
            predicted, labelled = probabilities[images, k] * valid, labels[images] == k
            overlap = predicted[labelled].sum()
            terms.append(1 - (twice * overlap + smooth) / (predicted.sum() + labelled.sum() + smooth))
        return torch.stack(terms).mean()

    usual = {
        "that is the Dice coefficient; the loss is 1 minus it.": 1 - dice(),
        "void pixels count in the predicted area; take them out of both sums.": dice(void=True),
        "that is a mean over the images.": (dice(slice(1)) + dice(slice(1, 2))) / 2,
        "the constant 1 above and below the line is missing.": dice(smooth=0),
        "the 2 above the line is missing.": dice(twice=1),
        "class 2 is left out; where it is predicted its term should fall.": dice(classes=2),
    }
    found = call(answer, probabilities.clone(), labels.clone())
    diagnose("The loss", found, dice(), usual, "(2 I + 1) / (P + L + 1) for each class, then the mean.")


@exercise("12.4", "The weights are averaged; the statistics are measured again.")
def mean_network(answer: Callable[[list[nn.Module], list[Tensor]], nn.Module]) -> None:
    """Takes three small networks with statistics of their own."""
    batches = [torch.randn(4, 3, 6, 6) + shift for shift in range(3)]
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).eval() for _ in range(3)]
    for i, network in enumerate(networks):
        nn.init.uniform_(network[1].weight)
        nn.init.uniform_(network[1].bias)
        network[1].running_mean.fill_(i)
        network[1].running_var.fill_(2 + i)
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    right = copy.deepcopy(networks[0])
    right.load_state_dict({name: torch.stack([s[name] for s in before]).float().mean(0) for name in before[0]})
    usual_weights = {
        "that is the first network still.": networks[0][0].weight.detach().clone(),
        "that is the last network.": networks[2][0].weight.detach().clone(),
        "that is the sum; divide by the number of networks.": 3 * right[0].weight.detach(),
    }
    averaged = right[1].running_var.clone()
    reestimate_batch_norm(right, batches, nn.Identity())
    of_first = copy.deepcopy(networks[0])
    reestimate_batch_norm(of_first, batches, nn.Identity())
    found = call(answer, networks, [batch.clone() for batch in batches])
    expect(isinstance(found, nn.Module), f"A network is expected, found {kind(found)}.")
    hint = "load a state_dict that holds the means."
    diagnose("The first weight", found[0].weight.detach(), right[0].weight.detach(), usual_weights, hint)
    usual = {
        "that is the mean of the networks' variances; estimate them anew for the mean network.": averaged,
        "those are the first network's statistics.": before[0]["1.running_var"],
        "estimate the statistics after the weights are averaged, not before.": of_first[1].running_var,
    }
    hint = "statistics are a plain mean over the batches, as in exercise 8.3."
    diagnose("The running variance", found[1].running_var, right[1].running_var, usual, hint)
    state = found.state_dict()
    hint = "take the mean of every tensor of the state_dict that holds floating-point numbers."
    for name, value in right.state_dict().items():
        if value.is_floating_point():
            diagnose(f"{name} of the mean network", state.get(name), value, {}, hint)
    same = all(
        torch.equal(value, kept[name])
        for network, kept in zip(networks, before, strict=True)
        for name, value in network.state_dict().items()
    )
    expect(same, "One of the given networks has changed.", "work on a copy: copy.deepcopy(networks[0]).")
    training = any(module.training for module in found.modules())
    expect(not training, "The mean network, or a part of it, is in training mode.", "call eval() before you return it.")
