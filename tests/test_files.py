"""Files are whole or as they were; a lock is held by one."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tamis import files
from tamis.files import holder, locked, replaced, replaced_folder, sha256, similar_path, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    with replaced(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old" and beside.parent.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    for failure in (OSError("No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(failure)), replaced(path) as beside:
            beside.write_text("ne")
            raise failure
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_whatever_wrote_the_file(
    tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        with replaced(tmp_path / "a.safetensors") as beside:
            save_file(
                {"a": np.zeros(3)}, beside
            )  # written through a temporary file of its own, 0600
        write_text(tmp_path / "b.json", "{}")
    finally:
        os.umask(before)
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
        "a.safetensors": mode,
        "b.json": mode,
    }


def test_nothing_written_is_an_error_not_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replaced(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "é 🙂\n")
    assert (tmp_path / "x").read_bytes() == b"\xc3\xa9 \xf0\x9f\x99\x82\n"


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with locked(path) as first:
        assert first
        with locked(path) as second:
            assert not second
        with locked(path) as third:
            assert not third  # asking has not freed it
    assert not path.exists()
    with locked(path) as again:
        assert again


def test_a_lock_is_free_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with pytest.raises(RuntimeError), locked(path):
        raise RuntimeError
    with locked(path) as mine:
        assert mine


def test_another_process_is_kept_out_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    program = f"""
import pathlib, sys
from tamis.files import locked
with locked(pathlib.Path({str(path)!r})) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        with locked(path) as mine:
            assert not mine
        other.kill()
        other.wait()
        with locked(path) as mine:
            assert mine


@pytest.mark.skipif(os.name != "posix", reason="Windows does not remove an open file")
def test_a_lock_file_that_vanished_while_it_was_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    path, original = tmp_path / "work.lock", fcntl.flock
    calls = []

    def flock(file: Any, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            path.unlink()  # the holder before has just let go of it
        original(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path) as first, locked(path) as second:
        assert first and not second and path.exists()


@pytest.mark.skipif(os.name != "posix", reason="locks of the system")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_of_the_system_a_file_that_names_the_process_is_the_lock(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(file: Any, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "work.lock"
    with locked(path) as mine, locked(path) as second:
        assert mine and not second and f"({os.getpid()} on " in holder(path)
    assert not path.exists()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    marker = tmp_path / ".work.lock.part"
    marker.write_text(f"{ended.pid}\n{platform.node()}\n", encoding="utf-8")
    with locked(path) as taken_over:
        assert taken_over
    for file in (marker, path):
        file.write_text("1\nelsewhere\n", encoding="utf-8")  # nobody here can ask it
    with locked(path) as mine:
        assert not mine and holder(path) == "another process (1 on elsewhere)"


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    assert holder(path) == "another process"
    with locked(path):
        assert holder(path) == f"another process ({os.getpid()} on {platform.node()})"
    path.write_bytes(b"\xff\n1\n")
    assert holder(path) == "another process"


@pytest.mark.skipif(os.name != "posix", reason="whether a process exists can be asked")
def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    path, others = tmp_path / "a.json", tmp_path / ".a.json.elsewhere.1.0.part"
    program = """
import os, pathlib, sys
from tamis.files import replaced
with replaced(pathlib.Path(sys.argv[1])) as beside:
    beside.write_text("half")
    beside.with_name(".tmpAbc").write_text("half")  # of the library that writes
    os.kill(os.getpid(), 9)
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, str(path)], check=False)
        assert len(list(tmp_path.iterdir())) == 1
    others.mkdir()
    write_text(path, "whole")
    assert sorted(tmp_path.iterdir()) == [others, path]


def test_a_file_is_written_by_several_threads_at_once(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.json", [str(number) * 999 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(9):
            list(pool.map(lambda text: write_text(path, text), texts))
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_folder_takes_the_place_of_another(
    exchanged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanged:  # a file system that cannot
        monkeypatch.setattr(files, "exchange", lambda one, other: False)
    path = tmp_path / "model"
    for content in ("old", "new"):
        with replaced_folder(path) as beside:
            (beside / content).write_text(content)
            assert not path.exists() or (path / "old").is_file()
    assert [file.name for file in path.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError), replaced_folder(path) as beside:
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="whether a process exists can be asked")
def test_a_folder_that_was_moved_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "weights").write_text("old")
    program = """
import os, pathlib, sys
from tamis import files
files.exchange = lambda one, other: False
rename = pathlib.Path.rename
def renamed(self, target):
    rename(self, target)
    os.kill(os.getpid(), 9)
with files.replaced_folder(pathlib.Path(sys.argv[1])) as beside:
    (beside / "weights").write_text("new")
    pathlib.Path.rename = lambda self, target: (
        renamed(self, target) if target.name == "model.old" else rename(self, target)
    )
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert not path.exists()
    with pytest.raises(RuntimeError), replaced_folder(path):
        raise RuntimeError
    assert (path / "weights").read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="whether a process exists can be asked")
@pytest.mark.parametrize("name", ["old", ".old", "a.old"])
def test_half_of_a_file_never_gets_its_name(name: str, tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
from tamis.files import replaced
with replaced(pathlib.Path(sys.argv[1])) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), 9)
"""
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    with pytest.raises(RuntimeError), replaced(path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_is_written_too(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".json")
    write_text(path, "{}")
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 99_999)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 99_999).hexdigest()


def test_a_misspelled_path_is_told_with_the_similar_one(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("x", encoding="utf-8")
    assert similar_path(tmp_path / "tickets.cvs") == (
        f"did you mean {str(tmp_path / 'tickets.csv')!r}?"
    )
    assert similar_path(tmp_path / "nothing.txt") == ""
    assert similar_path(tmp_path / "no-folder" / "tickets.csv") == ""
    assert similar_path("a\0b") == ""
