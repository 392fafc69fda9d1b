"""Any GPT-2 of the Hugging Face hub by its name, `ORGANIZATION/NAME` or
`ORGANIZATION/NAME@REVISION`.

Only the files that tamis reads are downloaded: configuration, tokenizer, safetensors weights and
PEFT adapters. No pickle and no code is downloaded. Every file is compared with the checksum that
the hub states.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.cache import offline_switch
from tamis.download import Progress
from tamis.errors import DownloadError, MissingExtraError
from tamis.gpt2.hub_cache import cached_snapshot
from tamis.gpt2.hub_files import HubFiles, hub_client
from tamis.text.tokenizer_files import TOKENIZER_FILES

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"\w[\w./-]*", re.ASCII)
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class HubName:
    """A repository of the hub."""

    repository: str
    """`organization/name`"""
    revision: str = "main"
    """Commit, tag or branch."""


def hub_name(text: str) -> HubName | None:
    """Return the repository that a name means, or None if it cannot be one.

    A path is no name if its first folder exists: `runs/sms` is then a missing folder.
    """
    repository, _, revision = text.partition("@")
    if not _NAME.fullmatch(repository) or ("@" in text and not _REVISION.fullmatch(revision)):
        return None
    if ".." in text or Path(repository).parent.is_dir():
        return None
    return HubName(repository, revision or "main")


def fetch_repository(name: HubName, *, progress: Progress | None = None) -> Path:
    """Return the folder with the verified files of a repository, after a download if necessary.

    All files are of one commit, that of `name.revision` when the first one is fetched. Offline, the
    files come from the hub's cache.

    Args:
        name: repository and revision.
        progress: called with (bytes so far, total bytes or None) for each file of the weights.

    Raises:
        MissingExtraError: the files are not in the cache and `huggingface-hub` is not installed.
        DownloadError: the files cannot be had, **or** have wrong checksums.
    """
    hub, cached = hub_client(), cached_snapshot(name.repository, name.revision)
    if cached is not None and (hub is None or offline_switch() is not None) and _complete(cached):
        return cached
    if hub is None:
        raise MissingExtraError(
            "huggingface-hub", "hub", f"downloading {name.repository} from the Hugging Face hub"
        )
    files = HubFiles(hub, name.repository, name.revision)
    with files.errors():
        first = _first(files)
        # The commit is in the path; all other files are asked of it.
        files = HubFiles(hub, name.repository, first.parent.name)
        for file in TOKENIZER_FILES:
            files.bring_if_there(file)
        if first.name == _ADAPTER[0]:
            _bring_adapter(files)
        else:
            _bring_weights(files, progress)
    return first.parent


def _first(files: HubFiles) -> Path:
    """Return `config.json`, or the configuration of an adapter if there is none."""
    adapter = files.bring_if_there(_ADAPTER[0])
    config = files.bring_if_there("config.json")
    if adapter is not None and config is not None and adapter.parent != config.parent:
        raise DownloadError(
            f"{files.repository} changed on the Hugging Face hub during the download; repeat the "
            f"command, or name a commit: {files.repository}@COMMIT"
        )
    found = adapter or config
    if found is None and (switch := offline_switch()) is not None:
        raise DownloadError(
            f"Hugging Face hub: {files.repository} at {files.revision[:12]} is not in the hub's "
            f"cache, and {switch} disables downloads"
        )
    if found is None:
        raise DownloadError(
            f"Hugging Face hub: {files.repository} at {files.revision[:12]} has no config.json; "
            "expected a GPT-2 in the Hugging Face layout"
        )
    return found


def _bring_adapter(files: HubFiles) -> None:
    if files.bring_if_there(_ADAPTER[1]) is None:
        raise DownloadError(
            f"Hugging Face hub: {files.repository} at {files.revision[:12]} has no {_ADAPTER[1]}; "
            "tamis reads no pickle files such as adapter_model.bin"
        )


def _bring_weights(files: HubFiles, progress: Progress | None) -> None:
    try:
        files.bring(_WEIGHTS, progress)
        return
    except files.hub.errors.EntryNotFoundError:
        index = files.bring_if_there(_INDEX)
    if index is None:
        raise DownloadError(
            f"Hugging Face hub: {files.repository} at {files.revision[:12]} has no {_WEIGHTS}; "
            "tamis reads no pickle files such as pytorch_model.bin; save the model with "
            "safe_serialization=True, or choose another one"
        )
    for shard in _shards(index):
        files.bring(shard, progress)


def _shards(index: Path) -> list[str]:
    try:
        places: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
        if not all(Path(name).name == name and name.endswith(".safetensors") for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DownloadError(
            f"{index}: weight_map: expected a safetensors file in the same folder for every weight"
        ) from None
    return names


def _complete(folder: Path) -> bool:
    """Return whether a snapshot holds weights that can be read."""
    if (folder / _ADAPTER[0]).is_file():
        return (folder / _ADAPTER[1]).is_file()
    index = folder / _INDEX
    if not (folder / "config.json").is_file():
        return False
    if not index.is_file():
        return (folder / _WEIGHTS).is_file()
    return all((folder / shard).is_file() for shard in _shards(index))
