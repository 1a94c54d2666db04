"""Downloading VOC and SBD from a server on this machine that fails as servers do."""

import hashlib
import io
import multiprocessing
import os
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from refusal import refused

from seglib.__main__ import main
from seglib.data import VOCSegmentation, download
from seglib.data.download import RETRIES, SBD, VOC

PART = f"{VOC.filename}.part"


@dataclass
class FakeServer:
    """The server's files, its faults, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes of body sent in each of the first connections
    always_cut: int | None = None
    ranges: bool = True
    chunked: bool = False
    codes: list[int] = field(default_factory=list)  # status of each of the first answers
    stalls: list[int] = field(default_factory=list)  # bytes of body sent before silence, once
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    fake: FakeServer

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        fake, wanted = self.fake, self.headers["Range"]
        fake.asked.append(wanted)
        if fake.codes:
            return self.send_error(fake.codes.pop(0))
        if (content := fake.files.get(self.path.lstrip("/"))) is None:
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fake.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        body, end = content[start:], b""
        self.send_header(*(("Transfer-Encoding", "chunked") if fake.chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        cut = fake.stalls[0] if fake.stalls else fake.cuts.pop(0) if fake.cuts else fake.always_cut
        if fake.chunked:
            self.wfile.write(b"%x\r\n" % len(body))
            end = b"\r\n0\r\n\r\n" if cut is None else b""
        self.wfile.write(body[:cut] + end)
        if fake.stalls and fake.stalls.pop():
            fake.released.wait(30)


def tar_of(files: dict[str, bytes], mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return out.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


IDS = ("2007_000001", "2007_000002", "2007_000003", "2008_000004")
VOC_FILES = {
    "ImageSets/Segmentation/train.txt": b"2007_000001\n2007_000002\n",
    "ImageSets/Segmentation/val.txt": b"2007_000003\n",
    **{f"JPEGImages/{name}.jpg": name.encode() * 3000 for name in IDS},  # more than a file buffers
    **{f"SegmentationClass/{name}.png": name.encode() for name in IDS[:3]},
}
SBD_FILES = {
    **{"train.txt": b"2007_000002\n2008_000004\n", "val.txt": b"2007_000003\n"},
    **{f"cls/{name}.mat": name.encode() for name in IDS[1:]},
}
IN_TAR = {f"{VOC.source}/{name}": content for name, content in VOC_FILES.items()}
ARCHIVE = tar_of({**IN_TAR, "VOCdevkit/beside": b"not taken", "../outside": b"not taken"})
SBD_ARCHIVE = tar_of({f"{SBD.source}/{name}": content for name, content in SBD_FILES.items()}, "w:gz")
MIDDLE = len(ARCHIVE) // 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Serves both archives, whose checksums count as the published ones."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "VOC", replace(VOC, md5=md5(ARCHIVE)))
    monkeypatch.setattr(download, "SBD", replace(SBD, md5=md5(SBD_ARCHIVE)))
    fake = FakeServer({VOC.filename: ARCHIVE, SBD.filename: SBD_ARCHIVE})
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": fake}))
    fake.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.released.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, noted instead of slept."""
    noted: list[float] = []

    def note(seconds: float) -> None:
        noted.append(seconds)
        assert len(noted) < 100, "it tries for ever"

    monkeypatch.setattr(download, "sleep", note)
    return noted


def fetch(server: FakeServer, root: Path) -> None:
    download.download("voc", root, url=f"{server.address}/{VOC.filename}")


def check_tree(root: Path) -> None:
    """The tree below root is the archive's, byte for byte, and nothing else is left there."""
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == {f"VOC2012/{name}": content for name, content in VOC_FILES.items()}
    assert [path.name for path in root.iterdir()] == ["VOC2012"]


