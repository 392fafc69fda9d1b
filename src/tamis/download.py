"""Download files over HTTP: interrupted downloads are resumed, files are verified before use, and
two processes may download the same file.

The cache folder and the offline switch are in cache.py. Names, addresses and checksums come from
the callers (data/catalog.py, gpt2/hub.py). Source: RFC 9110, sections 13.1.5 (If-Range) and 14
(range requests).
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.cache import cache_directory, offline_switch
from tamis.errors import DownloadError
from tamis.files import locked, write_text

Progress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 20.0  # without receiving a byte; the total time is not limited
ATTEMPTS = 3  # consecutive attempts without progress, per address
BACKOFF_S = 0.5  # doubled after each attempt
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_verified(path: Path, *, sha256: str, size: int | None = None) -> bool:
    """Whether `path` is a file with this SHA-256 (lower-case hexadecimal) and, if given, this size
    in bytes.

    Verified files are recorded in the cache folder by path, size, modification time and inode, so
    that a large file is hashed only once.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    if not path.is_file() or (size is not None and status.st_size != size):
        return False
    proof = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino, sha256]
    mark = (
        cache_directory()
        / "verified"
        / (hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32] + ".json")
    )
    try:
        if json.loads(mark.read_text("utf-8")) == proof:
            return True
    except (OSError, ValueError):
        pass
    if sha256_of(path).hexdigest() != sha256:
        return False
    with contextlib.suppress(OSError):  # without the record, the file is hashed again
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_text(mark, json.dumps(proof))
    return True


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None,
    size: int | None = None,
    what: str = "file",
    progress: Progress | None = None,
) -> Path:
    """Download a file to `target` from the first address that works, and return `target`.

    If `target` exists and is verified, it is returned without network access. An incomplete
    download is kept in `<target>.part` and resumed if the server confirms that the file has not
    changed. Size and SHA-256 are checked before the file is renamed to `target`.

    Args:
        urls: http or https addresses of the same file, tried in order. Proxies are taken from the
            environment.
        target: path of the file.
        sha256: expected SHA-256, lower-case hexadecimal; None if it is not known (then only the
            size is checked).
        size: expected size in bytes; also compared with the length that the server states.
        what: name of the file for error messages.
        progress: called with the bytes so far and the total number of bytes, or None.

    Raises:
        DownloadError: no address worked, network access is disabled by `TAMIS_OFFLINE` or
            `HF_HUB_OFFLINE`, the file has another size or SHA-256, or it cannot be written.
    """
    if _is_present(target, sha256=sha256, size=size):
        return target
    by_hand = f"or copy the file to {target}"
    if switch := offline_switch():
        raise DownloadError(
            f"{what}: {target} does not exist, and {switch} disables downloads; unset {switch}, "
            f"{by_hand}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock"), wait=True):
            if _is_present(target, sha256=sha256, size=size):
                return target  # another process downloaded it in the meantime
            failures: list[str] = []
            for url in urls:
                try:
                    _Transfer(url, target, sha256, size, progress).run()
                    return target
                except _Failure as failure:
                    failures.append(f"{url}: {failure.reason}")
    except OSError as error:
        raise DownloadError(
            f"{what} cannot be written to {target}: {error.strerror or error}; free disk space, or "
            f"choose another folder with TAMIS_CACHE (now {cache_directory()})"
        ) from error
    expected = f" (sha256 {sha256})" if sha256 else f" ({size:,} bytes)" if size is not None else ""
    tried = "; ".join(failures) or "no address is known"
    raise DownloadError(
        f"{what}{expected} could not be downloaded ({tried}); check the network connection and the "
        f"proxy settings, {by_hand}"
    )


@dataclass(eq=False)
class _Failure(Exception):
    """An attempt failed. `transient`: another attempt may succeed. `stale_part`: the kept part may
    be the cause.
    """

    reason: str
    transient: bool = False
    stale_part: bool = False
    wait_s: float = 0.0


