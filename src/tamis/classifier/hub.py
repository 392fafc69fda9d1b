"""Upload a model folder to the Hugging Face hub, and download one.

The signatures follow huggingface_hub's `ModelHubMixin`; the mixin itself would make the package a
requirement of every classifier. Source: huggingface_hub 2.4, hub_mixin.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from tamis.cache import offline_switch
from tamis.errors import ConfigError, MissingExtraError, TamisError, UploadError
from tamis.gpt2.hub_files import HubFiles, hub_client

FILES = ("*.json", "*.safetensors", "*.txt", "*.bpe", "README.md")
"""Files of a model that are downloaded: neither pickles nor programs."""


class DownloadOptions(TypedDict, total=False):
    """How a model is downloaded."""

    revision: str
    """branch, tag or commit; `main` by default"""
    token: str | bool
    """access token; the one of `hf auth login` by default"""
    cache_dir: str | Path
    """folder of the cache"""
    force_download: bool
    local_files_only: bool


class UploadOptions(TypedDict, total=False):
    """How a model is uploaded."""

    private: bool
    """make the repository private, if it is created"""
    token: str
    """access token; the one of `hf auth login` by default"""
    branch: str
    """branch to commit to; `main` by default"""
    create_pr: bool
    """open a pull request instead of committing"""
    commit_message: str


def download_model(name: str, options: DownloadOptions) -> Path:
    """Return the folder of a repository's files in the hub's cache.

    Args:
        name: `organization/name`.
        options: how it is downloaded.

    Raises:
        ConfigError: an option is unknown.
        MissingExtraError: huggingface_hub is not installed.
        DownloadError: the repository, the revision or the network cannot be reached.
    """
    hub = _client(f"downloading {name}", options, DownloadOptions)
    given: dict[str, Any] = dict(options)
    if offline_switch() is not None:
        given["local_files_only"] = True
    with HubFiles(hub, name, given.get("revision") or "main").errors():
        return Path(hub.snapshot_download(name, allow_patterns=list(FILES), **given))


def check_repository(name: object) -> None:
    """Check that a name can be one of a repository, before anything is computed for it.

    Raises:
        ConfigError: it is no string, or has a null character.
    """
    if not isinstance(name, str) or "\0" in name:
        raise ConfigError(
            f"repo_id: expected 'organization/name', got {name!r:.60} of type {type(name).__name__}"
        )


def upload_model(name: str, write: Callable[[Path], None], options: UploadOptions) -> str:
    """Create a repository, unless it exists, and commit a model folder to it.

    Args:
        name: `organization/name`.
        write: writes the model to a folder that does not exist yet.
        options: how it is uploaded.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        ConfigError: an option is unknown.
        MissingExtraError: huggingface_hub is not installed.
        UploadError: the hub refused, cannot be reached, or downloads are disabled.
    """
    hub = _client(f"uploading {name}", options, UploadOptions)
    if switch := offline_switch():
        raise UploadError(f"{name} cannot be uploaded: {switch} disables the network; unset it")
    with tempfile.TemporaryDirectory() as temporary, _errors(name):
        folder = Path(temporary) / "model"
        write(folder)
        api = hub.HfApi(token=options.get("token"))
        made = api.create_repo(name, private=options.get("private"), exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            repo_type="model",
            folder_path=folder,
            commit_message=options.get("commit_message", "Upload a tamis classifier"),
            revision=options.get("branch"),
            create_pr=options.get("create_pr"),
        )
    return str(commit.pr_url or commit.commit_url)


def _client(purpose: str, options: Mapping[str, Any], known: type) -> Any:
    names = known.__annotations__
    unknown = [name for name in options if name not in names]
    if unknown:
        raise ConfigError(f"unknown argument {unknown[0]!r}; known: {', '.join(names)}")
    hub = hub_client()
    if hub is None:
        raise MissingExtraError("huggingface_hub", extra="hub", purpose=purpose)
    return hub


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn the client's errors, which depend on its HTTP library, into an UploadError."""
    try:
        yield
    except TamisError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise UploadError(
            f"{name} could not be uploaded to the Hugging Face hub ({type(error).__name__}: "
            f"{said}); check the name, the network, and the token (hf auth login)"
        ) from error