def test_all_of_a_mirror_is_read_by_the_data_set_and_asked_for_once(server: FakeServer, tmp_path: Path) -> None:
    root = tmp_path / "new" / "VOCdevkit"
    main(["download", "all", str(root), "--url", f"{server.address}/"])
    assert sorted(path.name for path in root.iterdir()) == ["VOC2012", "benchmark_RELEASE"]
    val, trainaug = (VOCSegmentation(root, split, partial=True) for split in ("val", "trainaug"))
    assert val.names == ["2007_000003"] and trainaug.names == ["2007_000001", "2007_000002", "2008_000004"]
    download.download("all", root, url="http://127.0.0.1:1/nobody-listens")
    assert server.asked == [None, None]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cuts", [[MIDDLE], [0, 700]])
def test_cut_connection_is_resumed(server: FakeServer, tmp_path: Path, cuts: list[int], chunked: bool) -> None:
    server.chunked, server.cuts = chunked, list(cuts)
    fetch(server, tmp_path)
    check_tree(tmp_path)
    assert server.asked == [None, *(f"bytes={start}-" if start else None for start in np.cumsum(cuts))]


def test_no_progress_gives_up_and_keeps_the_part(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    server.cuts, server.always_cut = [MIDDLE], 0
    with pytest.raises(ConnectionError, match=rf"\.tar.*{len(ARCHIVE)} bytes.*\.part keeps {MIDDLE} bytes"):
        fetch(server, tmp_path)
    assert waits == [1, 2, 4, 8, 16, 32] and len(server.asked) == 2 + RETRIES
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:MIDDLE]


