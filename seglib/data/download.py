"""Fetch Pascal VOC 2012 and SBD: `python -m seglib.data.download voc|sbd|all ROOT`, ROOT being the VOCdevkit folder."""

import argparse
import errno
import gzip
import hashlib
import re
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path, PurePosixPath
from ssl import SSLCertVerificationError
from time import sleep
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT
from tqdm.auto import tqdm

BLOCK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
RETRIES = 5  # tries in a row that bring nothing new, before it gives up


@dataclass(frozen=True)
class Archive:
    """A data set as it is published: a tar file, one folder of which is unpacked.

    Attributes:
        url, filename, md5: torchvision's.
        source, target: the folder in the archive, and where it goes below root.
        lists, files: lists of image ids in that folder, and the files it must hold for each id.
    """

    url: str
    filename: str
    md5: str
    source: PurePosixPath
    target: PurePosixPath
    lists: tuple[str, str]
    files: tuple[str, str]


VOC = Archive(
    **{key: DATASET_YEAR_DICT["2012"][key] for key in ("url", "filename", "md5")},
    source=PurePosixPath("VOCdevkit/VOC2012"),
    target=PurePosixPath("VOC2012"),
    lists=("ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"),
    files=("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
)
SBD = Archive(
    url=SBDataset.url,
    filename=SBDataset.filename,
    md5=SBDataset.md5,
    source=PurePosixPath("benchmark_RELEASE/dataset"),
    target=PurePosixPath("benchmark_RELEASE/dataset"),
    lists=("train.txt", "val.txt"),
    files=("img/{}.jpg", "cls/{}.mat"),
)


class _BrokenConnectionError(Exception):
    """What another try may put right."""


def download_voc(
    root: str | Path, url: str | None = None, *, md5: str | None = None, progress: bool = True, timeout: float = TIMEOUT
) -> Path:
    """Pascal VOC 2012 train and val, in the layout that `VOCSegmentation` reads: 2.0 GB, twice that while unpacking.

    Returns root, at once where the data set is in place. What arrived before an interruption is kept in
    `FILENAME.part`, and the next call continues from there. One call at a time for each root.

    Args:
        root: the `VOCdevkit` folder, made if missing; gets `VOC2012`.
        url: http, https or file address of the archive; None takes torchvision's.
        md5: checksum of the archive at `url`; None expects the published archive.
        progress: False shows nothing.
        timeout: seconds without a byte after which the connection counts as broken.

    Raises:
        ConnectionError: the address is refused, or the connection breaks too often.
        ValueError: no such kind of address; another file than expected or unsafe to unpack (now `FILENAME.wrong`).
        FileExistsError: a data set is there already, but incomplete.
        OSError: the disk has too little room, or root cannot be written.
    """
    return _install(VOC, Path(root), url, md5, progress, timeout)


def download_sbd(
    root: str | Path, url: str | None = None, *, md5: str | None = None, progress: bool = True, timeout: float = TIMEOUT
) -> Path:
    """SBD, whose labels make VOC's `trainaug`: root gets `benchmark_RELEASE/dataset` (1.4 GB); as `download_voc`."""
    return _install(SBD, Path(root), url, md5, progress, timeout)


def _install(archive: Archive, root: Path, url: str | None, md5: str | None, progress: bool, timeout: float) -> Path:
    target = root / archive.target
    if target.exists():
        if lack := _lack(target, archive):
            raise FileExistsError(f"{target}: is there already, but {lack}; move it away, then try again")
        return root
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("unpacking safely needs Python 3.11.4 or later")
    archive = replace(archive, url=url or archive.url, md5=(md5 or archive.md5).lower())
    if urlsplit(archive.url).scheme not in ("http", "https", "file"):
        raise ValueError(f"url: expected an address that begins with http://, https:// or file://, found {url!r}")
    root.mkdir(parents=True, exist_ok=True)
    part = root / f"{archive.filename}.part"
    try:
        if _size(part) == 0 or _md5(part) != archive.md5:
            _fetch(archive.url, part, progress, timeout)
            if (found := _md5(part)) != archive.md5:
                raise _rejected(part, f"{archive.url}: expected md5 {archive.md5}, found {found} ({_size(part)} bytes)")
        _check_space(root, part.stat().st_size)
        _unpack(part, root, archive, progress)
    except OSError as error:
        if error.errno and not error.filename:  # a write that fails names no file
            raise OSError(error.errno, error.strerror, str(root)) from error
        raise
    part.unlink()
    return root


def _lack(folder: Path, archive: Archive) -> str:
    """What `folder` lacks of the data set, in words; empty where it is complete."""
    if missing := next((name for name in archive.lists if not (folder / name).is_file()), None):
        return f"lacks {missing}"
    ids = {name for path in archive.lists for name in (folder / path).read_text(encoding="utf-8").split()}
    for pattern in archive.files:
        # one listing, because asking for each file takes minutes on a network drive
        place = (folder / pattern).parent
        present = {path.name for path in place.iterdir()} if place.is_dir() else set()
        expected = {Path(pattern.format(name)).name for name in ids}
        if missing := sorted(expected - present):
            return f"{place.name} lacks {len(missing)} of {len(expected)} listed files, such as {missing[0]}"
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _rejected(part: Path, why: str) -> ValueError:
    aside = part.with_suffix(".wrong")
    part.replace(aside)
    return ValueError(f"{why}. The file is now {aside}, and the next try starts afresh")


def _check_space(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"expected {needed / 1e9:.2f} GB free, found {free / 1e9:.2f} GB", str(folder))


def _fetch(url: str, part: Path, progress: bool, timeout: float) -> None:
    """Make `part` the file at `url`, starting from the bytes it holds."""
    furthest, failures = _size(part), 0
    while True:
        try:
            return _receive(url, part, progress, timeout)
        except _BrokenConnectionError as error:
            reason = error
        # Only what is new counts as progress: a server that starts again each time must not keep us for ever.
        failures = 1 if _size(part) > furthest else failures + 1
        furthest = max(furthest, _size(part))
        if failures > RETRIES:
            kept = f"{part} keeps {_size(part)} bytes, and the next call continues from there"
            raise ConnectionError(f"{url}: {reason}; {RETRIES} more tries brought nothing new. {kept}") from reason
        wait = 2 ** (failures - 1)
        if progress:
            tqdm.write(f"{part.stem}: {reason}; next try in {wait} s", file=sys.stderr)
        sleep(wait)


def _receive(url: str, part: Path, progress: bool, timeout: float) -> None:
    """One connection: append to `part` what it lacks. Raises _BrokenConnectionError where that ends early."""
    have = _size(part)
    headers = {"User-Agent": "seglib"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with _network_errors(url):
            response = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:  # 416, nothing after `have`: the file is complete, or is no part of what is there now
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        part.unlink(missing_ok=True)
        raise _BrokenConnectionError("the server has a shorter file than the part kept here") from error
    with response:
        size, total = _extent(response, have)
        if total is not None:
            _check_space(part.parent, 2 * total - have)  # the archive, and what is unpacked from it
        bar = tqdm(desc=part.stem, initial=size, total=total, unit="B", unit_scale=True, disable=not progress)
        with part.open("ab") as file, bar:
            file.truncate(size)
            while total is None or size < total:
                with _network_errors(url):
                    block = response.read1(BLOCK if total is None else min(BLOCK, total - size))
                if not block:
                    break
                size += file.write(block)
                bar.update(len(block))
    if total is not None and size < total:
        raise _BrokenConnectionError(f"the connection ended after {size} of {total} bytes")


def _extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """(first byte of the body, bytes of the whole file or None); the first is 0 where the server ignores Range."""
    if response.status != 206:
        length = response.headers["Content-Length"]
        return 0, int(length) if length else None
    extent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", described := response.headers.get("Content-Range", ""))
    if extent is None or int(extent[1]) > have:
        raise ConnectionError(f"{response.url}: asked for the bytes from {have}, found Content-Range {described!r}")
    return int(extent[1]), None if extent[2] == "*" else int(extent[2])


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Tell what may pass (_BrokenConnectionError) from what will not (ConnectionError); 416 goes through."""
    try:
        yield
    except (OSError, HTTPException) as error:
        code, reason = getattr(error, "code", None), getattr(error, "reason", error)
        if code == 416:
            raise
        refused = code is not None and code < 500 and code not in (408, 429)  # these two mean: later
        if refused or urlsplit(url).scheme == "file" or isinstance(reason, (SSLCertVerificationError, InvalidURL)):
            raise ConnectionError(f"{url}: {code or ''} {reason}; another address can be given") from error
        raise _BrokenConnectionError(str(reason) or type(reason).__name__) from error


def _unpack(part: Path, root: Path, archive: Archive, progress: bool) -> None:
    """Unpack beside the target and rename: the target is complete or not there, also after a kill."""
    work = root / f".{archive.filename}.unpacking"
    if work.exists():
        shutil.rmtree(work)
    try:
        _extract(part, work, archive.source, progress)
        if lack := _lack(work / archive.source, archive):
            raise ValueError(f"{archive.source} {lack}")
        (root / archive.target).parent.mkdir(exist_ok=True)
        (work / archive.source).rename(root / archive.target)
    except (ValueError, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _rejected(part, f"{archive.url}: nothing was unpacked: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(part: Path, work: Path, source: PurePosixPath, progress: bool) -> None:
    bar = tqdm(desc=f"unpack {part.stem}", total=_size(part), unit="B", unit_scale=True, disable=not progress)
    with bar, part.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"the archive holds {member.name!r}; expected names inside its folder")
            inside = path.is_relative_to(source)
            if (inside or source.is_relative_to(path)) and not (member.isreg() or member.isdir()):
                raise ValueError(f"the archive holds {member.name!r}, a link or device; expected files and folders")
            if inside:
                tar.extract(member, work, filter="data")
            bar.update(file.tell() - bar.n)
        bar.update(bar.total - bar.n)


def main(arguments: list[str] | None = None) -> None:
    """Fetch what the arguments ask for, and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m seglib.data.download", description="Fetch VOC 2012 and SBD.")
    parser.add_argument("what", choices=("voc", "sbd", "all"), help="VOC (2.0 GB), SBD (1.4 GB), or both")
    parser.add_argument("root", type=Path, help="the VOCdevkit folder, made if missing")
    parser.add_argument("--url", help="another address of the archive; with `all`, of a folder that holds both")
    parser.add_argument("--md5", help="checksum of the archive at that address (default: the published one's)")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    if options.what == "all" and options.md5:
        parser.error("--md5 is of one archive; expected voc or sbd with it")
    try:
        for archive in {"voc": [VOC], "sbd": [SBD], "all": [VOC, SBD]}[options.what]:
            name = f"/{archive.filename}" if options.what == "all" else ""
            url = options.url and options.url.rstrip("/") + name
            _install(archive, options.root, url, options.md5, not options.quiet, TIMEOUT)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; the same command continues\n")
    print(options.root)


if __name__ == "__main__":
    main()
