"""Fetching VOC and SBD from a server on this machine that breaks in all the ways that servers do."""

import hashlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglib.data import VOCSegmentation, download
from seglib.data.download import RETRIES, SBD, VOC, download_sbd, download_voc, main

PART = f"{VOC.filename}.part"
WRONG = f"{VOC.filename}.wrong"


@dataclass
class FakeServer:
    """What the server holds, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes of body sent in each of the first connections
    always_cut: int | None = None
    ranges: bool = True
    shift: int = 0  # how far from the byte asked for it starts
    say_range: bool = True  # whether it says where it starts
    chunked: bool = False
    codes: list[int] = field(default_factory=list)  # status of each of the first answers
    stalls: list[int] = field(default_factory=list)  # bytes of body sent before silence, in each of the first
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    address: str = ""

    def url(self, name: str = "voc.tar") -> str:
        return f"{self.address}/{name}"


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
        start += fake.shift if start else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start and fake.say_range:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fake.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.send_body(content[start:])

    def send_body(self, body: bytes) -> None:
        fake = self.fake
        if fake.stalls:
            self.wfile.write(body[: fake.stalls.pop(0)])
            fake.released.wait(30)
            return
        cut = fake.cuts.pop(0) if fake.cuts else fake.always_cut
        if fake.chunked:
            self.wfile.write(b"%x\r\n" % len(body) + body[:cut] + (b"\r\n0\r\n\r\n" if cut is None else b""))
        else:
            self.wfile.write(body[:cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fake = FakeServer()
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


def image_bytes(kind: str, value: int) -> bytes:
    rng, out = np.random.default_rng(value), io.BytesIO()
    if kind == "jpeg":
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(out, "JPEG", quality=95)
    else:
        label = Image.fromarray(np.full((60, 80), value, np.uint8))
        label.putpalette(list(range(256)) * 3)
        label.save(out, "PNG")
    return out.getvalue()


def mat_bytes(value: int) -> bytes:
    from scipy.io import savemat

    out = io.BytesIO()
    record = np.zeros((1, 1), dtype=[("Segmentation", object)])
    record["Segmentation"][0, 0] = np.full((60, 80), value, np.uint8)
    savemat(out, {"GTcls": record})
    return out.getvalue()


def pack(files: dict[str, bytes], mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return out.getvalue()


def voc_files() -> dict[str, bytes]:
    top = "VOCdevkit/VOC2012"
    ids = {"train": ["2007_000001", "2007_000002"], "val": ["2007_000003"]}
    files = {f"{top}/ImageSets/Segmentation/{split}.txt": "\n".join(n).encode() + b"\n" for split, n in ids.items()}
    for name in ["2007_000001", "2007_000002", "2007_000003", "2008_000004"]:
        files[f"{top}/JPEGImages/{name}.jpg"] = image_bytes("jpeg", int(name[-1]))
    for value, name in enumerate(["2007_000001", "2007_000002", "2007_000003"], start=1):
        files[f"{top}/SegmentationClass/{name}.png"] = image_bytes("png", value)
    files[f"{top}/Annotations/2007_000001.xml"] = b"<annotation/>"
    return files


def sbd_files() -> dict[str, bytes]:
    top = "benchmark_RELEASE/dataset"
    files = {"benchmark_RELEASE/README": b"read me", f"{top}/train.txt": b"2007_000002\n2008_000004\n"}
    files[f"{top}/val.txt"] = b"2007_000003\n"
    for value, name in ((2, "2007_000002"), (3, "2007_000003"), (4, "2008_000004")):
        files[f"{top}/img/{name}.jpg"] = image_bytes("jpeg", value)
        files[f"{top}/cls/{name}.mat"] = mat_bytes(value)
    return files


ARCHIVE = pack(voc_files())
MIDDLE = len(ARCHIVE) // 2


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fetch(server: FakeServer, root: Path, content: bytes = ARCHIVE, **options: object) -> Path:
    """Fetch `content`, or what the server gives in its place."""
    server.files.setdefault("voc.tar", content)
    return download_voc(root, server.url(), md5=md5(content), progress=False, **options)


def check_tree(root: Path) -> None:
    """The tree below root is the archive's, bit for bit, and nothing else is left there."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == {name.removeprefix("VOCdevkit/"): content for name, content in voc_files().items()}
    assert [path.name for path in root.iterdir()] == ["VOC2012"]


