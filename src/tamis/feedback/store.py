"""The store of corrections: which text should have which label. Uses SQLite, so that acknowledged
corrections survive a crash.

A correction is identified by model, user and text: the same text again replaces the label and keeps
the id. Deleted data is overwritten in the file and its journal is truncated, so that no byte of the
text remains.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tamis.data.labels import known_labels, matching_label
from tamis.errors import DataError, RunError

VERSION = 1
BUSY_S = 30.0
"""Seconds to wait for a process that is writing."""
_COLUMNS = {"id", "model", "user", "key", "text", "label", "force", "created"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS corrections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    user TEXT NOT NULL,
    key BLOB NOT NULL,
    text TEXT NOT NULL,
    label TEXT NOT NULL,
    force INTEGER NOT NULL,
    created TEXT NOT NULL,
    UNIQUE (model, user, key)
)
"""


@dataclass(frozen=True)
class NewCorrection:
    """A correction from a user."""

    text: str
    label: str
    user: str = ""
    """whose model learns it; empty: the shared model"""
    force: bool = False
    """learn it even if the model is already confident"""


@dataclass(frozen=True)
class Correction(NewCorrection):
    """A stored correction."""

    id: int = 0
    created: str = ""
    """UTC, ISO 8601"""


class CorrectionStore:
    """The corrections in one file. Thread-safe: calls run one at a time."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file.

        Raises:
            RunError: it is not a store of corrections, or was written by a newer version.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            # Autocommit: every write opens its own transaction.
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_S
            )
            check_store(self._connection, self.path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "PRAGMA synchronous = FULL"
            )  # an acknowledged correction survives a power failure
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError as error:
            raise unusable(self.path, error) from error

    def add(self, items: Sequence[NewCorrection], *, model: str = "") -> list[int]:
        """Store corrections, all or none; returns their ids when they are on disk.

        Raises:
            DataError: a text or label is not valid Unicode.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        ids = []
        with self._transaction() as connection:
            for place, item in enumerate(items):
                try:
                    key = hashlib.sha256(item.text.encode()).digest()
                    item.label.encode()
                except UnicodeEncodeError as error:
                    raise DataError(
                        f"item {place}: not valid Unicode ({error.reason} at character "
                        f"{error.start}); remove it"
                    ) from error
                row = connection.execute(
                    "INSERT INTO corrections (model, user, key, text, label, force, created) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (model, user, key) DO UPDATE "
                    "SET label = excluded.label, force = excluded.force, created = "
                    "excluded.created "
                    "RETURNING id",
                    (model, item.user, key, item.text, item.label, int(item.force), created),
                ).fetchone()
                ids.append(int(row[0]))
        return ids

    def all(self, *, model: str | None = None) -> list[Correction]:
        """Return the corrections of one model, or of all, sorted by id."""
        query = "SELECT text, label, user, force, id, created FROM corrections"
        where, values = ("", ()) if model is None else (" WHERE model = ?", (model,))
        with self._lock:
            rows = self._connection.execute(f"{query}{where} ORDER BY id", values).fetchall()
        return [
            Correction(text, label, user, bool(force), id, created)
            for text, label, user, force, id, created in rows
        ]

    def remove(self, id: int) -> bool:
        """Delete a correction and its text from file and journal; returns whether it existed."""
        return self._removed("DELETE FROM corrections WHERE id = ?", (id,)) > 0

    def remove_all(self, *, model: str | None = None, user: str | None = None) -> int:
        """Delete all corrections, optionally of one model or one user; returns their number.

        Their texts are removed as in `remove`.
        """
        wanted = {
            column: value
            for column, value in (("model", model), ("user", user))
            if value is not None
        }
        where = " AND ".join(f"{column} = ?" for column in wanted)
        return self._removed(
            f"DELETE FROM corrections{' WHERE ' * bool(where)}{where}", tuple(wanted.values())
        )

    def _removed(self, statement: str, values: tuple[int | str, ...]) -> int:
        with self._transaction() as connection:
            count = connection.execute(statement, values).rowcount
        with self._lock:
            # The journal contains old pages, and a reader in another process can delay the
            # truncation, so it is tried twice.
            for _ in range(2):
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy:
                    break
        return count

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def backup(self, target: Path | str) -> None:
        """Write a consistent copy, even while others write."""
        with self._lock, sqlite3.connect(target) as copy:
            self._connection.backup(copy)
        copy.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def check_store(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a database has corrections; an empty one may become a store.

    Raises:
        RunError: it belongs to another program, or was written by a newer version.
        sqlite3.DatabaseError: it cannot be read.
    """
    tables = {
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        ).fetchall()
    }
    columns = {row[1] for row in connection.execute("PRAGMA table_info(corrections)").fetchall()}
    if tables and not _COLUMNS <= columns:
        listed = ", ".join(sorted(tables)[:5])
        raise RunError(
            f"{path} is not a store of corrections, but the database of another program (its "
            f"tables: {listed}); choose another file with --store"
        )
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise RunError(
            f"{path} was written by a newer tamis (store version {version}, this one "
            f"supports {VERSION}); update tamis"
        )
    return bool(tables)


def unusable(path: Path, error: sqlite3.Error) -> RunError:
    """Return the error for a store that SQLite cannot use."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RunError(
            f"{path} is locked by another process ({error}); wait until it has finished, and "
            "repeat the command"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
        return RunError(
            f"{path} cannot be written ({error}); make room or change its permissions, or choose "
            "another file with --store"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return RunError(f"{path} cannot be opened ({error}); choose another file with --store")
    return RunError(
        f"{path} is not a store of corrections ({error}); choose another file with --store"
    )


def model_name(run: Path | str) -> str:
    """Return a run's model name in a store: the folder's name; RUN/model has the name of RUN."""
    return _run_of(run).name


def default_store(run: Path | str) -> Path:
    """Return the default file for a run's corrections: `RUN.feedback.sqlite` next to it."""
    path = _run_of(run)
    if not path.parent.is_dir():  # a model of the hub: in the present folder
        return Path(f"{path.name}.feedback.sqlite").resolve()
    return path.with_name(f"{path.name}.feedback.sqlite")


def _run_of(run: Path | str) -> Path:
    path = Path(run).resolve()
    return path.parent if path.name == "model" else path


def with_model_labels(items: Sequence[NewCorrection], labels: Sequence[str]) -> list[NewCorrection]:
    """Return corrections with each label spelled as the model's label that it is equal to.

    `1`, `1.0` and `+1` are equal, as in tables; see `tamis.data.labels`.

    Raises:
        DataError: a label equals none of the model's.
    """
    known, found = known_labels(labels), []
    for place, item in enumerate(items):
        label = matching_label(item.label, known)
        if label is None:
            shown = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
            raise DataError(
                f"item {place}: label {item.label!r:.80} is not one of the model's labels "
                f"({shown}); correct it or leave the item out"
            )
        found.append(item if label == item.label else replace(item, label=label))
    return found
