"""Reads what a model has learned from its store, without changing the store: corrections, which of
them are in effect, and the head that was solved on them. Imports no torch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from tamis.errors import RunError
from tamis.feedback.in_effect import EVERYBODY
from tamis.feedback.store import BUSY_S, Correction, check_store, unusable
from tamis.head.logistic_regression import LinearHead

_CORRECTIONS = (
    "SELECT text, label, user, force, id, created FROM corrections WHERE model = ? ORDER BY id"
)
_IN_EFFECT = "SELECT id FROM learnt WHERE weights = ?"
_HEAD = (
    "SELECT user, classes, weight, bias FROM heads WHERE model = ? AND weights = ? AND dtype = ? "
    "AND user IN (?, '')"
)


@dataclass(frozen=True)
class ModelKey:
    """What a head in a store belongs to."""

    model: str
    """the model's name in the store"""
    weights: str
    """fingerprint of its weights"""
    dtype: str
    """precision of the trunk"""


@dataclass(frozen=True)
class StoredLearning:
    """The content of a store for one model."""

    items: tuple[Correction, ...]
    """corrections of all users, sorted by id"""
    in_effect: frozenset[int]
    """ids of those that these weights have learned"""
    heads: dict[str, LinearHead]
    """heads by user: of the user asked for, and the shared one; empty where none was kept"""

    def used_by(self, user: str) -> list[Correction]:
        """Return the corrections in effect for a user: shared ones and the user's own."""
        return [
            item
            for item in self.items
            if item.id in self.in_effect and item.user in (EVERYBODY, user)
        ]

    def waiting_for(self, user: str) -> int:
        """Return the number of a user's and of shared corrections that are not in effect."""
        return sum(
            item.user in (EVERYBODY, user) and item.id not in self.in_effect for item in self.items
        )

    def head_for(self, user: str) -> LinearHead | None:
        """Return the head that answers a user; None if it was not kept (after an undo, for
        example) and has to be solved again.
        """
        own = any(item.user == user and item.id in self.in_effect for item in self.items)
        return self.heads.get(user if own else EVERYBODY)


def read_learning(path: Path, key: ModelKey, user: str = EVERYBODY) -> StoredLearning:
    """Read what a model has learned.

    Args:
        path: the store's file; it must exist.
        key: the model.
        user: whose head is read, besides the shared one.

    Raises:
        RunError: the file is not a store of corrections, or cannot be read.
    """
    try:
        with _reading(path) as connection:
            if not check_store(connection, path):
                return StoredLearning((), frozenset(), {})
            # One transaction: corrections and heads belong together.
            connection.execute("BEGIN")
            items = tuple(
                Correction(text, label, owner, bool(force), id, created)
                for text, label, owner, force, id, created in connection.execute(
                    _CORRECTIONS, (key.model,)
                )
            )
            names = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()
            }
            learned: set[int] = set()
            if "learnt" in names:
                learned = {int(id) for (id,) in connection.execute(_IN_EFFECT, (key.weights,))}
            heads: dict[str, LinearHead] = {}
            if "heads" in names:
                asked = (key.model, key.weights, key.dtype, user)
                for owner, classes, weight, bias in connection.execute(_HEAD, asked):
                    heads[owner] = LinearHead(
                        np.frombuffer(weight, dtype="<f8").reshape(classes, -1),
                        np.frombuffer(bias, dtype="<f8"),
                    )
    except (sqlite3.DatabaseError, ValueError) as error:
        if isinstance(error, sqlite3.Error):
            raise unusable(path, error) from error
        raise RunError(
            f"{path}: a stored head is damaged ({error}); undo the corrections with: tamis learn "
            "RUN --undo all, or use --no-feedback"
        ) from error
    own = {item.id for item in items}
    return StoredLearning(items, frozenset(learned & own), heads)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a store for reading: beside a process that writes, and in a folder without write
    permission.
    """
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    journal = path.with_name(f"{path.name}-wal")
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_S)
    try:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            if journal.exists() and journal.stat().st_size:
                raise  # the newest content is in the journal
            # SQLite needs a file beside the store to read it, unless nothing can change it.
            connection.close()
            connection = sqlite3.connect(
                f"{address}&immutable=1", uri=True, isolation_level=None, timeout=BUSY_S
            )
        yield connection
    finally:
        connection.close()