def test_constants_are_the_published_ones() -> None:
    assert (VOC.filename, VOC.md5) == ("VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd")
    assert (SBD.filename, SBD.md5) == ("benchmark.tgz", "82b4d87ceb2ed10f6038a1cba92111cb")
    assert VOC.url.endswith(VOC.filename) and SBD.url.endswith(SBD.filename)


def test_voc_and_sbd_end_to_end(server: FakeServer, tmp_path: Path) -> None:
    root = tmp_path / "new" / "VOCdevkit"
    sbd = pack(sbd_files(), "w:gz")
    server.files["sbd.tgz"] = sbd
    assert fetch(server, root) == root
    assert download_sbd(root, server.url("sbd.tgz"), md5=md5(sbd), progress=False) == root
    assert sorted(p.name for p in root.iterdir()) == ["VOC2012", "benchmark_RELEASE"]
    assert [p.name for p in (root / "benchmark_RELEASE").iterdir()] == ["dataset"]  # the rest of the archive stays out
    shutil.rmtree(root / "benchmark_RELEASE" / "dataset" / "img")  # VOC's own images are read, not SBD's
    val, trainaug = (VOCSegmentation(root, split, partial=True) for split in ("val", "trainaug"))
    assert val.names == ["2007_000003"]
    assert trainaug.names == ["2007_000001", "2007_000002", "2008_000004"]
    assert [int(np.unique(trainaug.read(i)[1]).item()) for i in range(3)] == [1, 2, 4]
    assert trainaug.read(2)[0].shape == (60, 80, 3)


