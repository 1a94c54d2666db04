"""Where the time goes: a training step, a whole training and an evaluation, part by part, each beside its floor.

A step is run under PyTorch's profiler, and its operators are put into parts. The floor of the convolutions is their
multiply-adds at the speed of a matrix product (three forward passes' worth to train), that of batch norm, ReLU and sums
is reading and writing what they must at the speed of a copy, that of the loss is writing and reading the full-size
logits once. A whole training is the trainer's wall time beside the sum of its steps and of its samples, loaded alone;
what is left is files. An evaluation is its forward passes and the rest.
"""

import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import torch
from harness.measure import matrix_multiply, take_turns, time_of, times_as_fast
from harness.report import parser, print_table, save
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds
from seglib.train import Trainer
from seglib.train.trainer import load_batches

RECIPES = {
    "toy": {"recipe": "toy_v3"},
    "mini": {"recipe": "toy_mini"},
    "photographs": {"recipe": "voc_short", "data": "toy_voc"},  # drawings; the sizes and the network are those
}
PARTS = {
    "convolution": ("mkldnn_convolution", "convolution_backward", "conv2d", "_slow_conv2d", "thnn_conv2d", "mm"),
    "batch norm": ("batch_norm",),
    "ReLU and sums": ("relu", "clamp", "threshold", "hardtanh", "add"),
    "loss and upsampling": ("softmax", "upsample", "nll_loss", "lerp", "index", "gather", "scatter"),
    "optimiser": ("_foreach", "SGD", "zero_"),
}


def part_of(operator: str) -> str:
    """Returns the part that an operator of the profiler counts in."""
    return next((part for part, words in PARTS.items() if any(word in operator for word in words)), "rest")


class Timed(Trainer):
    """A trainer that keeps the seconds of its steps."""

    step_seconds = 0.0

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        start = time.perf_counter()
        loss = super()._step(images, labels)
        self.step_seconds += time.perf_counter() - start
        return loss


