"""What a network, its weights and its loss do with one batch."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.data.transforms import IMAGENET, UNIT, Normalisation
from seglib.diagnose.report import Finding, find
from seglib.diagnose.samples import Source, draw_edges, take, to_classes
from seglib.files import some
from seglib.models.deeplab import PAPER_RATES
from seglib.models.layers import conv3x3_dilations
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.start import build_network
from seglib.zoo.audit import IN_ASPP

SIDE = 193  # largest side of the batch
BLUE_FIRST = ", blue first"
Loss = Callable[[Tensor, Tensor], Tensor]
Normalise = Callable[[Tensor], Tensor]
CONVENTIONS = {  # (RGB / 255 - mean) / std; of the last one red and blue are always exchanged
    "ImageNet's mean and deviation": IMAGENET,
    "-1 to 1": UNIT,
    "0 to 1": Normalisation((0.0,) * 3, (1.0,) * 3),
    "0 to 255": Normalisation((0.0,) * 3, (1 / 255,) * 3),
    "ImageNet's mean subtracted from 0 to 255": Normalisation(IMAGENET.mean, (1 / 255,) * 3),
}


class Batch:
    """Samples cut to one size from their middle, as the network gets them.

    Attributes:
        images: (B, C, H, W) float32.
        labels: (B, H, W) int64.
        raw: the data set gave uint8.
        pixels: (B, 3, H, W) uint8 RGB, if `images` were made of such, or are in one of CONVENTIONS; else None.
    """

    def __init__(self, source: Source, count: int, normalise: Normalise | None, device: torch.device) -> None:
        samples = [(x, y) for _, x, y in take(source, count) if y.ndim == 2 and y.dtype.kind != "f"]
        if not samples:
            raise ValueError("no sample has an image, and a label of integers (H, W)")
        side = [min(SIDE, *(label.shape[axis] for _, label in samples)) for axis in (0, 1)]
        cut = []
        for pair in samples:
            top, left = ((whole - part) // 2 for whole, part in zip(pair[1].shape, side, strict=True))
            cut.append([array[top : top + side[0], left : left + side[1]] for array in pair])
        images, labels = (torch.from_numpy(np.stack(each)).to(device) for each in zip(*cut, strict=True))
        images, self.labels, self.raw = images.permute(0, 3, 1, 2), labels.long(), images.dtype == torch.uint8
        self.images = (normalise or IMAGENET)(images) if self.raw else images.float()
        self.pixels = images if self.raw and images.shape[1] == 3 else None
        if not self.raw and images.shape[1] == 3 and (known := guess_convention(self.images)):
            mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (known.mean, known.std))
            self.pixels = ((self.images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def guess_convention(images: Tensor) -> Normalisation | None:
    """Finds the pixel convention whose range the values fill, at least by half; None if there is none."""
    low, high = images.amin((0, 2, 3)).cpu(), images.amax((0, 2, 3)).cpu()
    filled = {}
    for name, known in CONVENTIONS.items():
        bottom, top = ((v - torch.tensor(known.mean)) / torch.tensor(known.std) for v in (0.0, 1.0))
        if (low >= bottom - 0.02 * (top - bottom)).all() and (high <= top + 0.02 * (top - bottom)).all():
            filled[name] = float(((high - low) / (top - bottom)).mean())
    best = max(filled, key=filled.get, default="")
    return CONVENTIONS[best] if best and filled[best] > 0.5 else None


def check_inputs(batch: Batch) -> Iterator[Finding]:
    """Checks the range of what the network gets."""
    images = batch.images
    if (images.flatten(2).std(dim=2) < 1e-6).all() or not images.isfinite().all():
        yield find("inputs_constant", f"all values of an image are {images.flatten()[0]:.3g}")
        return
    mean, std = float(images.mean()), float(images.std())
    text = f"values {images.min():.2f} to {images.max():.2f}, mean {mean:.2f}, deviation {std:.2f}"
    if std > 10 or abs(mean) > 10:
        yield find("inputs_not_normalised", f"{text}; expected about 0 and 1")
    elif images.min() >= 0 and images.max() <= 1.01:
        yield find("inputs_0_to_1", f"{text}; expected about 0 and 1")


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


@contextmanager
def as_evaluated(model: nn.Module):
    """Puts a network into evaluation mode without gradients, and undoes that."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_structure(model: nn.Module, recipe: Recipe | None, classes: Sequence[str], batch: Batch) -> Iterator[Finding]:
    """Checks dilations and rates against the recipe, or against the output stride."""
    found = conv3x3_dilations(model)
    aspp = [(name, rate) for name, _, rate in found if IN_ASPP.search(name)]
    stride, rates = 0, tuple(rate for _, rate in aspp)
    if aspp:
        widths: list[int] = []
        layer = model.get_submodule(aspp[0][0])
        with layer.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[-1])), as_evaluated(model):
            model(batch.images[:1])
        stride = 2 ** round(math.log2(batch.images.shape[-1] / widths[0]))
    if recipe is not None and not recipe.source and hasattr(model, "output_stride"):
        with torch.random.fork_rng(devices=[]):
            expected = build_network(recipe, classes, initial=False)
        if hasattr(expected, "set_output_stride") and expected.output_stride != model.output_stride:
            expected.set_output_stride(model.output_stride)
        pairs = zip(found, conv3x3_dilations(expected), strict=False)
        wrong = [(mine[0], mine[2], theirs[2]) for mine, theirs in pairs if mine != theirs]
        for name, inside in (("rates_not_scaled", True), ("dilations", False)):
            if differ := [row for row in wrong if ("aspp" in row[0]) == inside]:
                shown = some([f"{mine} for {theirs} in {layer}" for layer, mine, theirs in differ], 3)
                yield find(name, f"at output stride {model.output_stride}, beside the recipe's: {shown}")
    elif rates:
        paper = tuple(rate * 16 // stride for rate in PAPER_RATES)
        if rates != paper and rates in {tuple(rate * 16 // s for rate in PAPER_RATES) for s in (8, 16, 32)}:
            yield find("rates_not_scaled", f"rates {rates} at output stride {stride}; the papers' are {paper}")
        last = [rate for name, _, rate in found if ".layer4." in f".{name}"]
        if last and max(last) * stride < 32:
            text = f"output stride {stride}, dilations {last} of block 4: its stride was taken out"
            yield find("dilations", f"{text}, and nothing put in its place")
    side = recipe.crop_size if recipe is not None else batch.images.shape[-1]
    if rates and max(rates) >= (cells := -(-side // stride)):
        yield find("rates_beyond_map", f"rates {rates} on maps of {cells} x {cells}, from crops of {side} pixels")


def check_weights(model: nn.Module, recipe: Recipe | None, trained: bool) -> Iterator[Finding]:
    """Looks which batch norms are as they were drawn: in a backbone with pretrained weights, none is."""
    norms = norms_of(model)
    fresh = [is_fresh(norm) for norm in norms.values()]
    if not norms:
        return
    wanted = (recipe.weights or recipe.start_from) if recipe is not None else ""
    frozen = [not norm.training or not norm.weight.requires_grad for norm in norms.values() if norm.weight is not None]
    if all(fresh):
        if (recipe is not None and recipe.freeze_bn) or (model.training and all(frozen)):
            yield find("batch_norm_frozen", f"{len(norms)} batch norms are frozen with mean 0 and variance 1")
        text = f"all {len(norms)} batch norms are as they were drawn"
        if wanted or trained:
            yield find("weights_missing", f"{text}; {f'the recipe names {wanted}' if wanted else 'yet it is trained'}")
        else:
            yield find("random_weights", text)
    elif True in fresh and False in fresh[fresh.index(True) :]:
        later = len(fresh) - 1 - fresh[::-1].index(False)
        names = [name for name, new in list(zip(norms, fresh, strict=True))[:later] if new]
        text = f"{len(names)} batch norms, {some(names, 2)}, are as drawn, later ones are not"
        yield find("weights_half_loaded", text)


class _StopError(Exception):
    """Stops a forward pass."""


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

    norms = [norm for norm in norms_of(model).values() if not is_fresh(norm)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    try:
        with as_evaluated(model), suppress(_StopError):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(np.mean(found)) if found else 0.0


def check_convention(model: nn.Module, batch: Batch) -> Iterator[Finding]:
    """Feeds the same pixels in every convention: does batch norm know another one better?"""
    norms = norms_of(model)
    if batch.pixels is None or batch.pixels.shape[1] != 3 or not norms or is_fresh(next(iter(norms.values()))):
        return
    now = mismatch(model, batch.images, only_first=True)
    others = {}
    for name, convention in CONVENTIONS.items():
        images = convention(batch.pixels)
        others[name], others[name + BLUE_FIRST] = (mismatch(model, x, True) for x in (images, images.flip(1)))
    best = min(others, key=others.get)
    if now > 1.3 * others[best]:
        images = CONVENTIONS[best.removesuffix(BLUE_FIRST)](batch.pixels)
        images = images.flip(1) if best.endswith(BLUE_FIRST) else images
        before, after = mismatch(model, batch.images), mismatch(model, images)
        if after < min(2.0, 0.95 * before):
            text = f"batch norm's statistics are {before:.2f} off, with pixels as {best} {after:.2f}"
            yield find("pixel_convention", text)


def check_outputs(model: nn.Module, batch: Batch, classes: int, void: int | None, trained: bool) -> Iterator[Finding]:
    """Checks logits in evaluation mode: their number and range, the loss, statistics, and training mode beside it."""
    with as_evaluated(model):
        logits = logits_of(model, batch.images)
    found = logits.shape[1]
    if classes and found != classes:
        yield find("classes_of_the_network", f"the network has {found} outputs, the data set {classes} classes")
        return
    if found > 1 and (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-3:
        yield find("probabilities_for_logits", "outputs are between 0 and 1 and sum to 1 over the classes")
    labels = _masked(batch.labels, void, found)
    valid = labels != -100
    if not valid.any():
        return
    loss = float(F.cross_entropy(logits, labels, ignore_index=-100))
    if loss > 1.5 * math.log(max(2, found)):
        yield find("loss_at_start", f"{loss:.2f} on a batch of training samples; ln K is {math.log(found):.2f}")
    norms = norms_of(model)
    if len(batch.images) < 4 or not norms or all(map(is_fresh, norms.values())):
        return
    twin = copy.deepcopy(model).eval()
    for norm in norms_of(twin).values():
        norm.train()
    with torch.no_grad():
        batchwise = logits_of(twin, batch.images)
    here, there = (float((x.argmax(1) == labels)[valid].float().mean()) for x in (logits, batchwise))
    if trained and there - here > 0.1:
        text = f"{here:.0%} of a training batch's pixels are right in evaluation mode"
        yield find("batch_norm_statistics", f"{text}, {there:.0%} with the batch's own statistics")
    if trained and (off := mismatch(model, batch.images)) > 1.0:
        text = f"in the mean, batch norm's statistics are {off:.2f} off a training batch's"
        yield find("statistics_do_not_fit", text)


def _masked(labels: Tensor, void: int | None, classes: int) -> Tensor:
    return labels.masked_fill((labels < 0) | (labels >= classes) | (labels == (-1 if void is None else void)), -100)


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
        text = f"{plain:.3f}; with as many void pixels beside them {wide:.3f}"
        yield find("loss_counts_void", f"the loss of the same labelled pixels is {text}")
    elif not math.isfinite(empty):
        yield find("loss_nan_without_labels", f"a batch of void gives {empty}")


def check_learning(model: nn.Module, batch: Batch, loss: Loss, steps: int) -> Iterator[Finding]:
    """Trains a copy of the network on one batch: gradients reach every kernel, and it is learnt by heart."""
    twin = copy.deepcopy(model).train()
    images, labels = batch.images[:2, :, :97, :97], batch.labels[:2, :97, :97]
    if len(images) < 2:
        return
    for module in twin.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    trainable = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    losses: list[float] = []
    for step in range(steps):
        value = loss(logits_of(twin, images), labels)
        losses.append(float(value.detach()))
        if not trainable or not value.requires_grad:
            yield find("no_gradient", "no parameter gets a gradient from the loss")
            return
        if step == 0:
            optimizer = torch.optim.Adam(trainable.values(), lr=2e-3)
        optimizer.zero_grad()
        value.backward()
        kernels = {name: p for name, p in trainable.items() if p.ndim > 1}
        if step == 0 and (dead := [n for n, p in kernels.items() if p.grad is None or not p.grad.any()]):
            yield find("no_gradient", f"{len(dead)} of {len(kernels)} kernels get no gradient, such as {dead[0]}")
            return
        optimizer.step()
    if not losses[-1] < max(0.75 * losses[0], 0.5):
        text = f"loss {losses[0]:.2f}, after {steps} steps on one batch {losses[-1]:.2f}"
        picture = draw_edges(images[0].permute(1, 2, 0).cpu().numpy(), labels[0].cpu().numpy())
        yield find("batch_not_learnt", text, picture)


def check_loader(source: Source, model: nn.Module | None) -> Iterator[Finding]:
    """Checks the size of a DataLoader's batches."""
    if model is not None and not norms_of(model):
        return
    size = getattr(source.loader, "batch_size", None)
    if size == 1:
        yield find("batch_of_one", "batches of one image")
    elif size:
        if len(source) % size == 1 and not source.loader.drop_last:
            yield find("batch_of_one", f"{len(source)} samples in batches of {size}: the last one has 1")
        if size < 4:
            yield find("batch_norm_few_images", f"its statistics are taken over {size} images at a time")


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
    if model is not None:
        yield from check_weights(model, recipe, trained)
    yield from check_loader(source, model)
    try:
        device = next(model.parameters()).device if model is not None else torch.device("cpu")
        batch = Batch(source, 8, normalise, device)
    except ValueError:  # told of elsewhere
        return
    if normalise is not None or not batch.raw:
        yield from check_inputs(batch)
    classes = len(names) or getattr(model, "num_classes", 0)
    if loss is not None and classes and void is not None:
        yield from check_loss(loss, batch, classes, void)
    if model is None:
        return
    yield from check_structure(model, recipe, names, batch)
    yield from check_convention(model, batch)
    yield from check_outputs(model, batch, classes, void, trained)
    if steps and classes:
        plain = partial(F.cross_entropy, ignore_index=-100 if void is None else void)
        yield from check_learning(model, batch, loss or plain, steps)


def predict_again(
    model: nn.Module, image: np.ndarray, normalise: Normalise | None, recipe: Recipe | None
) -> np.ndarray:
    """Predicts an image (H, W, C), of uint8 or as the network takes it, in evaluation mode. -> (H, W) uint8."""
    if image.dtype == np.uint8:
        return predict_image(model, image, normalise or IMAGENET, Scoring() if recipe is None else Scoring.of(recipe))
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    with as_evaluated(model):
        return logits_of(model, pixels.to(next(model.parameters()).device)).argmax(1)[0].cpu().numpy().astype(np.uint8)


def check_mode(
    model: nn.Module, source: Source, predictions: list, recipe: Recipe | None, normalise: Normalise | None
) -> Iterator[Finding]:
    """Predicts a few pictures again, in evaluation mode."""
    differ = []
    for index in np.linspace(0, len(predictions) - 1, min(8, len(predictions))).astype(int).tolist():
        found = to_classes(predictions[index])[0]
        again = predict_again(model, source.given(index)[0], normalise, recipe)
        differ += [float((again != found).mean())] if again.shape == found.shape else []
    if differ and np.mean(differ) > 0.05:
        mode = "; it was given in training mode" if model.training else ""
        text = f"{np.mean(differ):.0%} of the pixels are predicted otherwise when the model is in evaluation mode{mode}"
        yield find("train_mode", text)
