"""The labels of a table in the spelling of known ones: a model's, or those of a training table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from tamis.data.files.faulty_rows import SHOWN, FaultyRows
from tamis.data.labels import known_labels, matching_label
from tamis.data.tables import Table


def with_known_labels(
    table: Table,
    known: Iterable[object],
    *,
    whose: str = "the model's labels",
    remedy: str = "correct the row or remove it",
) -> Table:
    """Return the table with each label spelled as the known label that it is equal to.

    `1`, `1.0` and a number 1 are equal; see `tamis.data.labels`.

    Args:
        table: rows with labels.
        known: the labels that may occur.
        whose: names the known labels in the error.
        remedy: what to do about a label that is not known and not similar to one.

    Raises:
        DataError: labels are not known; it names the first rows and their number.
    """
    names = [str(name) for name in known]
    spelled = known_labels(names)
    found = {label: matching_label(label, spelled) for label in dict.fromkeys(table.labels)}
    faults = FaultyRows(table.source, table.unit)
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    for line, label in zip(table.lines, table.labels, strict=True):
        if found[label] is None:
            listed = "" if faults else f" ({shown})"
            near = difflib.get_close_matches(label, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else remedy
            faults.add(line, f"label {label!r} is not one of {whose}{listed}", hint)
    faults.check()
    if all(label == name for label, name in found.items()):
        return table
    return replace(table, labels=tuple(str(found[label]) for label in table.labels))
