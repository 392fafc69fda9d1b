"""Measurements as lines of JSON, one a figure: an interrupted run goes on where it was. Also tables
of them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tamis.evaluation.report.text_table import table

Settings = dict[str, str | float]
Key = tuple[str, str, str, int, int, str]


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
    """What a second is for: useful GFLOP where `share` can be told, messages or tokens
    elsewhere."""
    about: dict[str, str | float] = field(default_factory=dict)
    """`ceiling`: the type whose ceiling it is a share of; `batch`: a rival's, in words. What may be
    another when a run goes on."""
    settings: Settings = field(default_factory=dict)
    """What it was asked for with and depends on, such as the model and the rows; lines from before
    these were kept have none."""

    @property
    def key(self) -> Key:
        """What makes it the same measurement."""
        return key(self.part, self.variant, self.contender, self.threads, self.round, self.settings)


def key(
    part: str, variant: str, contender: str, threads: int, number: int, settings: Settings
) -> Key:
    """What makes a measurement the same as another: with other settings it is another one."""
    return part, variant, contender, threads, number, json.dumps(settings, sort_keys=True)


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
    """Median over the rounds of its time over the last contender's of the same part; None where
    nothing is to be compared."""
    share: float | None
    """Of the matmul ceiling of the same round."""
    settings: Settings
    batches: list[str]
    """Batch sizes that were best, in the order they first came; empty where there are none."""

    def name(self, telling: Sequence[str]) -> str:
        """The contender, its batch, and those settings by which the rows of a part can be told
        apart.
        """
        batch = f"batches of {' and '.join(self.batches)}" if self.batches else ""
        return ", ".join(
            filter(
                None,
                [
                    self.contender,
                    batch,
                    *(f"{n} {self.settings[n]}" for n in telling if n in self.settings),
                ],
            )
        )


def telling(rows: Sequence[Row]) -> list[str]:
    """The settings in which rows differ."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    return [name for name in names if len({row.settings.get(name) for row in rows}) > 1]


def rows(figures: list[Figure]) -> list[Row]:
    """A row a contender, in the order they were measured."""
    groups: dict[tuple[str, str, int, str], dict[str, dict[int, Figure]]] = {}
    for figure in figures:
        place = groups.setdefault(
            (
                figure.part,
                figure.variant,
                figure.threads,
                json.dumps(figure.settings, sort_keys=True),
            ),
            {},
        )
        place.setdefault(figure.contender, {})[figure.round] = figure
    found = []
    for (part, variant, threads, settings), contenders in groups.items():
        limits = {
            name.removeprefix("ceiling "): by
            for name, by in contenders.items()
            if name.startswith("ceiling ")
        }
        timed = [name for name, by in contenders.items() if next(iter(by.values())).unit == "s"]
        for name, by in contenders.items():
            values = [figure.value for figure in by.values()]
            unit = next(iter(by.values())).unit
            ratios = (
                [by[n].value / last.value for n, last in contenders[timed[-1]].items() if n in by]
                if name in timed
                else []
            )
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
                    json.loads(settings),
                    list(
                        dict.fromkeys(
                            str(figure.about["batch"])
                            for figure in by.values()
                            if "batch" in figure.about
                        )
                    ),
                )
            )
    return found


def markdown(figures: list[Figure]) -> str:
    """One table a part."""
    lines: list[str] = []
    for part in dict.fromkeys(figure.part for figure in figures):
        lines += [
            f"### {part}",
            "",
            "| | threads | median | range | unit | times the last | of the ceiling |",
            f"|{'---|' * 7}",
        ]
        found = rows([figure for figure in figures if figure.part == part])
        for row in found:
            name = ", ".join(filter(None, [row.name(telling(found)), row.variant]))
            times = "" if row.times is None else f"{row.times:.2f}"
            share = "" if row.share is None else f"{100 * row.share:.0f} %"
            span = f"{row.least:.3g} to {row.most:.3g}"
            lines.append(
                f"| {name} | {row.threads} | {row.median:.4g} | {span} | {row.unit} | {times} | "
                f"{share} |"
            )
        lines.append("")
    return "\n".join(lines)


def plain(figures: list[Figure]) -> str:
    """The same for a terminal."""
    body = []
    for part in dict.fromkeys(figure.part for figure in figures):
        found = rows([figure for figure in figures if figure.part == part])
        for r in found:
            times = "" if r.times is None else f"{r.times:.2f}"
            body.append(
                [
                    r.part,
                    r.variant,
                    r.name(telling(found)),
                    str(r.threads),
                    f"{r.median:.4g} {r.unit}",
                    times,
                ]
            )
    return table(body, header=("part", "", "contender", "threads", "median", "times the last"))
