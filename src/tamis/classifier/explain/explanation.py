"""The result of `explain` as a dictionary and as text for a terminal. render_html.py writes the
HTML page.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tamis.decision.verdict import Window

_BAR = 20
"""Characters of a full bar in a terminal."""


@dataclass(frozen=True)
class TokenPoint:
    """One token, and the probability if the text ended after it."""

    start: int
    end: int
    """Characters of the text that it stands for; both 0 for a leading `<|endoftext|>`."""
    probability: float
    """P(explained label) in [0, 1]."""


@dataclass(frozen=True)
class WordAttribution:
    """One word with its punctuation, and its contribution."""

    start: int
    end: int
    """Its characters in the text."""
    attribution: float
    """Log-odds that it gives to the explained label; below 0 it speaks against it."""


@dataclass(frozen=True)
class Explanation:
    """Why a text got its verdict.

    log_odds = empty_log_odds + sum of the contributions of all words + remainder, where log-odds
    are log P / (1 - P) of the explained label. The remainder is the interaction of words and the
    effect of not being empty.
    """

    text: str
    label: str
    """By the threshold; never `unsure`."""
    verdict: str
    """The label, or `unsure`."""
    probabilities: dict[str, float]
    explained: str
    """The label whose probability and log-odds the rest is about."""
    tokens: tuple[TokenPoint, ...]
    turn: int
    """Number of the token from which on the label was the final one."""
    words: tuple[WordAttribution, ...]
    log_odds: float
    """Of the text."""
    empty_log_odds: float
    """Of an empty text."""
    threshold: float | None = None
    """P(explained label) at which the label changes; None for more than two classes."""
    notes: list[str] = field(default_factory=list)
    """Sentences to show."""
    window: Window | None = None
    """The part that decided, where the text is longer than the model's context."""

    @property
    def remainder(self) -> float:
        """The part of the log-odds that no single word explains."""
        return self.log_odds - self.empty_log_odds - sum(word.attribution for word in self.words)

    def strongest(self) -> list[WordAttribution]:
        """Return the words by contribution, the largest first."""
        return sorted(self.words, key=lambda word: -word.attribution)

    def to_dict(self) -> dict[str, Any]:
        """Return all values for JSON; `label`, `verdict` and `probabilities` as in `predict
        --json`.
        """
        text = self.text
        return {
            "text": text,
            "label": self.label,
            "verdict": self.verdict,
            "probabilities": self.probabilities,
            "explained": self.explained,
            "threshold": self.threshold,
            "tokens": [
                {
                    "start": t.start,
                    "end": t.end,
                    "token": text[t.start : t.end],
                    "probability": t.probability,
                }
                for t in self.tokens
            ],
            "turn": self.turn,
            "words": [
                {
                    "start": w.start,
                    "end": w.end,
                    "word": text[w.start : w.end],
                    "attribution": w.attribution,
                }
                for w in self.words
            ],
            "log_odds": self.log_odds,
            "empty_log_odds": self.empty_log_odds,
            "remainder": self.remainder,
            "notes": list(self.notes),
            "window": None if self.window is None else asdict(self.window),
        }

    def to_html(self) -> str:
        """Return one self-contained HTML page, as `tamis explain --out` writes it."""
        from tamis.classifier.explain.render_html import page

        return page(self)

    def _repr_html_(self) -> str:
        """Return the explanation for a notebook."""
        from tamis.classifier.explain.render_html import notebook_html

        return notebook_html(self)

    def to_text(self) -> str:
        """Return lines for a terminal, with control characters of the text escaped."""
        largest = max((abs(word.attribution) for word in self.words), default=0.0)
        lines = [
            self.headline(),
            "",
            f"what each word gives to {printable(self.explained)} (log-odds; below 0: against it)",
        ]
        for word in self.strongest():
            bar = ("░" if word.attribution < 0 else "█") * round(
                _BAR * abs(word.attribution) / (largest or 1.0)
            )
            lines.append(
                f"{word.attribution:+8.2f}  {bar:{_BAR}}  "
                f"{printable(self.text[word.start : word.end])}"
            )
        lines += ["", self.sums(), "", f"P({printable(self.explained)}) after every token"]
        for number, token in enumerate(self.tokens):
            bar, piece = "█" * round(_BAR * token.probability), self.text[token.start : token.end]
            mark = "  < from here on the label stays" if number == self.turn and number else ""
            lines.append(
                f"{token.probability:8.4f}  {bar:{_BAR}}  {printable(piece)}{mark}".rstrip()
            )
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def headline(self) -> str:
        """Verdict and probabilities in one line."""
        shown = ", ".join(f"{printable(label)} {p:.4f}" for label, p in self.probabilities.items())
        means = (
            "" if self.verdict == self.label else f" (the threshold says {printable(self.label)})"
        )
        return f"{printable(self.verdict)}{means}: {shown}"

    def sums(self) -> str:
        """The sums of the class's docstring with this text's numbers, in one line."""
        words = sum(word.attribution for word in self.words)
        return (
            f"empty text {self.empty_log_odds:+.2f}, words {words:+.2f}, only together "
            f"{self.remainder:+.2f}: "
            f"log-odds {self.log_odds:+.2f} for {printable(self.explained)}"
        )


def printable(text: str) -> str:
    """Return the text with unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
