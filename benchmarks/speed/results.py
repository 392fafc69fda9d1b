"""Measurements as lines of JSON, one a figure: an interrupted run goes on where it was. Also tables and a plot of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tamis.console import table

Key = tuple[str, str, str, int, int]


@dataclass(frozen=True)
class Figure:
    """One timed call."""

    part: str
    variant: str
    """What else was set, such as `blocks:2` or `64 tokens`; empty for nothing."""
    contender: str
    threads: int
    round: int
    value: float
    unit: str
    """`s` (less is better), `GFLOP/s`, `MB` or a ratio's name."""
    size: float = 1.0
    """What a second is for: useful GFLOP where `share` can be told, messages or tokens elsewhere."""
    about: dict[str, str | float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What makes it the same measurement."""
        return self.part, self.variant, self.contender, self.threads, self.round


class Results:
    """A file of figures; a line that was cut off is left out and measured again."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self.path = path
        self.figures: list[Figure] = list(_read(path)) if path.exists() else []
        self._keys = {figure.key for figure in self.figures}

    def has(self, key: Key) -> bool:
        """Whether it was measured."""
        return key in self._keys

    def add(self, figure: Figure) -> None:
        """Keep a figure, on disk at once."""
        whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps(asdict(figure)) + "\n")
        self.figures.append(figure)
        self._keys.add(figure.key)


def _read(path: Path) -> Iterator[Figure]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Figure(**json.loads(line))
        except (ValueError, TypeError):
            continue


@dataclass(frozen=True)
class Row:
    """A contender's rounds together."""

    part: str
    variant: str
    contender: str
    threads: int
    median: float
    least: float
    most: float
    unit: str
    times: float | None
    """Median over the rounds of its time over the last contender's of the same part; None where nothing is to be compared."""
    share: float | None
    """Of the matmul ceiling of the same round."""


def rows(figures: list[Figure]) -> list[Row]:
    """A row a contender, in the order they were measured."""
    groups: dict[tuple[str, str, int], dict[str, dict[int, Figure]]] = {}
    for figure in figures:
        place = groups.setdefault((figure.part, figure.variant, figure.threads), {})
        place.setdefault(figure.contender, {})[figure.round] = figure
    found = []
    for (part, variant, threads), contenders in groups.items():
        limits = {name.removeprefix("ceiling "): by for name, by in contenders.items() if name.startswith("ceiling ")}
        timed = [name for name, by in contenders.items() if next(iter(by.values())).unit == "s"]
        for name, by in contenders.items():
            values = [figure.value for figure in by.values()]
            unit = next(iter(by.values())).unit
            ratios = [by[n].value / last.value for n, last in contenders[timed[-1]].items() if n in by] if name in timed else []
            shares = [
                figure.size / figure.value / limit[n].value
                for n, figure in by.items()
                if (limit := limits.get(str(figure.about.get("ceiling", "")))) and n in limit
            ]
            found.append(
                Row(
                    part,
                    variant,
                    name,
                    threads,
                    statistics.median(values),
                    min(values),
                    max(values),
                    unit,
                    statistics.median(ratios) if ratios else None,
                    statistics.median(shares) if shares else None,
                )
            )
    return found


def markdown(figures: list[Figure]) -> str:
    """One table a part."""
    lines: list[str] = []
    for part in dict.fromkeys(figure.part for figure in figures):
        lines += [f"### {part}", "", "| | threads | median | range | unit | times the last | of the ceiling |", f"|{'---|' * 7}"]
        for row in rows([figure for figure in figures if figure.part == part]):
            name = f"{row.contender}, {row.variant}" if row.variant else row.contender
            times = "" if row.times is None else f"{row.times:.2f}"
            share = "" if row.share is None else f"{100 * row.share:.0f} %"
            span = f"{row.least:.3g} to {row.most:.3g}"
            lines.append(f"| {name} | {row.threads} | {row.median:.4g} | {span} | {row.unit} | {times} | {share} |")
        lines.append("")
    return "\n".join(lines)


def plain(figures: list[Figure]) -> str:
    """The same for a terminal."""
    body = [
        [r.part, r.variant, r.contender, str(r.threads), f"{r.median:.4g} {r.unit}", "" if r.times is None else f"{r.times:.2f}"]
        for r in rows(figures)
    ]
    return table(body, header=("part", "", "contender", "threads", "median", "times the last"))


def plot(figures: list[Figure], path: Path) -> None:
    """Bars of how many times as long as the last contender each took, a panel a part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    judged = [row for row in rows(figures) if row.times is not None]
    parts = list(dict.fromkeys((row.part, row.variant, row.threads) for row in judged))
    canvas = Canvas(figsize=(9, 1 + 0.32 * (len(judged) + 2 * len(parts))), layout="constrained")
    FigureCanvasAgg(canvas)
    heights = [sum((row.part, row.variant, row.threads) == part for row in judged) + 1 for part in parts]
    axes: Any = canvas.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0] if parts else []
    for axis, part in zip(axes, parts, strict=True):
        mine = [row for row in judged if (row.part, row.variant, row.threads) == part][::-1]
        axis.barh([row.contender for row in mine], [row.times or 0.0 for row in mine], color="#0072b2")
        axis.axvline(1.0, color="#444444", linewidth=0.8)
        axis.set_title(" ".join(filter(None, [part[0], part[1], f"({part[2]} threads): times as long as {mine[0].contender}"])), fontsize=9)
        axis.tick_params(labelsize=8)
    canvas.savefig(path, dpi=120)
