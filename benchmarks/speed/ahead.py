"""Sentences about where rivals are faster than tamis, generated from the results, because a table
alone does not show it clearly.
"""

from __future__ import annotations

import json
from statistics import median

from benchmarks.speed.results import Figure

COMPARED = ("job", "blocks", "full", "frozen", "inference", "latency")
"""Parts in which rivals do the same work."""
_SAID = {"inference": "bulk scoring", "latency": "single messages"}


def ahead(figures: list[Figure]) -> list[str]:
    """Return a line for every part and variant in which a rival was faster than tamis in the
    rival's number type.

    Args:
        figures: seconds of all contenders; a rival with `int8` in its name is compared with `tamis
            int8`, all others with the last tamis contender.

    Returns:
        Lines such as "bulk scoring: ONNX Runtime int8 1.22 times as fast as tamis int8": the
        inverse of the tables' "times the last", if above 1.
    """
    groups: dict[tuple[str, str, int, str], dict[str, dict[int, float]]] = {}
    for figure in figures:
        if figure.part in COMPARED and figure.unit == "s":
            place = (
                figure.part,
                figure.variant,
                figure.threads,
                json.dumps(figure.settings, sort_keys=True),
            )
            groups.setdefault(place, {}).setdefault(figure.contender, {})[figure.round] = (
                figure.value
            )
    several = len({threads for _, _, threads, _ in groups}) > 1
    lines = []
    for (part, variant, threads, _), timed in groups.items():
        ours = [name for name in timed if name.startswith("tamis")]
        faster = []
        for rival in timed:
            if rival in ours or not ours:
                continue
            beside = "tamis int8" if "int8" in rival and "tamis int8" in ours else ours[-1]
            times = 1 / median(
                seconds / timed[beside][n]
                for n, seconds in timed[rival].items()
                if n in timed[beside]
            )
            shown = f"{times:.2f}" if times < 10 else f"{times:.0f}"
            if float(shown) > 1:
                faster.append(f"{rival} {shown} times as fast as {beside}")
        if faster:
            told = [_SAID.get(part, part), variant, f"{threads} threads" if several else ""]
            lines.append(f"{', '.join(filter(None, told))}: {', '.join(faster)}")
    return lines
