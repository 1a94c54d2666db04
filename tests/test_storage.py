"""Files survive a full disk, a kill between two renames, and damage."""

import errno
from pathlib import Path

import pytest
import torch

from seglib.files import write_atomic, write_json
from seglib.train.checkpoint import load_state, previous_path, save_state


def test_predecessor_is_kept_and_used_when_the_last_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_state(path) is None
    save_state(path, {"step": 1, "weights": torch.ones(3)})
    save_state(path, {"step": 2, "weights": torch.zeros(3)})
    state, source = load_state(path)
    assert state["step"] == 2 and source == path
    path.write_bytes(path.read_bytes()[:50])
    state, source = load_state(path)
    assert state["step"] == 1 and source == previous_path(path)
    path.unlink()  # killed between the two renames
    assert load_state(path)[0]["step"] == 1


def test_only_damaged_files_is_one_error_that_names_them(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: not a readable checkpoint"):
        load_state(path)


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path(tmp_path / "executed").touch, ())

    path = tmp_path / "checkpoint.pt"
    torch.save({"model": Evil()}, path)
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load_state(path)
    assert not (tmp_path / "executed").exists()


def test_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"miou": 0.5})

    def full(file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"result\.json: could not be written .*No space left"):
        write_atomic(path, full)
    assert path.read_text() == '{\n "miou": 0.5\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"miou": float("nan")})
    assert not (tmp_path / "x.json").exists()
