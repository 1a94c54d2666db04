"""What a network, its weights and its loss do with one batch."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.data.transforms import IMAGENET, UNIT, Normalisation
from seglib.diagnose.report import Finding, find
from seglib.diagnose.samples import Source, draw_edges
from seglib.diagnose.scores import to_classes
from seglib.files import some
from seglib.models.deeplab import PAPER_RATES
from seglib.models.layers import conv3x3_dilations
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.start import build_network
from seglib.zoo.audit import IN_ASPP, PEERS, nominal_stride

SIDE = 193  # largest side of the batch
IGNORED = -100  # what cross-entropy leaves out by default
Loss = Callable[[Tensor, Tensor], Tensor]
Normalise = Callable[[Tensor], Tensor]
CONVENTIONS = {  # (RGB / 255 - mean) / std; of the last one red and blue are always exchanged
    "ImageNet's mean and deviation": IMAGENET,
    "-1 to 1": UNIT,
    "0 to 1": Normalisation((0.0,) * 3, (1.0,) * 3),
    "0 to 255": Normalisation((0.0,) * 3, (1 / 255,) * 3),
    "ImageNet's mean subtracted from 0 to 255": Normalisation(IMAGENET.mean, (1 / 255,) * 3),
}


class Batch(NamedTuple):
    """Samples cut to one size from their middle, as the network gets them."""

    images: Tensor  # (B, C, H, W) float32
    labels: Tensor  # (B, H, W) int64
    raw: bool  # the data set gave uint8
    pixels: Tensor | None  # (B, 3, H, W) uint8 RGB, if images were made of such, or are in one of CONVENTIONS


def make_batch(source: Source, count: int, normalise: Normalise | None, device: torch.device) -> Batch | None:
    """Makes a batch; None without a sample of an image and a label of integers (H, W)."""
    samples = [(x, y) for _, x, y in source.take(count) if y.ndim == 2 and y.dtype.kind != "f"]
    usual = np.median([min(label.shape) for _, label in samples] or [0]) / 2
    samples = [pair for pair in samples if min(pair[1].shape) >= min(usual, SIDE)]  # a tiny one would cut the others
    if not samples:
        return None
    side = [min(SIDE, *(label.shape[axis] for _, label in samples)) for axis in (0, 1)]
    cut = []
    for pair in samples:
        top, left = ((whole - part) // 2 for whole, part in zip(pair[1].shape, side, strict=True))
        cut.append([array[top : top + side[0], left : left + side[1]] for array in pair])
    given, labels = (torch.from_numpy(np.stack(each)).to(device) for each in zip(*cut, strict=True))
    given, raw, pixels = given.permute(0, 3, 1, 2), given.dtype == torch.uint8, None
    images = (normalise or IMAGENET)(given) if raw else given.float()
    if given.shape[1] == 3 and raw:
        pixels = given
    elif given.shape[1] == 3 and (known := guess_convention(images)):
        mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (known.mean, known.std))
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return Batch(images, labels.long(), raw, pixels)


def guess_convention(images: Tensor) -> Normalisation | None:
    """Finds the pixel convention whose range the values fill, at least by half; None if there is none."""
    low, high = images.amin((0, 2, 3)).cpu(), images.amax((0, 2, 3)).cpu()
    best = (0.5, None)
    for known in CONVENTIONS.values():
        bottom, top = ((v - torch.tensor(known.mean)) / torch.tensor(known.std) for v in (0.0, 1.0))
        slack, filled = 0.02 * (top - bottom), float(((high - low) / (top - bottom)).mean())
        if (low >= bottom - slack).all() and (high <= top + slack).all() and filled > best[0]:
            best = (filled, known)
    return best[1]


def check_inputs(images: Tensor) -> Iterator[Finding]:
    """Checks the range of what the network gets."""
    if (images.flatten(2).std(dim=2) < 1e-6).all() or not images.isfinite().all():
        yield find("inputs_constant", value=float(images.flatten()[0]))
        return
    low, high, mean, std = (float(value) for value in (images.min(), images.max(), images.mean(), images.std()))
    if std > 10 or abs(mean) > 10:
        yield find("inputs_not_normalised", low=low, high=high, mean=mean, std=std)
    elif low >= 0 and high <= 1.01:
        yield find("inputs_0_to_1", low=low, high=high, mean=mean, std=std)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Runs any segmentation network; its logits at the images' size. -> (B, K, H, W)."""
    found = model(images)
    found = found["out"] if isinstance(found, Mapping) else found[0] if isinstance(found, tuple | list) else found
    if found.shape[2:] != images.shape[2:]:
        found = F.interpolate(found, size=images.shape[2:], mode="bilinear", align_corners=False)
    return found.float()


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """Lists the batch norms that keep statistics."""
    kind = nn.modules.batchnorm._BatchNorm
    return {name: m for name, m in model.named_modules() if isinstance(m, kind) and m.running_mean is not None}


