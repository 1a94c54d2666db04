"""Checks of notebook 08: merged statistics, the memory of a running mean, statistics estimated anew, equal images."""

import copy
from collections.abc import Callable

import msgspec
import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, kind
from seglib.recipe import Recipe


@exercise("8.1", "The variance of all is the mean of the parts' variances plus the variance of their means.")
def merged(answer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Takes four parts of unequal size and mean; compares with all values put together."""
    parts = [torch.randn(n, 3) + i for i, n in enumerate((2, 3, 6, 9))]
    means = torch.stack([part.mean(0) for part in parts])  # (4, 3)
    variances = torch.stack([part.var(0, correction=0) for part in parts])
    counts = torch.tensor([len(part) for part in parts])
    found = call(answer, means.clone(), variances.clone(), counts.clone())
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (mean, variance).")
    everything, share = torch.cat(parts), (counts / counts.sum())[:, None]
    mean, variance = everything.mean(0), everything.var(0, correction=0)
    usual = {"a part with more values counts for more: weigh by `counts`.": means.mean(0)}
    diagnose("The mean", found[0], mean, usual, "the sum over the parts of count times mean, over all counts.")
    usual = {
        "that is the mean of the parts' variances; how far the parts lie apart is missing.": (share * variances).sum(0),
        "variances and mean squares are averaged without their counts.": (variances + means**2).mean(0) - mean**2,
        "that is the mean square; subtract the square of the mean.": variance + mean**2,
        "that is the variance of the means only.": (share * (means - mean) ** 2).sum(0),
        "that is the standard deviation.": variance.sqrt(),
        "that is the unbiased variance, divided by n - 1; batch norm divides by n.": everything.var(0),
    }
    diagnose("The variance", found[1], variance, usual, "mean square of all minus the square of the mean of all.")


@exercise("8.2", "A small batch with the same momentum remembers fewer images, in proportion.")
def images_remembered(answer: Callable[[float, int], float]) -> None:
    """Takes several momenta and batch sizes."""

    def values(momentum: float, batch_size: int) -> tuple[float, dict[str, float]]:
        batches = (2 - momentum) / momentum
        return batch_size * batches, {
            "that is the number of batches; each has `batch_size` images.": batches,
            "1 / momentum is the time in which a value fades; square the weights.": batch_size / momentum,
            "in TensorFlow's convention the number is 1 - momentum.": batch_size * (1 + momentum) / (1 - momentum),
            "that is the sum of the squared weights; its inverse is asked for.": 1 / batches,
            "the batch size is on the wrong side of the fraction.": batches / batch_size,
        }

    cases = [(0.1, 4), (0.1, 16), (0.5, 8), (0.02, 2)]
    compare(answer, cases, values, "batch_size over the sum of the squared weights.", read=float)


@exercise("8.3", "The weights are the old ones; what they are evaluated with is new.")
def statistics_anew(answer: Callable[[nn.Module, list[Tensor]], nn.Module]) -> None:
    """Takes a network with old statistics, two momenta and a dropout that leaves nothing, in training mode."""
    norms = nn.BatchNorm2d(4), nn.BatchNorm2d(2, momentum=0.3)
    head = nn.Sequential(nn.Conv2d(4, 2, 1), norms[1])
    network = nn.Sequential(nn.Conv2d(3, 4, 3), norms[0], nn.Dropout(1.0), head)
    batches = [torch.randn(4, 3, 6, 6) + shift for shift in range(3)]
    for norm in norms:
        norm.running_mean.fill_(5)
        norm.num_batches_tracked.fill_(100)

    def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
        return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]

    def read(model: nn.Module) -> Tensor:
        return torch.cat([torch.cat([norm.running_mean, norm.running_var]) for norm in norms_of(model)])

    def gather(dropout: bool = False, reset: bool = True, **momentum: float | None) -> Tensor:
        model = copy.deepcopy(network)
        model[2].train(dropout)
        for norm in norms_of(model):
            norm.momentum = momentum.get("momentum", norm.momentum)
            if reset:
                norm.reset_running_stats()
        with torch.no_grad():
            for batch in batches:
                model(batch)
        return read(model)

    usual = {
        "nothing was gathered: batch norms do that in training mode only.": torch.tensor(
            [0.0, 1, 0, 1]
        ).repeat_interleave(torch.tensor([4, 4, 2, 2])),
        "the old statistics are there still.": read(network),
        "dropout was on while the batches ran.": gather(dropout=True, momentum=None),
        "the old statistics still count: reset_running_stats().": gather(reset=False, momentum=None),
        "the old statistics still count, and a momentum is no plain mean.": gather(reset=False),
        "that is a running mean with the momentum of training; None gives the plain mean.": gather(),
    }
    model = copy.deepcopy(network)
    found = call(answer, model, [batch.clone() for batch in batches])
    expect(isinstance(found, nn.Module), f"The network is expected, found {kind(found)}.")
    right, hint = gather(momentum=None), "the mean of the batches' own means, and of their unbiased variances."
    diagnose("The running means and variances", read(found), right, usual, hint)
    same = all(map(torch.equal, found.parameters(), network.parameters()))
    expect(same, "A weight has changed.", "nothing is trained here.")
    momenta = [norm.momentum for norm in norms_of(found)]
    expect(momenta == [0.1, 0.3], f"The momenta are {momenta} now.", "give each batch norm its own back.")
    expect(
        not any(m.training for m in found.modules()), "The network is in training mode.", "network.eval() at the end."
    )


@exercise("8.4", "More steps, each smaller: what is equal for the network takes longer.")
def at_equal_images(answer: Callable[[Recipe, int], Recipe]) -> None:
    """Takes smaller and larger batches, with and without a length of the decay of its own."""
    toy = Recipe.load("toy_ablation")
    for recipe, batch_size in ((toy, 4), (toy, 32), (toy.replace(decay_steps=800), 8)):
        found = call(answer, recipe, batch_size)
        expect(isinstance(found, Recipe), f"A Recipe is expected, found {kind(found)}.")
        factor, what = batch_size / recipe.batch_size, f"From batches of {recipe.batch_size} to {batch_size}, "
        diagnose(f"{what}batch_size", found.batch_size, batch_size, {}, "replace(batch_size=...) returns a new recipe.")
        diagnose(f"{what}iterations", found.iterations, round(recipe.iterations / factor), {}, "see as many images.")
        usual = {
            "the rate has to change with the batch size, so that lr / batch size stays.": recipe.lr,
            "that is the rule of the square root; here lr / batch size is to stay.": recipe.lr * factor**0.5,
            "the wrong way round: the smaller the batch, the smaller the rate.": recipe.lr / factor,
        }
        diagnose(f"{what}lr", found.lr, recipe.lr * factor, usual, "lr times the new batch size over the old one.")
        steps = None if recipe.decay_steps is None else round(recipe.decay_steps / factor)
        diagnose(f"{what}decay_steps", found.decay_steps, steps, {}, "the decay's steps follow; None stays None.")
        others = _changed(recipe, found) - {"batch_size", "iterations", "lr", "decay_steps"}
        expect(not others, f"{what}{sorted(others)} changed as well.")


def _changed(one: Recipe, other: Recipe) -> set[str]:
    first, second = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return {name for name in first if name != "seed" and first[name] != second[name]}
