"""The cache: what is counted and removed, what is not, and what is in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.cache import cache_directory
from tamis.data.catalog import CATALOG
from tamis.errors import ConfigError, RunError
from tamis.export.web.runtime import ORT
from tamis.files import locked
from tamis.workflows.cache_contents import KINDS, cache_entries, clear_cache
from tests.runs import TINY, contents, table, tamis

HASH = "0123456789abcdef" * 2
FIRST, SECOND = f"states/{'a' * 40}", f"states/{'d' * 40}"
PROGRAM = f"npm/{ORT[0].package}-{ORT[0].version}/{ORT[0].path}"


def fill(sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = cache_directory() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def member() -> str:
    name, entry = next(iter(CATALOG.items()))
    return f"data/{name}/{entry.member}"


def ours() -> dict[str, int]:
    """A file of every kind, and what an interrupted download leaves."""
    archive = str(Path(member()).parent / "archive.zip")
    return {
        f"{FIRST}.npy": 100,
        f"{SECOND}.part": 50,
        f"{SECOND}.json": 5,
        member(): 30,
        f"{archive}.part": 7,
        f"{archive}.part.json": 3,
        "backbones/openai-124M/model.ckpt.data-00000-of-00001": 40,
        f"teachers/{HASH}/vectors.f16": 60,
        f"teachers/{HASH}/README.txt": 6,
        PROGRAM: 8,
        f"speed/{HASH[:16]}.json": 4,
        f"verified/{HASH}.json": 2,
    }


OTHERS = {
    "states/thesis.txt": 11,
    "states/embeddings.npy": 17,
    "states/california.json": 18,
    "speed/records.json": 19,
    "verified/users.json": 20,
    "npm/package.json": 21,
    "data/mine.csv": 12,
    "data/other/archive.zip": 13,
    "photos/a.npy": 14,
    "teachers/class-of-2026/vectors.f16": 15,
    "notes.json": 16,
}
"""Files that tamis did not write, where TAMIS_CACHE names a folder that was there before."""


def test_every_kind_is_counted() -> None:
    fill(ours() | OTHERS)
    found = {entry.kind: (entry.files, entry.bytes) for entry in cache_entries()}
    assert found == {
        "states": (3, 155),
        "data": (3, 40),
        "backbones": (1, 40),
        "teachers": (2, 66),
        "npm": (1, 8),
        "speed": (1, 4),
        "verified": (1, 2),
    }
    assert set(found) == set(KINDS)


def test_an_empty_cache_has_nothing_and_clearing_it_is_no_error() -> None:
    assert sum(entry.files for entry in cache_entries()) == 0
    assert clear_cache().in_use == ()


def test_clearing_removes_what_tamis_wrote_and_nothing_else() -> None:
    fill(ours() | OTHERS)
    found = clear_cache()
    assert sum(entry.bytes for entry in found.removed) == sum(ours().values())
    assert found.in_use == ()
    assert {name: len(content) for name, content in contents(cache_directory()).items()} == OTHERS
    assert not (cache_directory() / "backbones").exists()


def test_one_kind_can_be_cleared_alone() -> None:
    fill(ours())
    clear_cache(["speed", "states"])
    left = set(contents(cache_directory()))
    assert left == {name for name in ours() if not name.startswith(("speed", "states"))}


@pytest.mark.parametrize(
    ("lock", "kept"),
    [
        (f"{SECOND}.lock", {f"{SECOND}.part", f"{SECOND}.json"}),
        (str(Path(member()).parent / ".archive.zip.lock"), {"archive.zip"}),
        (f"teachers/{HASH}/lock", {"vectors.f16", "README.txt"}),
    ],
)
def test_what_is_in_use_stays(lock: str, kept: set[str]) -> None:
    fill(ours())
    with locked(cache_directory() / lock) as mine:
        assert mine
        found = clear_cache()
        left = set(contents(cache_directory())) - {lock}
        assert left == {str(path.relative_to(cache_directory())) for path in found.in_use}
        assert left and all(any(name in path for name in kept) for path in left)
    clear_cache()
    assert contents(cache_directory()) == {}


def test_an_unknown_kind_and_a_cache_that_is_a_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"expected one of states.*got 'everything'"):
        clear_cache(["everything"])
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match="is not a folder"):
        clear_cache()


def test_the_command_shows_and_clears_what_a_training_left(tmp_path: Path) -> None:
    assert tamis("train", table(), *TINY, "--tune", "head", "-o", tmp_path / "run").code == 0
    plain = json.loads(tamis("cache", "--json").out)
    states = next(entry for entry in plain["content"] if entry["kind"] == "states")
    files = list((cache_directory() / "states").glob("*.npy"))
    assert states["files"] == len(files) > 0
    assert states["bytes"] == sum(file.stat().st_size for file in files)
    assert plain["folder"] == str(cache_directory())
    said = tamis("cache", "states", "--clear")
    assert said.code == 0 and "removed from" in said.out
    assert not (cache_directory() / "states").exists()
    assert tamis("cache", "statues").code == 2
