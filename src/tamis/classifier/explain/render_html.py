"""Render an explanation as one self-contained HTML page. All content of the text is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.classifier.explain.explanation import Explanation

_STRONGEST = 0.75
"""Opacity of the shade behind the word with the largest share, whichever its sign."""
_ROWS = 8
"""Words in the table; all of them are in the text above it."""
_WIDTH, _HEIGHT = 640, 140
# C0 characters may not stand in HTML at all: their pictures do. Line ends and tabs are white space
# there as here.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {
    0x7F: 0x2421
}
_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1c1c1e; --faint: #6b6b70; --line: #d4d4d8;
  --for: 200 55 40; --against: 35 105 185;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #18181b; --ink: #ececef; --faint: #a2a2aa; --line: #3f3f46;
    --for: 220 75 60; --against: 60 130 215;
  }
}
body { background: var(--ground); color: var(--ink); font: 16px/1.6 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 42rem; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem }
.text { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem }
.text { overflow-wrap: anywhere; white-space: pre-wrap }
.for { background: rgb(var(--for) / var(--a)); border-radius: .2rem; color: var(--ink) }
.against { background: rgb(var(--against) / var(--a)); border-radius: .2rem; color: var(--ink) }
.faint { color: var(--faint); font-size: .875rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td { padding: .1rem 1rem .1rem 0; overflow-wrap: anywhere }
td:first-child { text-align: right; white-space: nowrap }
svg { display: block; height: auto; width: 100% }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif }
.axis { stroke: var(--line) } .cut { stroke: var(--faint); stroke-dasharray: 4 4 }
.curve { fill: none; stroke: var(--ink); stroke-width: 1.75 } .end { fill: var(--ink) }
"""


def page(explanation: Explanation) -> str:
    """Return the page of an explanation."""
    explained = _safe(explanation.explained)
    notes = "".join(f"<p>{_safe(note)}</p>" for note in explanation.notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_safe(explanation.headline())}</title>
<style>{_STYLE}</style></head>
<body>
<h1>{_safe(explanation.headline())}</h1>
<h2>What the words say</h2>
<div class="text" dir="auto">{_text(explanation)}</div>
<p class="faint"><span class="for" style="--a:.5">&nbsp;for {explained}&nbsp;</span>
<span class="against" style="--a:.5">&nbsp;against {explained}&nbsp;</span>
the stronger the shade, the more; point at a word for its share in log-odds</p>
{_table(explanation)}
<p class="faint">{_safe(explanation.sums())}</p>
<h2>P({explained}) after every token</h2>
{_curve(explanation)}
{notes}
</body>
</html>
"""


def _safe(text: str) -> str:
    return html.escape(text.translate(_PICTURES))


def _text(explanation: Explanation) -> str:
    largest = max((abs(word.attribution) for word in explanation.words), default=0.0) or 1.0
    pieces, done = [], 0
    for word in explanation.words:
        kind = "against" if word.attribution < 0 else "for"
        shade = _STRONGEST * abs(word.attribution) / largest
        shown = _safe(explanation.text[word.start : word.end])
        pieces.append(_safe(explanation.text[done : word.start]))
        pieces.append(
            f'<span class="{kind}" style="--a:{shade:.3f}" '
            f'title="{word.attribution:+.2f}">{shown}</span>'
        )
        done = word.end
    return "".join([*pieces, _safe(explanation.text[done:])])


def _table(explanation: Explanation) -> str:
    strongest = sorted(explanation.words, key=lambda word: -abs(word.attribution))[:_ROWS]
    rows = [
        f"<tr><td>{w.attribution:+.2f}</td><td>{_safe(explanation.text[w.start : w.end])}</td></tr>"
        for w in strongest
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _curve(explanation: Explanation) -> str:
    left, right, top, bottom = 30.0, _WIDTH - 10.0, 10.0, _HEIGHT - 20.0
    count = len(explanation.tokens)

    def x(number: int) -> float:
        return left + (right - left) * (number / (count - 1) if count > 1 else 1.0)

    def y(probability: float) -> float:
        return bottom - (bottom - top) * probability

    points = " ".join(
        f"{x(i):.1f},{y(token.probability):.1f}" for i, token in enumerate(explanation.tokens)
    )
    final = explanation.tokens[-1].probability
    lines = [
        f'<line class="{kind}" x1="{left}" x2="{right}" y1="{y(p):.1f}" y2="{y(p):.1f}"/>'
        for kind, p in [
            ("axis", 0.0),
            ("axis", 1.0),
            *([("cut", explanation.threshold)] if explanation.threshold is not None else []),
        ]
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img"><title>P({_safe(explanation.explained)}) over {count} tokens, '
        f"{final:.4f} at the end</title>{''.join(lines)}"
        f'<text x="{left - 6}" y="{y(1.0) + 4}" text-anchor="end">1</text><text x="{left - 6}" '
        f'y="{y(0.0) + 4}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{_HEIGHT - 4}">first token</text><text x="{right}" '
        f'y="{_HEIGHT - 4}" text-anchor="end">last of {count}</text>'
        f'<polyline class="curve" points="{points}"/><circle class="end" '
        f'cx="{x(count - 1):.1f}" cy="{y(final):.1f}" r="3.5"/></svg>'
    )
