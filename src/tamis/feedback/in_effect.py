"""What a user's model has learned: which corrections apply, and how the outcome is told.

The sentences here are the ones of the command line, of HTTP and of the web page. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.feedback.store import Correction

EVERYBODY = ""
"""The user whose corrections apply to all users."""


@dataclass(frozen=True)
class LearningResult:
    """The result of a learning step."""

    learned: bool
    """whether every stored correction is now in effect"""
    reason: str
    """a sentence that says how many corrections are in effect, and why others are not"""
    corrections: int = 0
    """stored corrections of all users"""
    in_effect: int = 0
    """of these, the ones that count in the answers"""
    figures: dict[str, Any] = field(default_factory=dict)
    """by user (`""`: the shared model). Numbers of corrections, shared ones included:
    `corrections`, `in_effect`, `held_back`, `waiting` (the step was interrupted); of those in
    effect `learned` and `confident` (the model agreed already), `right_before` and `right_after`
    (with the right verdict). `held_out` (`before` and `after`: rows, loss and wrong by class; None
    if no rows are held out) and `seconds`. Without corrections in effect, only the first four.
    `refused`: the same as `held_out` for a refit that was not applied, if there was one."""

    @property
    def held_back(self) -> int:
        """Stored corrections that are not in effect."""
        return self.corrections - self.in_effect


def combined(shared: Iterable[Correction], own: Iterable[Correction]) -> list[Correction]:
    """Return the corrections of a user's model; for a text in both lists, the user's own counts."""
    return list({item.text: item for item in (*shared, *own)}.values())


def users_of(items: Iterable[Correction]) -> list[str]:
    """Return the users, the shared one first: its corrections are part of what each user learns."""
    return sorted({item.user for item in items})


def counted(number: int) -> str:
    """Return a number of corrections with its noun."""
    return f"{number:,} correction{'s' * (number != 1)}"


def outcome_sentence(figures: Mapping[str, Any], reasons: Sequence[str]) -> str:
    """Say how many of a user's corrections are in effect, and why the others are not.

    `figures`: those of a user in `LearningResult`; `reasons`: of what is held back.
    """
    total, used = int(figures["corrections"]), int(figures["in_effect"])
    left = total - used
    if not left:
        whole = "the correction is" if total == 1 else f"all {total:,} corrections are"
        known = int(figures.get("confident", 0))
        which = "it" if total == 1 else f"{known:,} of them"
        agreed = f"; the model already agreed with {which}" if known else ""
        return f"{whole} in effect{agreed}"
    if figures["waiting"]:
        return f"{used:,} of {counted(total)} in effect; {left:,} waiting: learning continues soon"
    why = "; ".join(dict.fromkeys(reasons))
    if not used:
        none = "the correction is" if total == 1 else f"all {total:,} corrections are"
        return f"{none} held back: {why}"
    verb = "are" if left > 1 else "is"
    return f"{used:,} of {total:,} corrections are in effect; {left:,} {verb} held back: {why}"
