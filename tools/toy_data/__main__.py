"""The command line: `python -m tools.toy_data voc ROOT`, and the same with `mini`, `cityscapes` or `raw`."""

import argparse
from pathlib import Path

from tools.toy_data.raw_set import write_raw_set
from tools.toy_data.write import generate_toy_cityscapes, generate_toy_mini, generate_toy_voc


def main(arguments: list[str] | None = None) -> None:
    """Write the data set that the arguments ask for, and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.toy_data", description="Write a toy data set.")
    sets = parser.add_subparsers(dest="layout", required=True)
    voc = sets.add_parser("voc", help="Pascal VOC layout, background and eight classes")
    mini = sets.add_parser("mini", help="Pascal VOC layout, the same classes, for small networks")
    cityscapes = sets.add_parser("cityscapes", help="Cityscapes layout, 19 evaluated classes")
    for command, counts in (
        (voc, {"train": 120, "trainaug": 480, "val": 120}),
        (mini, {"train": 120, "trainaug": 480, "val": 120}),
        (cityscapes, {"train": 48, "val": 12}),
    ):
        command.add_argument("root", type=Path, help="folder to write to")
        for name, count in counts.items():
            command.add_argument(f"--{name}", type=int, default=count, help=f"images in {name} (default {count})")
        command.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default 0)")
        command.add_argument("--overwrite", action="store_true", help="replace the data set that is in ROOT")
    raw = sets.add_parser("raw", help="images and masks in colours, as somebody would have them")
    raw.add_argument("root", type=Path, help="folder to write to")
    raw.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default 0)")
    options = vars(parser.parse_args(arguments))
    writers = {
        "voc": generate_toy_voc,
        "mini": generate_toy_mini,
        "cityscapes": generate_toy_cityscapes,
        "raw": write_raw_set,
    }
    generate = writers[options.pop("layout")]
    try:
        print(generate(**options))
    except (FileExistsError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