def test_slow_progress_is_no_reason_to_give_up(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    server.always_cut = len(ARCHIVE) // (3 * RETRIES)
    fetch(server, tmp_path)
    assert len(server.asked) > 2 * RETRIES and set(waits) == {1}
    check_tree(tmp_path)


def test_server_that_ignores_range(server: FakeServer, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [MIDDLE, MIDDLE // 2]
    fetch(server, tmp_path / "1")
    check_tree(tmp_path / "1")
    server.always_cut = MIDDLE
    refused("the connection ended", fetch, server, tmp_path / "2", error=ConnectionError)


@pytest.mark.parametrize(
    "served", [b"<html>moved</html>", ARCHIVE[:MIDDLE], ARCHIVE[:-1] + b"!"], ids=["page", "truncated", "one byte"]
)
def test_wrong_file_is_not_unpacked(server: FakeServer, tmp_path: Path, served: bytes) -> None:
    server.files[VOC.filename] = served
    refused(rf"\.tar: expected .*md5 {md5(ARCHIVE)}, found .*{len(served)} bytes", fetch, server, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [bytes(len(ARCHIVE)), ARCHIVE + b"more"], ids=["damaged", "too long"])
def test_wrong_part_is_removed(server: FakeServer, tmp_path: Path, part: bytes) -> None:
    (tmp_path / PART).write_bytes(part)
    refused(r"expected .*md5", fetch, server, tmp_path)
    fetch(server, tmp_path)
    assert server.asked == [f"bytes={len(part)}-", None]
    check_tree(tmp_path)


def test_passing_trouble_is_waited_for(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    server.codes = [503, 429, 408, 404]
    refused(r"\.tar: .*404.*--url names another address", fetch, server, tmp_path / "root", error=ConnectionError)
    assert waits == [2, 4, 8] and len(server.asked) == 4 and list((tmp_path / "root").iterdir()) == []
    fetch(server, tmp_path / "root")
    check_tree(tmp_path / "root")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1/voc\.tar.*refused"):
        download.download("voc", tmp_path / "other", url="http://127.0.0.1:1/voc.tar")
    assert len(waits) == 3 + RETRIES


def test_file_address(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    mirror = tmp_path / "my mirror.tar"
    refused("my%20mirror", download.download, "voc", tmp_path / "root", url=mirror.as_uri(), error=ConnectionError)
    mirror.write_bytes(ARCHIVE)
    download.download("voc", tmp_path / "root", url=mirror.as_uri())
    check_tree(tmp_path / "root")
    assert waits == [] and mirror.read_bytes() == ARCHIVE


def test_silence_times_out_and_is_resumed(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.stalls = [MIDDLE]
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={MIDDLE}-"]  # every byte sent before the silence was kept
    check_tree(tmp_path)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this system")


def stop_unpacking(patch: pytest.MonkeyPatch, stop: Callable[[], None]) -> None:
    """Calls `stop` in the middle of the archive."""
    extract = tarfile.TarFile.extract

    def extract_or_stop(tar: tarfile.TarFile, member: tarfile.TarInfo, *arguments: object, **options: object) -> None:
        if member.name.endswith("2007_000003.jpg"):
            stop()
        extract(tar, member, *arguments, **options)

    patch.setattr(tarfile.TarFile, "extract", extract_or_stop)


def start(server: FakeServer, root: Path) -> multiprocessing.Process:
    """Downloads in a process of its own; a shell starts background processes with SIGINT ignored."""
    process = multiprocessing.get_context("fork").Process(
        target=lambda: (signal.signal(signal.SIGINT, signal.default_int_handler), fetch(server, root))
    )
    process.start()
    return process


@needs_fork
@pytest.mark.parametrize("ending", ["SIGINT", "SIGKILL"])
def test_interrupted_download_is_resumed(server: FakeServer, tmp_path: Path, ending: str) -> None:
    server.stalls = [MIDDLE]
    process, end = start(server, tmp_path), time.monotonic() + 120
    while not ((tmp_path / PART).exists() and (tmp_path / PART).stat().st_size >= MIDDLE):
        assert time.monotonic() < end and process.exitcode is None
        time.sleep(0.005)
    os.kill(process.pid, getattr(signal, ending))
    process.join(120)
    assert process.exitcode == (1 if ending == "SIGINT" else -signal.SIGKILL)
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:MIDDLE]
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={MIDDLE}-"]
    check_tree(tmp_path)


@pytest.mark.parametrize("name", ["../../../../outside/evil", "link/evil"])
def test_hostile_archive(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "inside" / "root"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    link, evil = tarfile.TarInfo(f"{VOC.source}/link"), tarfile.TarInfo(f"{VOC.source}/{name}")
    link.type, link.linkname, evil.size = tarfile.SYMTYPE, str(outside), 5
    server.files[VOC.filename] = content = tar_of(IN_TAR, extra=(link, evil) if name.startswith("link") else (evil,))
    monkeypatch.setattr(download, "VOC", replace(VOC, md5=md5(content)))
    refused(r"\.part: unsafe or damaged, nothing was unpacked", fetch, server, root)
    assert {path.name for path in tmp_path.rglob("*")} == {"outside", "kept", "inside", "root", PART}
    assert (outside / "kept").read_text() == "kept"


@needs_fork
@pytest.mark.parametrize("killed", [True, False])
def test_stopped_unpacking(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    def full_disk() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        stop_unpacking(patch, (lambda: os.kill(os.getpid(), signal.SIGKILL)) if killed else full_disk)
        if killed:
            process = start(server, tmp_path)
            process.join(120)
            assert process.exitcode == -signal.SIGKILL and not (tmp_path / "VOC2012").exists()
        else:
            refused(f"No space left on device: '{tmp_path}'", fetch, server, tmp_path, error=OSError)
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {PART: ARCHIVE}
    fetch(server, tmp_path)
    assert server.asked == [None], "what had arrived is used"
    check_tree(tmp_path)


def test_full_disk_while_receiving_is_not_tried_again(
    server: FakeServer, tmp_path: Path, waits: list[float], limit: Callable
) -> None:
    limit(MIDDLE)
    refused(f"too large: '{tmp_path}'", fetch, server, tmp_path, error=OSError)
    limit()
    assert waits == []
    fetch(server, tmp_path)
    check_tree(tmp_path)
