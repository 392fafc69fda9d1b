"""Files of one repository of the Hugging Face hub: downloaded into the hub's own cache, and
verified.

The hub's client honours HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and proxies.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamis.cache import offline_switch
from tamis.download import Progress, is_verified
from tamis.errors import DownloadError, TamisError


def hub_client() -> Any:
    """Return the module huggingface_hub, or None if it is not installed."""
    try:
        importlib.import_module("huggingface_hub.errors")
        return importlib.import_module("huggingface_hub")
    except ImportError:
        return None


class HubFiles:
    """The files of a repository at one revision."""

    def __init__(
        self,
        hub: Any,
        repository: str,
        revision: str,
        checksums: Mapping[str, str] | None = None,
    ) -> None:
        """Name the repository.

        Args:
            hub: the client.
            repository: `organization/name`.
            revision: commit, tag or branch.
            checksums: SHA-256 by file; other files are compared with the checksum that the hub
                states.
        """
        self.hub, self.repository, self.revision = hub, repository, revision
        self._checksums = checksums or {}

    def bring(self, file: str, progress: Progress | None = None) -> Path:
        """Return the path of a file in the cache, after a download if necessary.

        Raises:
            DownloadError: its checksum is wrong, also after a second download.
            Exception: the client's own errors (see `errors`).
        """
        offline = offline_switch() is not None
        for again in (False, True):
            path = Path(
                self.hub.hf_hub_download(
                    self.repository,
                    file,
                    revision=self.revision,
                    local_files_only=offline,
                    force_download=again,
                    tqdm_class=_silent_bar(progress),
                )
            )
            expected = self._checksums.get(file) or self._stated(path)
            if _matches(path, expected):
                return path
            if offline:
                break
        raise DownloadError(
            f"{path}: expected checksum {expected}, got another one twice; delete the file or "
            "clear the hub's cache"
        )

    def bring_if_there(self, file: str) -> Path | None:
        """Return the path of a file as `bring`, or None if the repository has no such file; offline
        also if the cache has none.

        A hub that cannot be reached is an error: a missing file of the tokenizer would change ids.
        """
        try:
            return self.bring(file)
        except self.hub.errors.LocalEntryNotFoundError:
            if offline_switch() is None:
                raise
            return None
        except self.hub.errors.EntryNotFoundError:
            return None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the client's errors, which depend on its HTTP library, into a DownloadError."""
        try:
            yield
        except TamisError:
            raise
        except Exception as error:
            where = f"Hugging Face hub ({self.repository} at {self.revision[:12]})"
            said = " ".join(str(error).split())[:300]
            raise DownloadError(f"{where}: {type(error).__name__}: {said}") from error

    def _stated(self, path: Path) -> str:
        """Return the checksum that the hub states: SHA-256 of a large file, Git's of a small one.

        The blobs in the cache are named by it.
        """
        blob = path.resolve().name
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob):
            return blob
        url = self.hub.hf_hub_url(self.repository, path.name, revision=self.revision)
        return str(self.hub.get_hf_file_metadata(url).etag)


def _matches(path: Path, checksum: str) -> bool:
    if len(checksum) == 64:
        return is_verified(path, sha256=checksum)
    content = path.read_bytes()
    return (
        hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        == checksum
    )


def _silent_bar(progress: Progress | None) -> type:
    """Return a progress bar class for the client that draws nothing and calls `progress`."""
    base: Any = importlib.import_module("tqdm").tqdm

    class SilentBar(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes = int(kwargs.get("initial") or 0)
            self._all = kwargs.get("total")
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self._bytes += int(n or 0)
            if progress is not None:
                progress(self._bytes, self._all)

    return SilentBar
