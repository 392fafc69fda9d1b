"""The learning history of a store of corrections: which corrections are in effect, their features,
the heads that answer, and the result of each step.

Owns its own tables in the store's file; they contain no text. Triggers delete a correction's rows
in the transaction that deletes its text, whatever deletes it. A correction whose label changes is
no longer in effect.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.feedback.store import BUSY_S, Correction, unusable
from tamis.head.logistic_regression import LinearHead

_SCHEMA = """
CREATE TABLE IF NOT EXISTS learnt (id INTEGER PRIMARY KEY, weights TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    id INTEGER PRIMARY KEY, weights TEXT NOT NULL, dtype TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    weights TEXT NOT NULL,
    user TEXT NOT NULL,
    created TEXT NOT NULL,
    tried TEXT NOT NULL,
    learned INTEGER NOT NULL,
    reason TEXT NOT NULL,
    figures TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS heads (
    model TEXT NOT NULL,
    weights TEXT NOT NULL,
    dtype TEXT NOT NULL,
    user TEXT NOT NULL,
    classes INTEGER NOT NULL,
    weight BLOB NOT NULL,
    bias BLOB NOT NULL,
    PRIMARY KEY (model, weights, dtype, user)
);
CREATE TRIGGER IF NOT EXISTS forget_heads BEFORE DELETE ON corrections
WHEN EXISTS (SELECT 1 FROM learnt WHERE id = OLD.id) BEGIN
    DELETE FROM heads WHERE model = OLD.model AND (OLD.user = '' OR user = OLD.user);
END;
CREATE TRIGGER IF NOT EXISTS forget AFTER DELETE ON corrections BEGIN
    DELETE FROM learnt WHERE id = OLD.id;
    DELETE FROM features WHERE id = OLD.id;
END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE ON corrections
WHEN OLD.label <> NEW.label OR OLD.force <> NEW.force BEGIN
    DELETE FROM learnt WHERE id = OLD.id;
END;
"""

_IN_EFFECT = "SELECT id FROM learnt JOIN corrections USING (id) WHERE model = ? AND weights = ?"


@dataclass(frozen=True)
class Step:
    """One attempt to learn."""

    user: str
    created: str
    """UTC, ISO 8601"""
    learned: bool
    reason: str
    figures: dict[str, Any]


class Steps:
    """The tables for a model name and its current weights; calls open and close the file."""

    def __init__(self, path: Path, *, model: str, weights: str, dtype: str) -> None:
        """Create the tables in the store's file, which must exist.

        Args:
            path: the store's file.
            model: the model's name in the store.
            weights: fingerprint of the model's weights; what other weights learned is ignored.
            dtype: precision of the trunk; features of other dtypes are ignored.

        Raises:
            RunError: the file is not a store of corrections.
        """
        self.path, self.model, self.weights, self.dtype = path, model, weights, dtype
        try:
            with self._open() as connection:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.DatabaseError as error:
            raise unusable(path, error) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_S)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # rolls back unless the line below is reached
            connection.execute("COMMIT")

    def ids_in_effect(self) -> set[int]:
        """Return the ids of the corrections that are in effect."""
        with self._open() as connection:
            rows = connection.execute(_IN_EFFECT, (self.model, self.weights)).fetchall()
        return {int(id) for (id,) in rows}

    def record(
        self,
        user: str,
        corrections: Iterable[Correction],
        tried: str,
        *,
        learned: bool,
        reason: str,
        figures: Mapping[str, Any],
    ) -> None:
        """Record a step and mark these corrections as in effect, in one transaction."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        row = (
            self.model,
            self.weights,
            user,
            created,
            tried,
            int(learned),
            reason,
            json.dumps(figures),
        )
        columns = "model, weights, user, created, tried, learned, reason, figures"
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO steps ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row
            )
            # A correction that was deleted or changed during the refit is not in effect.
            into = (
                "INSERT OR REPLACE INTO learnt (id, weights) SELECT id, ? FROM corrections "
                "WHERE id = ? AND label = ? AND force = ?"
            )
            connection.executemany(
                into, [(self.weights, c.id, c.label, int(c.force)) for c in corrections]
            )

    def withdraw(self, ids: Iterable[int]) -> None:
        """Mark corrections as not in effect: without one that was undone, the others are refused.
        The next step tries them again.
        """
        with self._transaction() as connection:
            connection.executemany("DELETE FROM learnt WHERE id = ?", [(id,) for id in ids])

    def keep_heads(self, heads: Mapping[str, LinearHead], effective: set[int]) -> None:
        """Store the heads that answer now by user, in the place of the former ones; predictions
        of other processes read them.

        Nothing is stored if other corrections than `effective` are in effect by now: another
        process has learned or undone some, and keeps its own heads.
        """
        rows = [
            (
                self.model,
                self.weights,
                self.dtype,
                user,
                len(head.bias),
                np.asarray(head.weight, dtype="<f8").tobytes(),
                np.asarray(head.bias, dtype="<f8").tobytes(),
            )
            for user, head in heads.items()
        ]
        with self._transaction() as connection:
            found = connection.execute(_IN_EFFECT, (self.model, self.weights)).fetchall()
            if {int(id) for (id,) in found} != effective:
                return
            connection.execute(
                "DELETE FROM heads WHERE model = ? AND weights = ? AND dtype = ?",
                (self.model, self.weights, self.dtype),
            )
            connection.executemany("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def is_news(self, user: str, tried: str, *, learned: bool) -> bool:
        """Return whether this step differs from the last recorded one of the user and weights."""
        query = (
            "SELECT tried, learned FROM steps WHERE model = ? AND weights = ? AND user = ? "
            "ORDER BY id DESC LIMIT 1"
        )
        with self._open() as connection:
            last = connection.execute(query, (self.model, self.weights, user)).fetchone()
        return last is None or (last[0], bool(last[1])) != (tried, learned)

    def all(self) -> list[Step]:
        """Return every step of this model name, oldest first."""
        query = (
            "SELECT user, created, learned, reason, figures FROM steps WHERE model = ? ORDER BY id"
        )
        with self._open() as connection:
            rows = connection.execute(query, (self.model,)).fetchall()
        return [
            Step(user, created, bool(learned), reason, json.loads(figures))
            for user, created, learned, reason, figures in rows
        ]

    def features(self, corrections: Sequence[Correction]) -> dict[int, NDArray[np.float32]]:
        """Return the stored features by id, (C,) each."""
        query = (
            "SELECT id, vector FROM features JOIN corrections USING (id) WHERE model = ? AND "
            "weights = ? AND dtype = ?"
        )
        with self._open() as connection:
            rows = connection.execute(query, (self.model, self.weights, self.dtype)).fetchall()
        wanted = {correction.id for correction in corrections}
        return {int(id): np.frombuffer(vector, dtype="<f4") for id, vector in rows if id in wanted}

    def keep_features(self, vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Store features by id, (C,) each; they are deleted with the correction."""
        into = (
            "INSERT OR REPLACE INTO features (id, weights, dtype, vector) SELECT id, ?, ?, ? "
            "FROM corrections WHERE id = ?"
        )
        rows = [
            (self.weights, self.dtype, vector.astype("<f4").tobytes(), id)
            for id, vector in vectors.items()
        ]
        with self._transaction() as connection:
            connection.executemany(into, rows)
