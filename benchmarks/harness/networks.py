"""Networks that compute the same, ours with a peer's weights in it, and one way to compare their speed and memory."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50

from harness.measure import Run, Times, matrix_multiply, peak_memory, peak_of, take_turns, time_of, times_as_fast
from harness.report import add_device, parser, print_table, save
from seglib.models import DeepLabV3Plus
from seglib.studies.cost import mult_adds, parameter_count
from seglib.zoo import load_checkpoint

NUM_CLASSES = 21
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PUBLISHED = "v3+ OS16 as published: seglib"
MATMUL = "matrix multiply"
SCRIPTS = Path(__file__).resolve().parent.parent

# (model, images (B, 3, H, W), labels (B, H, W), autocast) -> what is timed
Prepare = Callable[[nn.Module, Tensor, Tensor, Callable[[], torch.autocast]], Run]


@dataclass(frozen=True)
class _Ready:
    """A contestant that can be timed, and what it is."""

    run: Run
    memory_format: str
    parameters: int
    mult_adds: int


class _Out(nn.Module):
    """torchvision's model without its dictionary."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)["out"]


def _smp_v3_plus() -> nn.Module:
    return smp.DeepLabV3Plus("resnet50", encoder_weights=None, encoder_output_stride=16, classes=NUM_CLASSES)


def _torchvision_v3() -> nn.Module:
    return deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False, num_classes=NUM_CLASSES)


PAIRS = {"v3+ OS16": ("smp", _smp_v3_plus), "v3 OS8": ("torchvision", _torchvision_v3)}


def names_of(pair: str) -> tuple[str, str]:
    """The contestants of a pair: ours, theirs."""
    return f"{pair}: seglib", f"{pair}: {PAIRS[pair][0]}"


def build(contestant: str) -> nn.Module:
    """A contestant's model, (B, 3, H, W) -> logits (B, K, H, W); evaluation mode or not is the caller's."""
    if contestant == PUBLISHED:
        return DeepLabV3Plus(NUM_CLASSES, "resnet50")
    pair, library = contestant.split(": ")
    source, peer = PAIRS[pair]
    if library == "seglib":
        return load_checkpoint(peer().state_dict(), source)
    return _Out(peer()) if library == "torchvision" else peer()


def check_equal(pair: str, side: int = 48) -> None:
    """Raises AssertionError unless our network computes the peer's logits from the peer's weights."""
    source, make_peer = PAIRS[pair]
    peer = make_peer().eval()
    for norm in peer.modules():  # so that no batch norm is the identity
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        found = load_checkpoint(peer.state_dict(), source)(images)
        expected = (_Out(peer) if source == "torchvision" else peer)(images)
    error = ((found - expected).norm() / expected.norm()).item()
    assert error < 1e-4, f"{pair}: our network computes something else than {source}'s, relative error {error}"


def compare(name: str, description: str, prepare: Prepare, passes: int, arguments: Sequence[str] | None = None) -> None:
    """The benchmark `name`: every contestant in its better memory format, in turns, then memory in a process each.

    `prepare` makes what is timed; `passes` is how many times a forward pass's multiply-adds it takes (3 to train).
    """
    options = _options(description, arguments)
    torch.set_num_threads(options.threads)
    if options.memory_of:
        _print_peak(options, prepare)
        return
    for pair in options.pairs:
        check_equal(pair)
    ready = {contestant: _in_better_format(contestant, prepare, options) for contestant in _contestants(options)}
    product, operations = matrix_multiply(options.device, DTYPES[options.dtype])
    runs = {MATMUL: product, **{contestant: each.run for contestant, each in ready.items()}}
    times = take_turns(runs, options.rounds, options.device)
    images = options.batch * passes
    measured = {
        contestant: {
            **times[contestant].summary(),
            **times[contestant].times_the(times[MATMUL], 2 * each.mult_adds * images / operations),
            "memory_format": each.memory_format,
            "parameters": each.parameters,
            "mult_adds_per_image": each.mult_adds,
            "peak_memory_mib": _peak_memory(name, contestant, each.memory_format, options),
        }
        for contestant, each in ready.items()
    }
    rate = operations / times[MATMUL].summary()["median_s"]
    ratios = {pair: _ratios(pair, times, measured) for pair in options.pairs}
    _print(measured, ratios, rate)
    values = {"contestants": measured, "seglib_against_peer": ratios, "matrix_multiply_gflops": rate / 1e9}
    save(name, options, values, options.device)