def test_complete_tree_asks_for_nothing(server: FakeServer, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    server.asked.clear()
    fetch(server, tmp_path)
    download_voc(tmp_path, "http://127.0.0.1:1/nobody-listens")
    assert server.asked == []
    check_tree(tmp_path)


def test_incomplete_tree_is_left_alone(server: FakeServer, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    lost = tmp_path / "VOC2012" / "JPEGImages" / "2007_000002.jpg"
    lost.unlink()
    with pytest.raises(FileExistsError, match=r"VOC2012: .*JPEGImages lacks 1 of 3 .*2007_000002\.jpg"):
        fetch(server, tmp_path)
    (tmp_path / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(FileExistsError, match=r"lacks ImageSets/Segmentation/val\.txt"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 and not lost.exists()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cuts", [[MIDDLE], [1000, 2000], [0, 700]])
def test_cut_connection_is_continued(server: FakeServer, tmp_path: Path, cuts: list[int], chunked: bool) -> None:
    server.chunked = chunked
    server.cuts = list(cuts)
    fetch(server, tmp_path)
    check_tree(tmp_path)
    starts = np.cumsum(cuts)
    assert server.asked == [None, *(f"bytes={start}-" if start else None for start in starts)]


def test_always_cut_without_progress_gives_up_and_keeps_the_part(
    server: FakeServer, tmp_path: Path, waits: list[float]
) -> None:
    server.cuts, server.always_cut = [MIDDLE], 0
    with pytest.raises(ConnectionError, match=rf"voc\.tar.*{len(ARCHIVE)} bytes.*\.part keeps {MIDDLE} bytes"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 + RETRIES
    assert waits == [1, 2, 4, 8, 16]
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:MIDDLE]
    server.always_cut = None
    server.asked.clear()
    fetch(server, tmp_path)
    assert server.asked == [f"bytes={MIDDLE}-"]
    check_tree(tmp_path)


def test_slow_progress_is_no_reason_to_give_up(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    server.always_cut = len(ARCHIVE) // (3 * RETRIES)
    fetch(server, tmp_path)
    assert len(server.asked) > 2 * RETRIES and set(waits) == {1}
    check_tree(tmp_path)


def test_range_ignored_starts_again(server: FakeServer, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [MIDDLE, MIDDLE // 2]
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={MIDDLE}-", f"bytes={MIDDLE // 2}-"]
    check_tree(tmp_path)


def test_range_ignored_and_always_cut_gives_up(server: FakeServer, tmp_path: Path) -> None:
    server.ranges, server.always_cut = False, MIDDLE
    with pytest.raises(ConnectionError, match="nothing new"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 + RETRIES


@pytest.mark.parametrize(("shift", "say_range", "said"), [(1, True, "bytes .*"), (0, False, "")])
def test_wrong_range_is_refused(server: FakeServer, tmp_path: Path, shift: int, say_range: bool, said: str) -> None:
    (tmp_path / PART).write_bytes(ARCHIVE[:MIDDLE])
    server.shift, server.say_range = shift, say_range
    with pytest.raises(ConnectionError, match=rf"bytes from {MIDDLE}, found Content-Range '{said}'"):
        fetch(server, tmp_path)
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:MIDDLE]


def test_range_from_an_earlier_byte_is_used(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(ARCHIVE[:MIDDLE])
    server.shift = -100
    fetch(server, tmp_path)
    assert len(server.asked) == 1
    check_tree(tmp_path)


@pytest.mark.parametrize(
    "served", [b"<html>moved</html>", ARCHIVE[:MIDDLE], ARCHIVE[:-1] + b"!"], ids=["page", "truncated", "one byte"]
)
def test_wrong_file_is_not_unpacked(server: FakeServer, tmp_path: Path, served: bytes) -> None:
    server.files["voc.tar"] = served
    with pytest.raises(ValueError, match=rf"voc\.tar: expected md5 {md5(ARCHIVE)}, found {md5(served)}.*\.tar\.wrong"):
        fetch(server, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {WRONG: served}
    server.files["voc.tar"] = ARCHIVE
    fetch(server, tmp_path)
    assert server.asked == [None, None]
    (tmp_path / WRONG).unlink()
    check_tree(tmp_path)


def test_part_longer_than_the_file_starts_again(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(ARCHIVE + b"more")
    fetch(server, tmp_path)
    assert server.asked == [f"bytes={len(ARCHIVE) + 4}-", None]
    check_tree(tmp_path)


def test_damaged_part_of_full_length_is_set_aside(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(bytes(len(ARCHIVE)))
    with pytest.raises(ValueError, match="expected md5"):
        fetch(server, tmp_path)
    assert server.asked == [f"bytes={len(ARCHIVE)}-"] and not (tmp_path / PART).exists()


def test_complete_part_is_not_fetched_again(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(ARCHIVE)
    fetch(server, tmp_path)
    assert server.asked == []
    check_tree(tmp_path)


@pytest.mark.parametrize("code", [400, 403, 404, 410])
def test_refusal_is_final(server: FakeServer, tmp_path: Path, code: int) -> None:
    server.codes = [code]
    with pytest.raises(ConnectionError, match=rf"voc\.tar: .*{code}.*another address"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 and list(tmp_path.iterdir()) == []


def test_passing_trouble_is_waited_for(
    server: FakeServer, tmp_path: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.codes = [503, 429, 408]
    fetch(server, tmp_path)
    assert waits == [1, 2, 4]
    assert capsys.readouterr() == ("", "")  # progress=False says nothing of it
    check_tree(tmp_path)


def test_nobody_listens(tmp_path: Path, waits: list[float]) -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1/voc\.tar.*refused"):
        download_voc(tmp_path, "http://127.0.0.1:1/voc.tar", progress=False)
    assert len(waits) == RETRIES


@pytest.mark.parametrize("url", ["voc.tar", "ftp://127.0.0.1/voc.tar", "/somewhere/voc.tar"])
def test_other_kinds_of_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=f"url: expected an address .* found '{url}'"):
        download_voc(tmp_path / "root", url)
    assert not (tmp_path / "root").exists()


def test_file_address(tmp_path: Path, waits: list[float]) -> None:
    mirror = tmp_path / "my mirror.tar"
    with pytest.raises(ConnectionError, match="my%20mirror"):
        download_voc(tmp_path / "root", mirror.as_uri(), md5=md5(ARCHIVE), progress=False)
    assert waits == []
    mirror.write_bytes(ARCHIVE)
    download_voc(tmp_path / "root", mirror.as_uri(), md5=md5(ARCHIVE).upper(), progress=False)
    check_tree(tmp_path / "root")
    assert mirror.read_bytes() == ARCHIVE


def test_silence_times_out_and_is_continued(server: FakeServer, tmp_path: Path) -> None:
    server.stalls = [MIDDLE]
    fetch(server, tmp_path, timeout=0.3)
    assert server.asked == [None, f"bytes={MIDDLE}-"]  # every byte sent before the silence was kept
    check_tree(tmp_path)


def test_always_silent_gives_up(server: FakeServer, tmp_path: Path) -> None:
    server.stalls = [0] * 10
    with pytest.raises(ConnectionError, match="timed out"):
        fetch(server, tmp_path, timeout=0.05)
    assert len(server.asked) == 1 + RETRIES


def arrived(part: Path, size: int) -> bool:
    """Wait until `part` holds `size` bytes; False after two minutes, for a process that starts on a busy machine."""
    end = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size >= size):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """A shell starts what it runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to a thread are POSIX")
def test_ctrl_c_keeps_what_arrived(server: FakeServer, tmp_path: Path, heeded_ctrl_c: None) -> None:
    server.stalls = [MIDDLE]
    main_thread = threading.main_thread().ident

    def press() -> None:
        if arrived(tmp_path / PART, MIDDLE):
            signal.pthread_kill(main_thread, signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    finger.join()
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:MIDDLE]
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={MIDDLE}-"]
    check_tree(tmp_path)


def test_killed_process_is_continued(server: FakeServer, tmp_path: Path) -> None:
    server.files["voc.tar"], server.stalls = ARCHIVE, [MIDDLE]
    code = "import sys; from seglib.data.download import download_voc; download_voc(*sys.argv[1:3], md5=sys.argv[3])"
    arguments = [sys.executable, "-c", code, str(tmp_path), server.url(), md5(ARCHIVE)]
    with subprocess.Popen(arguments, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL) as process:
        came = arrived(tmp_path / PART, MIDDLE)
        process.kill()
    assert came
    assert process.returncode != 0
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={MIDDLE}-"]
    check_tree(tmp_path)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def plain(name: str, kind: bytes = tarfile.REGTYPE, size: int = 5) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info


TOP = "VOCdevkit/VOC2012"
HOSTILE = {
    "parent": [plain(f"{TOP}/../../../../evil")],
    "parent at the top": [plain("../../evil")],
    "absolute": [plain("{outside}/evil")],
    "symlink, written through": [link(f"{TOP}/out", "{outside}"), plain(f"{TOP}/out/evil")],
    "relative symlink": [link(f"{TOP}/out", "../../../.."), plain(f"{TOP}/out/evil")],
    "symlink above the folder": [link("VOCdevkit", "{outside}"), plain(f"{TOP}/evil")],
    "hard link": [link(f"{TOP}/out", "{outside}/kept", tarfile.LNKTYPE), plain(f"{TOP}/out")],
    "symlink inside": [link(f"{TOP}/JPEGImages/a.jpg", "2007_000001.jpg")],
    "device": [plain(f"{TOP}/null", tarfile.CHRTYPE, 0)],
    "pipe": [plain(f"{TOP}/pipe", tarfile.FIFOTYPE, 0)],
}


@pytest.mark.parametrize("first", [True, False], ids=["alone", "last"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive_writes_nothing(server: FakeServer, tmp_path: Path, case: str, first: bool) -> None:
    outside, root = tmp_path / "outside", tmp_path / "inside" / "root"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    root.mkdir(parents=True)
    members = [tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "") for info in HOSTILE[case]]
    for info in members:
        info.name, info.linkname = (text.format(outside=outside) for text in (info.name, info.linkname))
    content = pack({} if first else voc_files(), extra=tuple(members))
    with pytest.raises(ValueError, match=r"nothing was unpacked: the archive holds '.*expected.*\.wrong"):
        fetch(server, root, content)
    assert [path.name for path in root.iterdir()] == [WRONG]
    assert {path.name for path in tmp_path.rglob("*")} == {"outside", "kept", "inside", "root", WRONG}
    assert (outside / "kept").read_text() == "kept"


def test_what_lies_beside_the_folder_is_not_taken(server: FakeServer, tmp_path: Path) -> None:
    beside = (plain("VOCdevkit/other"), plain("evil"), link("out", str(tmp_path)), plain("out/evil"))
    fetch(server, tmp_path, pack(voc_files(), extra=beside))
    check_tree(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a tar file" * 100, "could not be opened"),
        (pack({"other/file": b"x"}), r"VOCdevkit/VOC2012 lacks ImageSets/Segmentation/train\.txt"),
        (pack(dict(list(voc_files().items())[:-2])), r"SegmentationClass lacks 1 of 3.*2007_000003\.png"),
        (pack(voc_files(), "w:gz")[:-3000], "nothing was unpacked"),
    ],
    ids=["no tar", "other tar", "incomplete", "cut gzip"],
)
def test_useless_archive_leaves_no_tree(server: FakeServer, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fetch(server, tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == [WRONG]


def test_failure_while_unpacking_leaves_no_tree(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tarfile.TarFile.extract

    def full_disk(self: tarfile.TarFile, member: tarfile.TarInfo, *arguments: object, **options: object) -> None:
        if member.name.endswith("2007_000003.jpg"):
            raise OSError(28, "No space left on device")
        extract(self, member, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full_disk)
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
            fetch(server, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {PART: ARCHIVE}
    fetch(server, tmp_path)
    assert len(server.asked) == 1
    check_tree(tmp_path)


@pytest.mark.parametrize(
    ("have", "needed"), [(0, 2 * len(ARCHIVE)), (MIDDLE, 2 * len(ARCHIVE) - MIDDLE), (len(ARCHIVE), len(ARCHIVE))]
)
def test_disk_space_is_checked_beforehand(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, have: int, needed: int
) -> None:
    usage = namedtuple("usage", "free")
    (tmp_path / PART).write_bytes(ARCHIVE[:have])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed - 1))
    with pytest.raises(OSError, match=r"expected 0\.00 GB free, found .*" + tmp_path.name):
        fetch(server, tmp_path)
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:have]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed))
    fetch(server, tmp_path)
    check_tree(tmp_path)


def test_full_disk_is_not_tried_again(server: FakeServer, tmp_path: Path, waits: list[float]) -> None:
    resource = pytest.importorskip("resource", reason="the limit on a file's size is POSIX")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIDDLE, limits[1]))
    try:
        with pytest.raises(OSError, match=f"too large: '{tmp_path}'"):
            fetch(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = (tmp_path / PART).read_bytes()
    assert waits == [] and kept == ARCHIVE[: len(kept)]
    fetch(server, tmp_path)
    check_tree(tmp_path)


def test_leftovers_of_a_kill_while_unpacking_are_removed(server: FakeServer, tmp_path: Path) -> None:
    left = tmp_path / f".{VOC.filename}.unpacking" / "VOCdevkit" / "VOC2012" / "JPEGImages" / "left.jpg"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    fetch(server, tmp_path)
    check_tree(tmp_path)


def test_command_line(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sbd = pack(sbd_files(), "w:gz")
    server.files |= {f"mirror/{VOC.filename}": ARCHIVE, f"mirror/{SBD.filename}": sbd}
    monkeypatch.setattr(download, "VOC", download.replace(VOC, md5=md5(ARCHIVE)))
    monkeypatch.setattr(download, "SBD", download.replace(SBD, md5=md5(sbd)))
    main(["all", str(tmp_path / "all"), "--url", server.url("mirror/"), "--quiet"])
    assert capsys.readouterr() == (f"{tmp_path / 'all'}\n", "")
    assert len(VOCSegmentation(tmp_path / "all", "trainaug", partial=True)) == 3
    server.cuts = [MIDDLE]
    main(["voc", str(tmp_path / "voc"), "--url", server.url(f"mirror/{VOC.filename}"), "--md5", md5(ARCHIVE)])
    shown = capsys.readouterr().err
    assert f"the connection ended after {MIDDLE} of {len(ARCHIVE)} bytes; next try in 1 s" in shown
    assert f"{VOC.filename}: 100%" in shown and f"unpack {VOC.filename}: 100%" in shown
    assert not (tmp_path / "voc" / "benchmark_RELEASE").exists()
    main(["sbd", str(tmp_path / "voc"), "--url", server.url(f"mirror/{SBD.filename}"), "--quiet"])
    assert len(VOCSegmentation(tmp_path / "voc", "trainaug", partial=True)) == 3


def test_command_line_errors(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, message in (
        (["voc", str(tmp_path), "--url", server.url("absent")], 1, "404"),
        (["all", str(tmp_path), "--md5", "0"], 2, "--md5"),
        (["camvid", str(tmp_path)], 2, "choose from"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == code
        assert message in capsys.readouterr().err
