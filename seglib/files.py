"""Files and folders: atomic writes, safe loading, and the folders of runs and of real data."""

import builtins
import glob
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

try:
    import fcntl
except ImportError:
    fcntl = None  # Windows, which removes no file that is open

if TYPE_CHECKING:
    from torch import Tensor

PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # that wrappers put before the keys of a state dict
PROJECT = Path(__file__).resolve().parent.parent
HAS_COURSE = (PROJECT / "data" / "papers.json").is_file()  # False after an installation without -e


def write_atomic(path: Path, write: Callable[[BinaryIO], None], keep: Path | None = None) -> None:
    """Writes `path` so that a reader sees either the old file or the new one, never a part; with `keep` also neither.

    First removes what a killed write of the same file left behind: it may be what fills the disk. What another process
    is writing stays.

    Args:
        path: target; its folder is made if missing.
        write: called with an open binary file.
        keep: where the old file, if any, is moved to just before the new one takes its place: between the two renames
            there is no file at `path`, and a reader looks here.

    Raises:
        OSError: if the folder cannot be written or the disk is full; names `path`. The old file is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            with suppress(OSError), _locked(leftover):
                leftover.unlink()
        with ExitStack() as stack:
            while True:
                handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
                stack.callback(Path(name).unlink, missing_ok=True)
                file = stack.enter_context(os.fdopen(handle, "wb"))
                with suppress(BlockingIOError, FileNotFoundError):  # another process took it for a leftover: a new one
                    stack.enter_context(_locked(Path(name)))
                    break
            write(file)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.chmod(name, 0o644)  # mkstemp's files are for their owner only
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(name, path)
    except (OSError, RuntimeError) as error:
        # torch.save's zip writer turns a full disk into a RuntimeError about positions in the file
        cause = error if isinstance(error, OSError) or error.__context__ is None else error.__context__
        raise OSError(f"{path}: could not be written ({cause}); what was there before is kept") from cause


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Tells other processes that a file or folder is in use.

    Raises BlockingIOError if one of them says so, FileNotFoundError if one has just removed or renamed it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
        if not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(handle)


@contextmanager
def make_folder(target: Path) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `target`, new or empty, at the end; after a fault there is neither.

    Raises BlockingIOError if another process is filling it.
    """
    work = target.absolute().with_name(f".{target.absolute().name}.unfinished")
    with suppress(FileExistsError):
        work.mkdir(parents=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(work))
        except (BlockingIOError, FileNotFoundError):
            raise BlockingIOError(f"{target}: another process is writing this folder; expected one at a time") from None
        try:
            for left in work.iterdir():  # by a killed process; emptied, as the lock is on this very folder
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield work
            with suppress(FileNotFoundError):
                target.rmdir()
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a dictionary as indented JSON, atomically. nan is refused: store None where there is no number."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def find_checkpoint(path: str | os.PathLike) -> Path:
    """Returns a file of weights, or of a run's folder the checkpoint. Raises FileNotFoundError if there is none."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_dir():
        return path
    if (path / "checkpoint.pt").is_file():
        return path / "checkpoint.pt"
    deeper = sorted(each.parent.name for each in path.glob("*/checkpoint.pt"))
    held = some(deeper or sorted(each.name for each in path.iterdir()), 3) or "nothing"
    found = f"found runs inside it, {held}" if deeper else f"found {held}"
    raise FileNotFoundError(f"{path}: a folder without checkpoint.pt; expected a run's folder, or a file; {found}")


def load_tensors(path: str | os.PathLike) -> Any:
    """Reads a file written by `torch.save`, onto the CPU, without executing code (`weights_only=True`).

    Raises:
        FileNotFoundError: if there is no such file.
        IsADirectoryError: if it is a folder.
        ValueError: if it is damaged, a checksum included, or holds more than tensors and plain values; names `path`.
    """
    import torch  # here: what needs no torch imports this file too

    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: a folder; expected a file of weights, such as {Path(path) / 'checkpoint.pt'}")
    try:
        # torch does not look at the checksums that it writes: a flipped bit would go on into the weights
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch.load raises what its unpickler or zip reader met, of many types
        # torch's own message is not passed on: it recommends to load the file with its code
        code = re.search(r"GLOBAL (\S+)", str(error))
        found = f"code ({code[1]}), which was not executed" if code else f"damage ({type(error).__name__})"
        raise ValueError(
            f"{path}: not a readable checkpoint; expected a whole file of torch.save that holds only tensors and plain "
            f"values, found {found}"
        ) from None


def read_state_dict(path: str | os.PathLike) -> "Mapping[str, Tensor]":
    """Reads names to tensors from a file of `torch.save` or of safetensors.

    Raises as `load_tensors`, and ValueError if it holds something else.
    """
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path)
    import numpy as np
    import torch

    # Training scripts store their best score beside the weights, and that is a numpy number.
    number = np.float64(0)
    restore = number.__reduce__()[0]
    harmless = [(restore, "numpy.core.multiarray.scalar"), (restore, "numpy._core.multiarray.scalar")]
    with torch.serialization.safe_globals([*harmless, np.dtype, type(number.dtype)]):
        content = load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a state dict, names to tensors; found {type(content).__name__}")
    return content


def _read_safetensors(path: str | os.PathLike) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors, run = {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get("run")  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    return {**json.loads(run), "model": tensors} if run else tensors


def find_state_dict(content: Mapping[str, Any], what: str) -> "tuple[dict[str, Tensor], str]":
    """Finds the network's state dict in a training checkpoint, without the prefixes of wrappers, and a name for it.

    It is the only mapping to tensors among the values, or that of a common name; or `content` itself. A prefix that all
    keys have is taken off ("module.", "_orig_mod.", "model.", "net."); keys of a loss, and of a wrapper, may lack it.

    Raises:
        ValueError: if there is none, or no saying which (names them).
    """
    from torch import Tensor

    found = {name: value for name, value in content.items() if isinstance(value, Mapping) and value}
    states = {name: value for name, value in found.items() if all(isinstance(v, Tensor) for v in value.values())}
    named = [name for name in ("model_state", "state_dict", "model") if name in states] or sorted(states)
    if len(named) == 1 or (named and named[0] in ("model_state", "state_dict", "model")):
        content, what = states[named[0]], f"{what} (its {named[0]!r})"
    elif named:
        raise ValueError(f"{what}: holds several state dicts, {some(named)}; expected one")
    if strange := [str(key) for key, value in content.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{what}: expected a state dict, names to tensors; {some(strange)} are no tensors")
    state, prefix = dict(content), ""
    while prefix is not None:
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        prefix = next((prefix for prefix in PREFIXES if _all_have(prefix, state)), None)
    return state, what


def _all_have(prefix: str, keys: Collection[str]) -> bool:
    others = [key for key in keys if not key.startswith(prefix)]  # such as n_averaged, mean, criterion.weight
    return len(others) < len(keys) and all("." not in k or k.startswith(("loss", "criterion")) for k in others)


def data_folder() -> Path:
    """Returns the folder that SEGLIB_DATA names. Raises FileNotFoundError if it is not set or does not exist."""
    folder = os.environ.get("SEGLIB_DATA", "")
    if not folder or not Path(folder).is_dir():
        found = f"SEGLIB_DATA = {folder!r}, which is no folder" if folder else "SEGLIB_DATA is not set"
        raise FileNotFoundError(f"{found}; expected a folder with voc/VOCdevkit and weights/ (data/README.md)")
    return Path(folder)


def runs_folder() -> Path:
    """Returns the folder of all runs, in a place that outlives this runtime where there is one.

    It is the folder that SEGLIB_RUNS names; without it, on Colab with a mounted drive, the drive's seglib/runs; else
    the project's runs/, or, where the package was installed without the project's folder, runs/. It is not made here.
    """
    if named := os.environ.get("SEGLIB_RUNS"):
        return Path(named).expanduser().resolve()
    drive = PROJECT.parent / "drive" / "MyDrive"  # where Colab mounts it, beside the course
    if "google.colab" in sys.modules and drive.is_dir():
        return drive / "seglib" / "runs"
    return (PROJECT if HAS_COURSE else Path.cwd()) / "runs"


def run_folder(name: str) -> Path:
    """Returns the folder of one run in `runs_folder()`. Raises ValueError if `name` is not the name of one folder."""
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"run name {name!r}: expected the name of one folder, without a path")
    return runs_folder() / name


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, with or without the mark of Windows' editors; raises ValueError for another encoding."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: not a text in UTF-8 (is it UTF-16?); save it as UTF-8")
    return text


def tell(message: str) -> None:
    """Prints a line: in a notebook on stdout, elsewhere on stderr, so that what a command writes stays readable."""
    print(message, file=sys.stdout if hasattr(builtins, "__IPYTHON__") else sys.stderr, flush=True)


def hash_file(path: Path) -> str:
    """Returns a file's SHA-256, which no other content has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def some(names: Sequence[str], limit: int = 6) -> str:
    """Joins the first names for a message: "a, b, c and 7 more"."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
