"""The first cell of every notebook: seed, device, and a line on what was found. And how notebooks state claims."""

import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

NOTEBOOK_TOOLS = ("jupyterlab", "nbval")  # that the course needs besides seglib's own dependencies


def start(seed: int = 0) -> torch.device:
    """Seeds torch's generator, picks the device, CUDA where there is one, and says what it found.

    The choice of data is printed, not made: a recipe names its own.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"seglib {metadata.version('seglib')}, torch {torch.__version__}, {name}")
    print(f"Data: the bundled toy sets; real photographs: {_real_data()}")
    return device


def _real_data() -> str:
    folder = os.environ.get("SEGLIB_DATA")
    if not folder:
        return "none (SEGLIB_DATA is not set; data/README.md says how to get them)"
    found = [name for name in ("voc", "cityscapes", "camvid", "weights") if (Path(folder) / name).is_dir()]
    return ", ".join(found) if found else "none in the folder that SEGLIB_DATA names"


def environment() -> pd.DataFrame:
    """Lists the packages of the course in columns package, installed, accepted and fits (bool).

    Colab shows notebooks by itself: there the tools that do so elsewhere are not asked for.
    """
    from packaging.requirements import Requirement

    tools = () if "google.colab" in sys.modules else NOTEBOOK_TOOLS
    rows = []
    for requirement in map(Requirement, metadata.requires("seglib") or []):
        if requirement.marker is not None and requirement.name not in tools:
            continue
        try:
            version = metadata.version(requirement.name)
            fits = requirement.specifier.contains(version, prereleases=True)
        except metadata.PackageNotFoundError:
            version, fits = "missing", False
        accepted = str(requirement.specifier) or "any"
        rows.append({"package": requirement.name, "installed": version, "accepted": accepted, "fits": fits})
    return pd.DataFrame(rows)


def judge(claims: Mapping[str, bool]) -> None:
    """Prints of each claim on what a network has learned if it holds here; one that does not stops nothing."""
    for claim, true in claims.items():
        print(f"{claim}: {'holds' if true else 'does not hold on this machine'}")
