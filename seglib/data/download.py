"""Pascal VOC 2012 and SBD from their published archives: `python -m seglib download all FOLDER`."""

import sys
import tarfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from ssl import SSLError
from time import sleep
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from torchvision.datasets import SBDataset
from torchvision.datasets.utils import check_integrity
from torchvision.datasets.voc import DATASET_YEAR_DICT
from tqdm.auto import tqdm

from seglib.files import make_folder

BLOCK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
RETRIES = 5  # tries in a row that bring nothing new


@dataclass(frozen=True)
class Archive:
    """A data set as it is published: a tar file, of which the files in `source` become the folder `target`."""

    url: str
    filename: str
    md5: str
    source: str
    target: str


_VOC, _SBD_FOLDER = DATASET_YEAR_DICT["2012"], "benchmark_RELEASE/dataset"
VOC = Archive(_VOC["url"], _VOC["filename"], _VOC["md5"], source="VOCdevkit/VOC2012", target="VOC2012")
SBD = Archive(SBDataset.url, SBDataset.filename, SBDataset.md5, source=_SBD_FOLDER, target=_SBD_FOLDER)


def download(which: Literal["all", "voc", "sbd"], root: Path, /, *, url: str = "") -> None:
    """Downloads Pascal VOC 2012 (2.0 GB), SBD (1.4 GB) or both, checks them and unpacks them.

    A set that is in place is left alone. An interrupted download is resumed by the next call.

    Args:
        which: the data set, or both.
        root: the VOCdevkit folder, made if missing.
        url: another http, https or file address of the archive; with `all`, of a folder that holds both.

    Raises:
        ConnectionError: if the address is refused, or the connection breaks too often.
        ValueError: if the archive is not the published one, or is unsafe to unpack.
        OSError: if root cannot be written, or the disk is full; names root.
    """
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("unpacking safely needs Python 3.11.4 or later")
    for archive in {"all": (VOC, SBD), "voc": (VOC,), "sbd": (SBD,)}[which]:
        mirror = f"{url.rstrip('/')}/{archive.filename}" if url and which == "all" else url
        if not (root / archive.target).exists():
            try:
                _install(archive, mirror or archive.url, root)
            except OSError as error:
                if error.errno and not error.filename:  # as when the disk is full
                    raise OSError(error.errno, error.strerror, str(root)) from error
                raise
        print(f"{root / archive.target}: in place")


def _install(archive: Archive, url: str, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    part = root / f"{archive.filename}.part"
    if not check_integrity(part, archive.md5):
        _fetch(url, part)
        if not check_integrity(part, archive.md5):
            found = f"another file of {_size(part)} bytes, which is removed again"
            part.unlink(missing_ok=True)
            raise ValueError(f"{url}: expected {archive.filename} with md5 {archive.md5}, found {found}")
    _unpack(part, archive, root)
    part.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, part: Path) -> None:
    """Appends to `part` what it lacks of the file at `url`, and tries again where a connection breaks."""
    furthest, failures = _size(part), 0
    while True:
        try:
            return _receive(url, part)
        except (URLError, HTTPException, SSLError, ConnectionError, TimeoutError) as error:
            # Only new bytes count as progress: a server that starts again each time must not keep us for ever.
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            code = getattr(error, "code", 500)
            refused = urlsplit(url).scheme == "file" or (code < 500 and code not in (408, 429))  # these mean: later
            if refused or failures > RETRIES:
                kept = f"; {part} keeps {_size(part)} bytes, from which the next call resumes" if _size(part) else ""
                raise ConnectionError(f"{url}: {error}{kept}. --url names another address") from error
            print(f"{part.stem}: {error}; next try in {2**failures} s", file=sys.stderr)
        sleep(2**failures)


def _receive(url: str, part: Path) -> None:
    have = _size(part)
    headers = {"User-Agent": "seglib"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # nothing after `have`: the checksum tells if the part is the file
            return
        raise
    with response, part.open("ab") as file:
        size = have if response.status == 206 else 0  # else the server ignores Range, and starts again
        file.truncate(size)
        length = response.headers["Content-Length"]
        total = size + int(length) if length else None
        with tqdm(desc=part.stem, initial=size, total=total, unit="B", unit_scale=True, disable=None) as bar:
            while block := response.read1(BLOCK):
                size += file.write(block)
                bar.update(len(block))
    if total is not None and size < total:
        raise ConnectionError(f"the connection ended after {size} of {total} bytes")


def _unpack(part: Path, archive: Archive, root: Path) -> None:
    try:
        with make_folder(root / archive.target) as work, tarfile.open(part) as tar:
            for member in tqdm(tar, f"unpack {part.stem}", unit="file", disable=None):
                if PurePosixPath(member.name).is_relative_to(archive.source):
                    name = str(PurePosixPath(member.name).relative_to(archive.source))
                    tar.extract(member.replace(name=name, deep=False), work, filter="data")
    except tarfile.TarError as error:
        raise ValueError(f"{part}: unsafe or damaged, nothing was unpacked ({error}); delete it and retry") from error
