"""Measurements as JSON lines, one per figure, so that an interrupted run can be resumed; and tables
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
    """Further condition, such as `blocks:2` or `64 tokens`; empty for none."""
    contender: str
    threads: int
    round: int
    value: float
    unit: str
    """`s` (less is better), `GFLOP/s`, `MB` or the name of a ratio."""
    size: float = 1.0
    """Amount of work: useful GFLOP if `share` can be computed, else messages or tokens."""
    about: dict[str, str | float] = field(default_factory=dict)
    """`ceiling`: the type whose ceiling it is a share of; `batch`: description of a rival's batch.
    These may differ when a run is resumed."""
    settings: Settings = field(default_factory=dict)
    """Options that it depends on, such as the model and the rows; old lines have none."""

    @property
    def key(self) -> Key:
        """The identity of the measurement."""
        return key(self.part, self.variant, self.contender, self.threads, self.round, self.settings)


def key(
    part: str, variant: str, contender: str, threads: int, number: int, settings: Settings
) -> Key:
    """Return the identity of a measurement; other settings make another measurement."""
    return part, variant, contender, threads, number, json.dumps(settings, sort_keys=True)


class Results:
    """A results file; an incomplete line is ignored and measured again."""

    def __init__(self, path: Path) -> None:
        """Read the existing figures."""
        self.path = path
        self.figures: list[Figure] = list(_read(path)) if path.exists() else []
        self._keys = {figure.key for figure in self.figures}

    def has(self, key: Key) -> bool:
        """Return whether it was measured."""
        return key in self._keys

    def add(self, figure: Figure) -> None:
        """Add a figure and write it to disk at once."""
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
    """All rounds of a contender."""

    part: str
    variant: str
    contender: str
    threads: int
    median: float
    least: float
    most: float
    unit: str
    times: float | None
    """Median over the rounds of its time divided by that of the last contender of the part; None if
    there is nothing to compare."""
    share: float | None
    """Share of the matmul ceiling of the same round."""
    settings: Settings
    batches: list[str]
    """Best batch sizes in order of occurrence; empty if there are none."""

    def name(self, telling: Sequence[str]) -> str:
        """Return the contender, its batch, and the settings that distinguish rows of a part."""
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
    """Return the settings in which rows differ."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    return [name for name in names if len({row.settings.get(name) for row in rows}) > 1]


def rows(figures: list[Figure]) -> list[Row]:
    """Return a row per contender, in measured order."""
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
    """Return one table per part."""
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
    """Return the same for a terminal."""
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


def beside(figures: Sequence[Figure]) -> list[str]:
    """Return a line for each contender that was measured under another load too: the share of its
    own idle speed that it keeps, as a median over the rounds that have both.
    """
    idle: dict[Key, Figure] = {figure.key: figure for figure in figures}
    shares: dict[tuple[str, ...], list[float]] = {}
    for figure in figures:
        load = str(figure.settings.get("load", ""))
        own = {name: value for name, value in figure.settings.items() if name != "load"}
        place = (figure.part, figure.variant, figure.contender, figure.threads, figure.round)
        same = idle.get(key(*place, own)) if load and figure.unit in ("s", "GFLOP/s") else None
        if same is not None:
            ratio = same.value / figure.value
            named = (load, figure.part, figure.contender, figure.variant)
            kept = ratio if figure.unit == "s" else 1 / ratio
            shares.setdefault(named, []).append(kept)
    return [
        f"{load}: {part}, {', '.join(filter(None, rest))}: {statistics.median(values):.0%} of its "
        "idle speed"
        for (load, part, *rest), values in shares.items()
    ]