@dataclass
class _Transfer:
    """The download of one file from one address, with several attempts; each resumes the last."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    progress: Progress | None

    def __post_init__(self) -> None:
        self._part = self.target.with_name(self.target.name + ".part")
        self._notes = self.target.with_name(
            self.target.name + ".part.json"
        )  # address and validator of the part

    def run(self) -> None:
        """Download, verify and rename; raises _Failure, or OSError if writing fails."""
        furthest, idle, restarted = self._part_bytes(), 0, False
        while True:
            resumed = self._part_bytes() > 0
            try:
                self._attempt()
                self._verify()
            except _Failure as failure:
                if resumed and failure.stale_part and not restarted:
                    restarted = True  # try once more from the beginning
                    self._discard_part()
                    continue
                reached = self._part_bytes()
                idle = 0 if reached > furthest else idle + 1
                furthest = max(furthest, reached)
                if not failure.transient or idle >= ATTEMPTS:
                    raise
                time.sleep(max(failure.wait_s, BACKOFF_S * 2**idle))
                continue
            self._notes.unlink(missing_ok=True)  # first: a kill leaves nothing beside the file
            os.replace(self._part, self.target)
            return

    def _part_bytes(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _discard_part(self) -> None:
        self._part.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def _range_headers(self) -> dict[str, str]:
        """The headers to resume the part; empty if it cannot be verified that the part belongs to
        the same file.
        """
        kept = self._part_bytes()
        if not kept:
            return {}
        try:
            notes = json.loads(self._notes.read_text("utf-8"))
            validator = notes["validator"] if notes["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            validator = None
        if isinstance(validator, str):
            return {"Range": f"bytes={kept}-", "If-Range": validator}
        if self.sha256 is not None:
            return {"Range": f"bytes={kept}-"}  # verified by the checksum of the whole file
        return {}

    def _attempt(self) -> None:
        """Append to the part until the server ends the file."""
        if self.sha256 is not None and self._part_bytes() == self.size:
            return  # complete: the process ended before the rename
        headers = self._range_headers()
        request = urllib.request.Request(
            self.url, headers={"User-Agent": "tamis", "Accept-Encoding": "identity", **headers}
        )
        if request.type not in {"http", "https"}:
            raise _Failure(f"expected an http or https address, got {request.type}")
        try:
            # A new opener for each attempt: the global one keeps the proxies of its first use.
            answer = urllib.request.build_opener().open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                if (
                    error.code == 416
                    and error.headers.get("Content-Range", "") == f"bytes */{self._part_bytes()}"
                ):
                    return  # the part is complete
                wait = error.headers.get("Retry-After", "")
                raise _Failure(
                    f"HTTP {error.code} {error.reason}",
                    transient=error.code in _TRANSIENT_STATUS,
                    stale_part=error.code == 416,
                    wait_s=min(float(wait), 30.0) if wait.isdigit() else 0.0,
                ) from None
        except urllib.error.URLError as error:
            raise _network_failure(error.reason) from None
        except (
            OSError,
            http.client.HTTPException,
        ) as error:  # urllib does not wrap errors in the response headers
            raise _network_failure(error) from None
        with answer:
            self._receive(answer, asked_range=bool(headers))

    def _receive(self, answer: http.client.HTTPResponse, *, asked_range: bool) -> None:
        start = 0
        if answer.status == 206:
            start = self._part_bytes()
            if not asked_range or not answer.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                came = answer.headers.get("Content-Range")
                raise _Failure(
                    f"requested bytes {start}-, got Content-Range {came}", stale_part=True
                )
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if self.size is not None and total is not None and total != self.size:
            kind = answer.headers.get_content_type()
            raise _Failure(f"expected {self.size:,} bytes, the server offers {total:,} ({kind})")
        etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        validator = (
            etag if etag and not etag.startswith("W/") else modified
        )  # a weak tag does not identify bytes
        if not start:
            write_text(self._notes, json.dumps({"url": self.url, "validator": validator}))
        done = start
        with self._part.open("ab" if start else "wb") as part:
            while True:
                try:
                    chunk = answer.read1(_CHUNK_BYTES)
                except (OSError, http.client.HTTPException) as error:
                    raise _network_failure(error) from None
                if not chunk:
                    break
                part.write(chunk)
                done += len(chunk)
                if self.progress is not None:
                    self.progress(done, self.size if self.size is not None else total)
            part.flush()
            os.fsync(part.fileno())
        if total is not None and done < total:
            raise _Failure(
                f"the connection ended after {done:,} of {total:,} bytes", transient=True
            )

    def _verify(self) -> None:
        """Verify size and SHA-256 of the part; delete it if it is wrong."""
        came = self._part_bytes()
        if self.size is not None and came != self.size:
            self._discard_part()
            raise _Failure(f"expected {self.size:,} bytes, got {came:,}", stale_part=True)
        if self.sha256 is not None and (got := sha256_of(self._part).hexdigest()) != self.sha256:
            self._discard_part()
            raise _Failure(
                f"expected sha256 {self.sha256}, got {got} ({came:,} bytes)", stale_part=True
            )


def _network_failure(reason: object) -> _Failure:
    """Convert a network error. Errors such as a timeout are transient; errors such as an unknown
    host or an invalid certificate are not.
    """
    hopeless = (
        socket.gaierror,
        ConnectionRefusedError,
        ssl.SSLCertVerificationError,
        http.client.InvalidURL,
    )
    return _Failure(
        f"{type(reason).__name__}: {reason}", transient=not isinstance(reason, hopeless)
    )


def _is_present(target: Path, *, sha256: str | None, size: int | None) -> bool:
    if sha256 is not None:
        return is_verified(target, sha256=sha256, size=size)
    return target.is_file() and (size is None or target.stat().st_size == size)


def sha256_of(path: Path) -> hashlib._Hash:
    """The SHA-256 hash object of a file; `update` continues it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
