"""What every notebook does first: seed, device, and a line on what was found."""

import os
import re
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "matplotlib",
    "pandas",
    "tqdm",
    "ipywidgets",
    "jupyterlab",
    "nbval",
)


def start(seed: int = 0) -> torch.device:
    """Seeds torch's generator, picks the device and says what it found.

    Returns:
        CUDA where there is one, else the CPU. The choice of data is printed, not made: a recipe names its own.
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
    """The packages the course needs: which version is installed, which range seglib accepts, and whether they agree.

    Returns:
        One row per package with columns package, installed, accepted, fits.
    """
    from packaging.requirements import Requirement

    accepted = {}
    for line in metadata.requires("seglib") or []:
        requirement = Requirement(line)
        accepted[_canonical(requirement.name)] = requirement.specifier
    rows = []
    for name in NEEDED:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        specifier = accepted.get(_canonical(name))
        fits = version is not None and (specifier is None or specifier.contains(version, prereleases=True))
        rows.append(
            {"package": name, "installed": version or "missing", "accepted": str(specifier or "any"), "fits": fits}
        )
    return pd.DataFrame(rows)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
