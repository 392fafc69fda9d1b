"""API keys: only their SHA-256 hashes are kept, and all are compared in constant time.

Keys are long and random (`new_key`), so a plain hash suffices: there is no short password to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from tamis.errors import ConfigError

VARIABLE = "TAMIS_API_KEY"
"""Environment variable that holds one key."""
_HASHED = re.compile(r"sha256:([0-9a-f]{64})(\s.*)?", flags=re.IGNORECASE)


class Keys:
    """The valid API keys; without any, the server is open."""

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        """Create from the SHA-256 of each key."""
        self._hashes = tuple(hashes)

    @classmethod
    def of(cls, *keys: str) -> Keys:
        """Create from the keys themselves."""
        return cls(map(_hash, keys))

    @classmethod
    def read(cls, file: Path | None = None, variable: str | None = None) -> Keys:
        """Read keys from a file and from the value of an environment variable.

        A line of the file is `sha256:HEX`, followed by an optional note, or a plain key; `#` begins
        a comment.

        Raises:
            ConfigError: the file cannot be read or contains no key, or the variable is empty. A
                server that should require keys never starts open.
        """
        hashes = []
        if file is not None:
            try:
                lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ConfigError(
                    f"{file}: the API keys cannot be read ({reason}); check the file"
                ) from None
            found = [line for line in lines if line and not line.startswith("#")]
            if not found:
                raise ConfigError(
                    f"{file} contains no API key; create one with: tamis serve --new-key {file}"
                )
            hashes += [
                bytes.fromhex(hashed[1]) if (hashed := _HASHED.fullmatch(line)) else _hash(line)
                for line in found
            ]
        if variable is not None:
            if not variable.strip():
                raise ConfigError(
                    f"{VARIABLE} is set but empty; set it to a key, or unset it to run an open "
                    "server"
                )
            hashes.append(_hash(variable.strip()))
        return cls(hashes)

    def __bool__(self) -> bool:
        """Return whether a key is required."""
        return bool(self._hashes)

    def accept(self, authorization: bytes) -> bool:
        """Return whether an `Authorization` header contains one of the keys, as `Bearer KEY`."""
        scheme, _, key = authorization.partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        # Every key is compared, so the time does not show which one matched.
        return (
            bool(sum([hmac.compare_digest(given, known) for known in self._hashes]))
            and scheme.lower() == b"bearer"
        )


def new_key(file: Path) -> str:
    """Create a key and append its hash to a file that only its owner can read.

    The key itself is not written anywhere.
    """
    key = secrets.token_urlsafe(32)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as lines:
        # Start with a line break, in case the last line has none; blank lines are skipped.
        lines.write(f"{chr(10) if lines.tell() else ''}sha256:{_hash(key).hex()}\n".encode())
    return key


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