def activations(model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Counts the values that batch norms and ReLUs write in one forward pass."""
    counts = {nn.BatchNorm2d: 0, nn.ReLU: 0, nn.ReLU6: 0}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts[type(module)] += output.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules() if type(module) in counts]
    with torch.no_grad():
        model(images, upsample=False)
    for hook in hooks:
        hook.remove()
    return counts[nn.BatchNorm2d], counts[nn.ReLU] + counts[nn.ReLU6]


def one_batch(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Returns the first batch of a training."""
    return next(load_batches(trainer.recipe, trainer.train_set, 0, 1))


def compiled_step(recipe: Recipe, folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of a step with and without `compile = true`, and seconds until the first compiled one is done."""
    steps, first = {}, {}
    for name, compiled in {"eager": False, "compiled": True}.items():
        trainer = Trainer(recipe.replace(compile=compiled), folder / name, progress=False)
        batch = one_batch(trainer)
        trainer.model.train()
        steps[name] = partial(trainer._step, *batch)
        first[name] = time_of(steps[name])[0]
    times = take_turns(steps, rounds)
    ms = {f"{name}_ms": 1e3 * each.summary()["median_s"] for name, each in times.items()}
    return {**ms, "first_s": first["compiled"], **times_as_fast(times["compiled"], times["eager"])}


def profile_step(trainer: Trainer, rate: float, traffic: float) -> dict[str, dict[str, float]]:
    """Milliseconds of each part of a step, and its floor. `rate`: FLOP/s of a product; `traffic`: bytes/s of a copy."""
    images, labels = one_batch(trainer)
    trainer.model.train()
    for _ in range(2):
        trainer._step(images, labels)
    start = time.perf_counter()
    trainer._step(images, labels)
    whole = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer._step(images, labels)
    seconds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        seconds[part_of(event.key)] += event.self_cpu_time_total / 1e6
    scale = whole / sum(seconds.values())
    normed, rectified = activations(trainer.model, trainer.normalisation(images))
    logits = labels.numel() * trainer.train_set.num_classes
    floors = {
        "convolution": 6 * mult_adds(trainer.model, *images.shape[2:], space_to_batch=False) * len(images) / rate,
        # forward: two reads, for the moments and for the result, and a write; backward: two reads twice, and a write
        "batch norm": 8 * 4 * normed / traffic,
        "ReLU and sums": 5 * 4 * rectified / traffic,  # in place, and backward two reads and a write
        "loss and upsampling": 2 * 4 * logits / traffic,
    }
    names = [*PARTS, "rest"]
    return {name: {"ms": 1e3 * seconds[name] * scale, "floor_ms": 1e3 * floors.get(name, 0.0)} for name in names}


def profile_run(recipe: Recipe, folder: Path) -> dict[str, float]:
    """Seconds of a training and of its evaluation, and the parts that are steps, samples and forward passes."""
    trainer = Timed(recipe, folder, progress=False)
    forward = 0.0
    started = 0.0

    def begin(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal started
        started = time.perf_counter()

    def end(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal forward
        forward += time.perf_counter() - started

    start = time.perf_counter()
    trainer.fit(recipe.iterations - 1)
    training = time.perf_counter() - start
    steps = trainer.step_seconds
    samples = time_of(lambda: list(load_batches(recipe, trainer.train_set, 0, recipe.iterations - 1)))[0]
    hooks = trainer.model.register_forward_pre_hook(begin), trainer.model.register_forward_hook(end)
    start = time.perf_counter()
    trainer.evaluate(progress=False)
    evaluation = time.perf_counter() - start
    for hook in hooks:
        hook.remove()
    parts = {"training": training, "steps": steps, "samples": samples}
    return {**parts, "evaluation": evaluation, "forward passes": forward}


def main() -> None:
    """Profiles every scale."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--iterations", type=int, default=30, help="of the whole training (default 30)")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    product, operations = matrix_multiply("cpu")
    block = torch.zeros(2**26 if not options.smoke else 2**16)  # 256 MB, more than a processor's cache
    target = torch.empty_like(block)
    floors = take_turns({"product": product, "copy": lambda: target.copy_(block)}, options.rounds)
    rate = operations / floors["product"].summary()["median_s"]
    traffic = 2 * 4 * block.numel() / floors["copy"].summary()["median_s"]
    print(f"floor: {rate / 1e9:.0f} GFLOP/s, {traffic / 1e9:.1f} GB/s")
    steps, runs, compiled, step_rows, run_rows = {}, {}, {}, [], []
    for scale, settings in RECIPES.items():
        changes = {key: value for key, value in settings.items() if key != "recipe"}
        if options.smoke:
            changes |= {"crop_size": 33, "batch_size": 2}
        recipe = Recipe.load(settings["recipe"]).replace(**changes)
        with tempfile.TemporaryDirectory() as folder:
            if scale != "photographs":
                recipe = recipe.replace(iterations=2 if options.smoke else options.iterations)
                runs[scale] = profile_run(recipe, Path(folder) / "run")
                run_rows.append((scale, *runs[scale].values()))
            steps[scale] = profile_step(Trainer(recipe, Path(folder) / "step", progress=False), rate, traffic)
            if not options.smoke:  # compiling takes a minute
                compiled[scale] = compiled_step(recipe, Path(folder), options.rounds)
        for part, row in steps[scale].items():
            times = row["ms"] / row["floor_ms"] if row["floor_ms"] else None
            step_rows.append((part, scale, row["ms"], row["floor_ms"] or None, times))
        if options.smoke:
            break
    print_table(("part of a step", "scale", "ms", "floor ms", "x floor"), step_rows)
    print_table(
        ("whole runs", "training s", "its steps s", "its samples s", "evaluation s", "its forward passes s"), run_rows
    )
    if compiled:
        header = ("compile = true", *next(iter(compiled.values())))
        print_table(header, [(scale, *row.values()) for scale, row in compiled.items()])
    floors = {name: each.summary() for name, each in floors.items()}
    values = {
        "floors": floors,
        "gflops": rate / 1e9,
        "gb_per_s": traffic / 1e9,
        "steps": steps,
        "runs": runs,
        "compiled": compiled,
    }
    save("profile_steps", options, values)


if __name__ == "__main__":
    main()
