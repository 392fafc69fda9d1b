"""API keys: what a file may hold, what opens, and that no key is kept."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from tamis.errors import ConfigError
from tamis.serving.api_keys import Keys, new_key


def test_a_key_opens_and_nothing_else_does() -> None:
    keys = Keys.of("a long key", "schlüssel")
    assert keys and not Keys()
    for given in (
        b"Bearer a long key",
        b"bearer a long key",
        b"Bearer  a long key ",
        "Bearer schlüssel".encode(),
    ):
        assert keys.accept(given), given
    for given in (
        b"",
        b"Bearer",
        b"Bearer ",
        b"a long key",
        b"Basic a long key",
        b"Bearer a long ke",
        b"Bearer a long key2",
        b"Bearer \xff",
    ):
        assert not keys.accept(given), given
    assert not Keys().accept(b"Bearer ")


def test_a_file_may_hold_keys_hashes_notes_and_comments(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"second").hexdigest()
    (tmp_path / "keys").write_text(
        f"# ours\n\nfirst\n  sha256:{digest.upper()}  the shop's\n", encoding="utf-8"
    )
    keys = Keys.read(tmp_path / "keys", "third")
    assert [
        keys.accept(f"Bearer {key}".encode())
        for key in ("first", "second", "third", digest, "# ours", "")
    ] == [True] * 3 + [False] * 3
    assert not any(key in repr(vars(keys)) for key in ("first", "second", "third"))


@pytest.mark.parametrize("content", ["", "\n# nothing\n", None, b"\xff\xfe"])
def test_a_server_meant_to_be_closed_never_opens(
    tmp_path: Path, content: str | bytes | None
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match="keys"):
        Keys.read(tmp_path / "keys")
    with pytest.raises(ConfigError, match="TAMIS_API_KEY is set but empty"):
        Keys.read(None, " ")
    assert not Keys.read()


def test_a_new_key_is_written_as_its_hash_and_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first = new_key(file)
    file.write_bytes(file.read_bytes() + b"by hand")  # and its line is not ended
    second = new_key(file)
    assert first != second and len(first) > 40 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first not in file.read_text() and second not in file.read_text()
    assert all(
        Keys.read(file).accept(f"Bearer {key}".encode()) for key in (first, second, "by hand")
    )