def is_fresh(norm: nn.Module) -> bool:
    """Tells whether a batch norm is as it is drawn: no statistics, scale 1."""
    plain = norm.weight is None or (norm.weight == norm.weight.flatten()[0]).all()
    return bool((norm.running_mean == 0).all() and (norm.running_var == 1).all() and plain)


@torch.no_grad()
def check_structure(model: nn.Module, recipe: Recipe | None, classes: Sequence[str], images: Tensor) -> list[Finding]:
    """Checks dilations and rates against the recipe, or against the output stride."""
    layers, stride, findings = conv3x3_dilations(model), 0, []
    aspp = [(name, rate) for name, _, rate in layers if IN_ASPP.search(name)]
    rates = tuple(rate for _, rate in aspp)
    if aspp:
        widths: list[int] = []
        with model.get_submodule(aspp[0][0]).register_forward_pre_hook(lambda _, x: widths.append(x[0].shape[-1])):
            model(images[:1])
        stride = 2 ** round(math.log2(images.shape[-1] / widths[0]))
    if recipe is not None and not recipe.source and hasattr(model, "output_stride"):
        with torch.random.fork_rng(devices=[]):
            expected = build_network(recipe, classes, initial=False)
        if hasattr(expected, "set_output_stride") and expected.output_stride != model.output_stride:
            expected.set_output_stride(model.output_stride)
        pairs = [pair for pair in zip(layers, conv3x3_dilations(expected), strict=False) if pair[0] != pair[1]]
        for name, inside in (("rates_not_scaled", True), ("dilations", False)):
            if differ := [f"{a[2]} for {b[2]} in {a[0]}" for a, b in pairs if ("aspp" in a[0]) == inside]:
                text = f"at output stride {model.output_stride}, beside the recipe's: {some(differ, 3)}"
                findings.append(find(name, text))
    elif rates:
        named = nominal_stride(model, stride)
        paper = {s: tuple(rate * 16 // s for rate in PAPER_RATES) for s in (8, 16, 32, named)}
        peers = {(s, own.atrous_rates) for peer in PEERS for s, own in peer.dilations.items()}  # as they were trained
        if rates != paper[named] and rates in paper.values() and (named, rates) not in peers:
            text = f"rates {rates} at output stride {named}; the papers' are {paper[named]}"
            findings.append(find("rates_not_scaled", text))
        last = [rate for name, _, rate in layers if ".layer4." in f".{name}"]
        if last and max(last) * named < 32:
            text = f"output stride {named}, dilations {last} of block 4: its stride was taken out"
            findings.append(find("dilations", f"{text}, and nothing put in its place"))
    side = recipe.crop_size if recipe is not None else images.shape[-1]
    if rates and max(rates) >= (cells := -(-side // stride)):
        findings.append(find("rates_beyond_map", rates=rates, cells=cells, side=side))
    return findings


def check_weights(model: nn.Module, recipe: Recipe | None, trained: bool) -> Iterator[Finding]:
    """Looks which batch norms are as they were drawn: in a backbone with pretrained weights, none is."""
    norms = norms_of(model)
    fresh = [is_fresh(norm) for norm in norms.values()]
    if fresh and all(fresh):
        scales = [norm for norm in norms.values() if norm.weight is not None]
        frozen = model.training and all(not norm.training or not norm.weight.requires_grad for norm in scales)
        if frozen or (recipe is not None and recipe.freeze_bn):
            yield find("batch_norm_frozen", number=len(norms))
        wanted = (recipe.weights or recipe.start_from) if recipe is not None else ""
        if wanted or trained:
            why = f"the recipe names {wanted}" if wanted else "yet it is trained"
            yield find("weights_missing", number=len(norms), why=why)
        else:
            yield find("random_weights", number=len(norms))
    elif True in fresh and False in fresh[fresh.index(True) :]:
        later = len(fresh) - 1 - fresh[::-1].index(False)
        names = [name for name, new in list(zip(norms, fresh, strict=True))[:later] if new]
        yield find("weights_half_loaded", number=len(names), names=some(names, 2))


class _StopError(Exception):
    """Stops a forward pass."""


@torch.no_grad()
def mismatch(model: nn.Module, images: Tensor, only_first: bool = False) -> float:
    """Measures how far a batch's statistics are from those that batch norm keeps, in the mean over layers.

    A layer's is the root of the mean, over channels, of (difference of means / deviation) ** 2 + log(ratio of
    variances) ** 2; 0 is a batch like the training's.
    """
    found = []

    def measure(norm: nn.Module, args: tuple[Tensor]) -> None:
        x, kept = args[0].float(), norm.running_var + norm.eps
        var, mean = torch.var_mean(x, [0, *range(2, x.ndim)])
        part = (mean - norm.running_mean) ** 2 / kept + torch.log((var + norm.eps) / kept) ** 2
        found.append(float(part.clamp(max=100).mean().sqrt()))
        if only_first:
            raise _StopError

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms_of(model).values() if not is_fresh(norm)]
    with suppress(_StopError):
        model(images)
    for hook in hooks:
        hook.remove()
    return float(np.mean(found)) if found else 0.0


def check_convention(model: nn.Module, images: Tensor, pixels: Tensor) -> Iterator[Finding]:
    """Feeds the same pixels in every convention: does batch norm know another one better?"""
    norms = norms_of(model)
    if not norms or is_fresh(next(iter(norms.values()))):
        return
    others = {name: convention(pixels) for name, convention in CONVENTIONS.items()}
    others |= {f"{name}, blue first": values.flip(1) for name, values in others.items()}
    off = {name: mismatch(model, values, only_first=True) for name, values in others.items()}
    best = min(off, key=off.get)
    if mismatch(model, images, only_first=True) > 1.3 * off[best]:
        before, after = mismatch(model, images), mismatch(model, others[best])
        if after < min(2.0, 0.95 * before):
            yield find("pixel_convention", before=before, name=best, after=after)


@torch.no_grad()
def check_outputs(model: nn.Module, batch: Batch, classes: int, void: int | None, trained: bool) -> list[Finding]:
    """Checks logits in evaluation mode: their number and range, the loss, statistics, and training mode beside it."""
    logits, findings = logits_of(model, batch.images), []
    found = logits.shape[1]
    if classes and found != classes:
        return [find("classes_of_the_network", outputs=found, classes=classes)]
    if found > 1 and (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-3:
        findings.append(find("probabilities_for_logits"))
    labels = batch.labels
    outside = (labels < 0) | (labels >= found) | (labels == (-1 if void is None else void))
    if outside.all():
        return findings
    loss = float(F.cross_entropy(logits, labels.masked_fill(outside, IGNORED), ignore_index=IGNORED))
    if loss > 1.5 * math.log(max(2, found)):
        findings.append(find("loss_at_start", loss=loss, expected=math.log(found)))
    if not trained or len(labels) < 4 or all(map(is_fresh, norms_of(model).values())):
        return findings
    off, twin = mismatch(model, batch.images), copy.deepcopy(model)
    for norm in norms_of(twin).values():
        norm.train()
    here, there = (
        float((x.argmax(1) == labels)[~outside].float().mean()) for x in (logits, logits_of(twin, batch.images))
    )
    if there - here > 0.1:
        findings.append(find("batch_norm_statistics", here=here, there=there))
    if off > 1.0:
        findings.append(find("statistics_do_not_fit", off=off))
    return findings


def check_loss(loss: Loss, batch: Batch, classes: int, void: int) -> Iterator[Finding]:
    """Checks what a loss does with void: a batch with twice the pixels, the second half void, has the same loss."""
    labels = batch.labels.masked_fill((batch.labels < 0) | (batch.labels >= classes), void)
    shape = len(labels), classes, *labels.shape[1:]
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(labels.device)
    nothing = torch.full_like(labels, void)
    try:
        plain = float(loss(logits, labels))
        wide = float(loss(torch.cat([logits, logits], dim=3), torch.cat([labels, nothing], dim=2)))
        empty = float(loss(logits, nothing))
    except (IndexError, RuntimeError, ValueError) as error:
        yield find("loss_fails_on_void", f"{type(error).__name__}: {str(error).splitlines()[0]}")
        return
    if abs(wide - plain) > 0.05 * abs(plain):
        yield find("loss_counts_void", plain=plain, wide=wide)
    elif not math.isfinite(empty):
        yield find("loss_nan_without_labels", loss=empty)


def check_learning(model: nn.Module, batch: Batch, loss: Loss, steps: int) -> Iterator[Finding]:
    """Trains a copy of the network on one batch: gradients reach every kernel, and it is learnt by heart."""
    images, labels = batch.images[:2, :, :97, :97], batch.labels[:2, :97, :97]
    if len(images) < 2:
        return
    twin = copy.deepcopy(model).train()
    for module in twin.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    trainable = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    kernels = {name: p for name, p in trainable.items() if p.ndim > 1}
    optimizer = torch.optim.Adam(trainable.values(), lr=2e-3) if trainable else None
    losses: list[float] = []
    for _ in range(steps):
        value = loss(logits_of(twin, images), labels)
        if not value.requires_grad:
            yield find("no_gradient", "no parameter gets a gradient from the loss")
            return
        optimizer.zero_grad()
        value.backward()
        if not losses and (dead := [name for name, p in kernels.items() if p.grad is None or not p.grad.any()]):
            yield find("no_gradient", f"{len(dead)} of {len(kernels)} kernels get no gradient, such as {dead[0]}")
            return
        losses.append(float(value.detach()))
        optimizer.step()
    if not losses[-1] < max(0.75 * losses[0], 0.5):
        picture = draw_edges(images[0].permute(1, 2, 0).cpu().numpy(), labels[0].cpu().numpy())
        yield find("batch_not_learnt", picture=picture, first=losses[0], steps=steps, last=losses[-1])


def check_loader(source: Source) -> Iterator[Finding]:
    """Checks the size of a DataLoader's batches."""
    size = getattr(source.loader, "batch_size", None) or 0
    if size == 1:
        yield find("batch_of_one", "batches of one image")
    elif size and len(source) % size == 1 and not source.loader.drop_last:
        yield find("batch_of_one", f"{len(source)} samples in batches of {size}: the last one has 1")
    if 1 < size < 4:
        yield find("batch_norm_few_images", number=size)


def check_network(
    model: nn.Module | None,
    loss: Loss | None,
    source: Source,
    recipe: Recipe | None,
    names: Sequence[str],
    void: int | None,
    normalise: Normalise | None,
    trained: bool,
    steps: int,
) -> Iterator[Finding]:
    """Checks all of the above; the arguments are those of `seglib.diagnose.check`."""
    if model is None or norms_of(model):
        yield from check_loader(source)
    device = next(model.parameters()).device if model is not None else torch.device("cpu")
    batch = make_batch(source, 8, normalise, device)
    if batch is not None and (normalise is not None or not batch.raw):
        yield from check_inputs(batch.images)
    classes = len(names) or getattr(model, "num_classes", 0)
    if batch is not None and loss is not None and classes and void is not None:
        yield from check_loss(loss, batch, classes, void)
    if model is None:
        return
    yield from check_weights(model, recipe, trained)
    if batch is None:
        return
    seen = copy.deepcopy(model).eval()
    yield from check_structure(seen, recipe, names, batch.images)
    if batch.pixels is not None:
        yield from check_convention(seen, batch.images, batch.pixels)
    yield from check_outputs(seen, batch, classes, void, trained)
    if steps and classes:
        plain = partial(F.cross_entropy, ignore_index=IGNORED if void is None else void)
        yield from check_learning(model, batch, loss or plain, steps)


@torch.no_grad()
def check_mode(
    model: nn.Module, source: Source, predictions: list, normalise: Normalise | None, scoring: Scoring
) -> Iterator[Finding]:
    """Predicts a few pictures again, in evaluation mode; they are (H, W, C), of uint8 or as the network takes them."""
    seen, differ = copy.deepcopy(model).eval(), []
    for index in np.linspace(0, len(predictions) - 1, min(8, len(predictions))).astype(int).tolist():
        found, image = to_classes(predictions[index])[0], source.given(index)[0]
        if image.dtype == np.uint8:
            again = predict_image(seen, image, normalise or IMAGENET, scoring)
        else:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
            again = logits_of(seen, pixels.to(next(seen.parameters()).device)).argmax(1)[0].cpu().numpy()  # (H, W)
        differ += [float((again != found).mean())] if again.shape == found.shape else []
    if differ and np.mean(differ) > 0.05:
        mode = "; it was given in training mode" if model.training else ""
        yield find("train_mode", share=np.mean(differ), mode=mode)
