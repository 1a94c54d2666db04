"""Prints how large the package is: the reading path file by file, the core, the package and the tests, beside budgets.

`make sizes` runs it; it also writes the reading path's table into README.md. A budget is a promise to whoever reads the
code, not a test.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# In this order an earlier file, PyTorch or a comment at the import explains each name.
READING_PATH = {
    "recipe.py": "every setting of a run",
    "data/base.py": "files in, arrays out",
    "data/transforms.py": "scale, crop, flip; batches; normalisation",
    "data/batches.py": "which samples make which batch",
    "geometry.py": "where a map's values lie",
    "models/layers.py": "strides that become dilations; convolutions",
    "models/resnet.py": "residual units, multi-grid, cascade",
    "models/backbones.py": "backbones by name",
    "models/deeplab.py": "ASPP, DeepLabv3, DeepLabv3+",
    "models/build.py": "from a recipe to a network with its weights",
    "losses/pixel.py": "cross-entropy and its kin",
    "losses/region.py": "Dice",
    "metrics/confusion.py": "confusion matrix, mIoU",
    "predict.py": "scales, mirror images, windows; evaluation",
    "train/optim.py": "learning rate, optimiser, loss, batch norm's modes",
    "train/checkpoint.py": "what a run resumes from",
    "train/trainer.py": "the loop",
}
CORE = ("recipe.py", "geometry.py", "models", "data", "losses", "metrics", "predict.py", "train")
BESIDE_THE_CORE = {
    f"data/{name}.py" for name in ("cache", "download", "convert_camvid", "convert_masks", "make_table")
} | {f"metrics/{name}.py" for name in ("cityscapes", "cityscapes_labels")}
BUDGETS = {"reading path": 3100, "core": 4800, "seglib": 11000, "tests": 11500}


def count_lines(paths: list[Path]) -> int:
    """Counts the lines of files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def python_files(folder: Path) -> list[Path]:
    """Lists the Python files below a folder; a file is its own list."""
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]


def main() -> None:
    """Prints the tables."""
    package = ROOT / "seglib"
    lines = {name: count_lines([package / name]) for name in READING_PATH}
    for name, subject in READING_PATH.items():
        print(f"{lines[name]:6,}  {name:24} {subject}")
    core = [path for part in CORE for path in python_files(package / part)]
    core = [path for path in core if path.relative_to(package).as_posix() not in BESIDE_THE_CORE]
    sizes = {
        "reading path": sum(lines.values()),
        "core": count_lines(core),
        "seglib": count_lines(python_files(package)),
        "tests": count_lines(python_files(ROOT / "tests")),
    }
    print()
    for name, total in sizes.items():
        print(f"{total:6,}  {name:13} budget {BUDGETS[name]:,}")
    print()
    for part in sorted(package.iterdir()):
        if files := [path for path in python_files(part) if path.suffix == ".py"]:
            print(f"{count_lines(files):6,}  seglib/{part.name}")
    write_readme(lines, sizes["seglib"])


def write_readme(lines: dict[str, int], package: int) -> None:
    """Writes the number of lines, and the table of the reading path, into README.md."""
    path = ROOT / "README.md"
    rows = [
        f"| {number} | [`{name}`](seglib/{name}) | {lines[name]} | {subject} |"
        for number, (name, subject) in enumerate(READING_PATH.items(), start=1)
    ]
    table = "\n".join(["| | file | lines | subject |", "|---|---|---:|---|", *rows])
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?<=<!-- sizes -->\n).*?(?=\n<!-- end of sizes -->)", lambda _: table, text, flags=re.DOTALL)
    text = re.sub(
        r"`seglib` has [\d,]+ lines\. A learner needs [\d,]+",
        f"`seglib` has {package:,} lines. A learner needs {sum(lines.values()):,}",
        text,
    )
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
