"""What lies in the cache folder, and removing it.

Only files that tamis writes there are counted and removed, by their place and name: TAMIS_CACHE may
name a folder with other files. What another process uses at the moment is left alone. Backbones
from the Hugging Face hub lie in the cache of huggingface-hub, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tamis.cache import cache_directory
from tamis.data.catalog import CATALOG
from tamis.errors import ConfigError, RunError
from tamis.export.web.runtime import ONIG, ORT
from tamis.files import locked

_HEX = "[0-9a-f]"
_HASH = _HEX * 32
_STATE, _SPEED = _HEX * 40, _HEX * 16
"""Names of the files of these kinds, which tell them from files of others in a folder of the same
name."""
_LEFT = (".part", ".part.json", ".lock")
"""Endings of what downloads leave beside a file."""
KINDS = {
    "states": "features of frozen backbones, computed again when needed",
    "data": "data sets of the catalog, downloaded again when needed",
    "backbones": "backbones in OpenAI's format, downloaded again when needed",
    "teachers": "vectors of teachers, computed again by the next pretraining",
    "npm": "programs of exported web pages, downloaded again when needed",
    "speed": "speed measurements of this processor for --dtype auto",
    "verified": "which downloaded files have been verified",
}
"""Kinds of content, each a folder of the cache, with what it is and what removing it costs."""


@dataclass(frozen=True)
class CacheEntry:
    """One kind of content."""

    kind: str
    files: int
    bytes: int
    description: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Cleared:
    """What was removed."""

    removed: tuple[CacheEntry, ...]
    in_use: tuple[Path, ...]
    """files that another process uses, or that could not be removed; they are left"""


def cache_entries(kinds: Sequence[str] = ()) -> list[CacheEntry]:
    """Return what lies in the cache, by kind; all kinds by default.

    Raises:
        ConfigError: a kind is unknown.
    """
    return [_entry(kind, files_of(kind)) for kind in _checked(kinds)]


def clear_cache(kinds: Sequence[str] = ()) -> Cleared:
    """Remove what lies in the cache, by kind; all kinds by default.

    Raises:
        ConfigError: a kind is unknown.
        RunError: the cache folder is not a folder.
    """
    folder = cache_directory()
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is not a folder; choose another one with TAMIS_CACHE")
    removed, busy = [], []
    for kind in _checked(kinds):
        gone, kept = _removed(list(files_of(kind)))
        removed.append(CacheEntry(kind, len(gone), sum(gone), KINDS[kind]))
        busy += kept
        _remove_empty_folders(folder / kind)
    return Cleared(tuple(removed), tuple(busy))


def files_of(kind: str) -> Iterator[Path]:
    """Yield the files of a kind that tamis wrote."""
    folder = cache_directory() / kind
    if kind == "states":
        patterns = [f"{_STATE}{ending}" for ending in (".npy", ".json", ".part", ".lock")]
    elif kind == "data":
        members = [(entry.name, entry.member) for entry in CATALOG.values()]
        names = [f"{name}/{file}" for name, member in members for file in (member, "archive.zip")]
        patterns = [*names, *(f"{place}*{end}" for place in names for end in _LEFT)]
        patterns += [f"{name}/.*{end}" for name, _ in members for end in _LEFT]
    elif kind == "backbones":
        patterns = ["openai-*/*", "openai-*/.*"]
    elif kind == "teachers":
        files = ("vectors.f16", "keys.bin", "README.txt", "lock")
        patterns = [f"{_HASH}/{file}" for file in files]
    elif kind == "npm":
        names = [f"{one.package}-{one.version}/{one.path}" for one in (*ORT, *ONIG)]
        hidden = [f"{Path(name).parent}/.{Path(name).name}" for name in names]
        patterns = [*names, *(f"{place}*{end}" for place in (*names, *hidden) for end in _LEFT)]
    else:
        patterns = [f"{_SPEED if kind == 'speed' else _HASH}.json"]
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    yield from sorted(path for path in found if path.is_file())


def _removed(paths: Sequence[Path]) -> tuple[list[int], list[Path]]:
    """Sizes of the files that were removed, and the files that were not."""
    gone, kept = [], []
    for path in paths:
        if path.name == "lock" or path.suffix == ".lock":
            continue  # removed below, with what it protects
        if any(_is_locked(lock) for lock in _locks(path)):
            kept.append(path)
            continue
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError:
            kept.append(path)
        else:
            gone.append(size)
    for path in paths:
        if (path.name == "lock" or path.suffix == ".lock") and not _is_locked(path):
            path.unlink(missing_ok=True)
    return gone, kept


def _locks(path: Path) -> Iterable[Path]:
    """The lock files that may protect a file: of a state, a download, a teacher."""
    download = path.name.removesuffix(".json").removesuffix(".part").lstrip(".")
    return (
        path.with_suffix(".lock"),
        path.with_name(f".{download}.lock"),
        path.with_name("lock"),
    )


def _is_locked(lock: Path) -> bool:
    if not lock.exists():
        return False
    with locked(lock) as mine:
        return not mine


def _remove_empty_folders(folder: Path) -> None:
    inside = sorted(folder.glob("**/*/"), key=lambda path: -len(path.parts))
    for path in (*inside, folder):
        with suppress(OSError):  # not empty, or not there
            path.rmdir()


def _entry(kind: str, files: Iterable[Path]) -> CacheEntry:
    sizes = [path.stat().st_size for path in files if path.suffix != ".lock"]
    return CacheEntry(kind, len(sizes), sum(sizes), KINDS[kind])


def _checked(kinds: Sequence[str]) -> list[str]:
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"cache: expected one of {', '.join(KINDS)}, got {kind!r}")
    return list(dict.fromkeys(kinds)) or list(KINDS)