def _options(description: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(description, rounds=7)
    add_device(options)
    options.add_argument("--dtype", choices=DTYPES, default="float32", help="bfloat16 is autocast")
    options.add_argument("--side", type=int, help="of the square images, a multiple of 16, which SMP asks for")
    options.add_argument("--batch", type=int, help="images per step")
    options.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), help="which networks")
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    options.add_argument("--memory-format", choices=FORMATS, help=argparse.SUPPRESS)
    found = options.parse_args(arguments)
    cuda = found.device.startswith("cuda")
    found.side = found.side or (512 if cuda else 256)
    found.batch = found.batch or (16 if cuda else 2)
    if found.smoke:
        found.side, found.batch, found.rounds, found.pairs = 32, 2, 1, ["v3+ OS16"]
    return found


def _contestants(options: argparse.Namespace) -> list[str]:
    found = [name for pair in options.pairs for name in names_of(pair)]
    return found if options.smoke or "v3+ OS16" not in options.pairs else [*found, PUBLISHED]


def _peak_memory(name: str, contestant: str, memory_format: str, options: argparse.Namespace) -> float | None:
    """Peak MiB in a fresh process; in a smoke run only of a training's first contestant, as a process takes seconds."""
    if options.smoke and (name, contestant) != ("training_step", _contestants(options)[0]):
        return None
    kept = {key: getattr(options, key) for key in ("device", "dtype", "side", "batch", "threads")}
    arguments = [f"--{key}={value}" for key, value in kept.items()]
    return peak_memory(SCRIPTS / f"{name}.py", contestant, [*arguments, f"--memory-format={memory_format}"])


def _print_peak(options: argparse.Namespace, prepare: Prepare) -> None:
    def make() -> Run:
        return prepared(build(options.memory_of), options.memory_format, prepare, options)

    print(json.dumps(peak_of(make, options.device)))


def prepared(model: nn.Module, memory_format: str, prepare: Prepare, options: argparse.Namespace) -> Run:
    """What is timed, on a random batch; `options` has device, dtype, side and batch."""
    torch.manual_seed(0)
    side, dtype = options.side, DTYPES[options.dtype]
    model = model.to(options.device, memory_format=FORMATS[memory_format])
    images = torch.randn(options.batch, 3, side, side, device=options.device)
    images = images.contiguous(memory_format=FORMATS[memory_format])
    labels = torch.randint(NUM_CLASSES, (options.batch, side, side), device=options.device)
    device_type = torch.device(options.device).type
    return prepare(
        model, images, labels, lambda: torch.autocast(device_type, dtype=dtype, enabled=dtype != torch.float32)
    )


def _in_better_format(contestant: str, prepare: Prepare, options: argparse.Namespace) -> _Ready:
    tried: list[tuple[float, _Ready]] = []
    for memory_format in ["channels_last"] if options.smoke else FORMATS:
        model = build(contestant)
        count = mult_adds(model, options.side, options.side, space_to_batch=False)
        run = prepared(model, memory_format, prepare, options)
        run()
        wall, cpu = time_of(run, options.device)
        tried.append(
            (wall if options.device != "cpu" else cpu, _Ready(run, memory_format, parameter_count(model), count))
        )
    return min(tried, key=lambda pair: pair[0])[1]


def _ratios(pair: str, times: dict[str, Times], measured: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = names_of(pair)
    peaks = measured[ours]["peak_memory_mib"], measured[theirs]["peak_memory_mib"]
    return {
        "peer": theirs,
        "times_as_fast": times_as_fast(times[ours], times[theirs]),
        "memory_ratio": None if None in peaks else peaks[0] / peaks[1],
    }


def _print(measured: dict[str, Any], ratios: dict[str, Any], rate: float) -> None:
    print(f"floor: {rate / 1e9:.0f} GFLOP/s, the rate of a matrix product in the same turns")
    spread = ("median_s", "quartile_low_s", "quartile_high_s")
    columns = (*spread, "cpu_s", "times_the_floor", "peak_memory_mib", "memory_format")
    header = ("network", "seconds", "lower q.", "upper q.", "CPU s", "x floor", "peak MiB", "memory format")
    print_table(header, [(name, *(row[column] for column in columns)) for name, row in measured.items()])
    for pair, ratio in ratios.items():
        fast = ratio["times_as_fast"]
        memory = ratio["memory_ratio"]
        print(
            f"{pair}: seglib is {fast['ratio']:.2f} ({fast['quartile_low']:.2f} to {fast['quartile_high']:.2f}) times "
            f"as fast as {ratio['peer'].split(': ')[1]}, {fast['ratio_cpu']:.2f} by processor time,"
            + ("" if memory is None else f" and takes {memory:.2f} of its memory")
        )
