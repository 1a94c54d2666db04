"""Loss and gradient of bilinearly upsampled logits: in bands, against the full-resolution logits in memory.

16 crops of 513 x 513 with 21 classes, logits at the decoder's stride 4. Both give the same value and gradient, which is
checked first. The floor is writing and reading the full-resolution logits once.
"""

import argparse
import json
from pathlib import Path

import torch
from harness.measure import Run, compare_times, peak_memory, peak_of, take_turns
from harness.report import add_device, parser, print_table, save

from seglib.geometry import Grid
from seglib.losses import cross_entropy, upsampled_cross_entropy

NUM_CLASSES, STRIDE = 21, 4
GRID = Grid(STRIDE)  # as the logits of a ResNet with the decoder lie
FLOOR, OURS, THEIRS = "write and read the logits", "seglib, in bands", "interpolate, then cross-entropy"


def contestants(options: argparse.Namespace) -> dict[str, Run]:
    """What is timed: one loss with its gradient."""
    generator = torch.Generator().manual_seed(0)
    low = -(-options.side // STRIDE)
    logits = torch.randn(options.batch, NUM_CLASSES, low, low, generator=generator).to(options.device)
    logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    size = (options.batch, options.side, options.side)
    labels = torch.randint(NUM_CLASSES, size, generator=generator).to(options.device)
    labels[:, : options.side // 10] = 255

    def plain() -> tuple[torch.Tensor, torch.Tensor]:
        loss = cross_entropy(GRID.resize(logits, size[1:]), labels)
        return loss, torch.autograd.grad(loss, logits)[0]

    def bands() -> tuple[torch.Tensor, torch.Tensor]:
        loss = upsampled_cross_entropy(logits, labels, GRID)
        return loss, torch.autograd.grad(loss, logits)[0]

    def traffic() -> None:
        torch.ones(options.batch, NUM_CLASSES, *size[1:], device=options.device).sum()

    return {FLOOR: traffic, OURS: bands, THEIRS: plain}


def main() -> None:
    """Measures time in turns and memory in a process each."""
    options = parser(__doc__, rounds=7)
    add_device(options)
    options.add_argument("--side", type=int, default=513, help="of the square crops")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.smoke:
        options.side, options.batch, options.rounds = 65, 2, 1
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(peak_of(lambda: contestants(options)[options.memory_of], options.device)))
        return
    runs = contestants(options)
    (our_loss, our_gradient), (loss, gradient) = runs[OURS](), runs[THEIRS]()
    assert abs(float(our_loss.detach() - loss.detach())) < 1e-5, "the losses differ"
    assert float((our_gradient - gradient).norm() / gradient.norm()) < 1e-5, "the gradients differ"
    times = take_turns(runs, options.rounds, options.device)
    kept = [f"--{key}={getattr(options, key)}" for key in ("side", "batch", "device", "threads")]
    measured = compare_times(times, FLOOR, OURS)
    for name, row in measured.items():
        row["peak_memory_mib"] = None if name == FLOOR or options.smoke else peak_memory(Path(__file__), name, kept)
    print_table(
        ("what", "s", "x floor", "seglib is faster by", "peak MiB"),
        [
            (n, r["median_s"], r["times_the_floor"], r["seglib_times_as_fast"]["ratio"], r["peak_memory_mib"] or "")
            for n, r in measured.items()
        ],
    )
    sizes = {"batch": options.batch, "num_classes": NUM_CLASSES, "side": options.side, "stride": STRIDE}
    save("upsampled_loss", options, {"sizes": sizes, "contestants": measured}, options.device)


if __name__ == "__main__":
    main()
