"""The result of an evaluation in whole numbers: what happens to 1,000 messages like these.

The numbers are the confusion matrix of report.json, scaled and rounded so that they add up. Ranges
are the 95 % intervals of report.json, rounded outwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.data.catalog import SOUGHT_LABELS
from tamis.evaluation.metrics import wilson

PER = 1000
FEW_ROWS = 100
"""Rows of a class below which its numbers are called rough: the 95 % interval of a share of one
half is then wider than 19 points."""


def summarize(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of a report; None if no rows were held out.

    Keys: `per` (1,000), `part` and `rows` that were evaluated, `kind`, `model` and `tfidf` (whole
    numbers that add up to `per`; `tfidf` may be None), `ranges` (95 % intervals of the numbers of
    the model), `unsure` (messages with that verdict, or None) and `sentences`. By `kind`:

        positive  caught, missed, blocked, passed: two classes, one of them is looked for
        equal     right, wrong, and mistaken, by true label: two classes of equal worth
        classes   right, wrong: more than two classes
    """
    part = "test" if report["test"] else "validation"
    judged = report[part]
    if not judged:
        return None
    kind = kind_of(report)
    counts = judged["confusion"]
    other = report["baselines"].get("tfidf") if part == "test" else None
    model = _numbers(report, kind, counts)
    tfidf = _numbers(report, kind, other["confusion"]) if other else None
    ranges = _ranges(report, kind, counts)
    share = (report.get("unsure") or {}).get("test_share") if part == "test" else None
    found = {
        "per": PER,
        "part": part,
        "rows": judged["n"],
        "kind": kind,
        "model": model,
        "ranges": ranges,
        "tfidf": tfidf,
        "unsure": None if share is None else round(PER * share),
    }
    say = {"positive": _positive, "equal": _equal, "classes": _classes}[kind]
    found["sentences"] = [*say(report, found, counts), *_caution(report, found, counts)]
    return found


def kind_of(report: Mapping[str, Any]) -> str:
    """Return `positive`, `equal` or `classes`, as in `summarize`."""
    if len(report["classes"]) != 2:
        return "classes"
    return "equal" if report["positive"] is None or report.get("equal_worth") else "positive"


def is_filter(report: Mapping[str, Any]) -> bool:
    """Return whether the positive class is unwanted, such as spam: what has it is blocked."""
    return kind_of(report) == "positive" and str(report["positive"]).lower() in SOUGHT_LABELS


def apportion(counts: Sequence[int], total: int) -> list[int]:
    """Scale counts to whole numbers that add up to `total`, by the largest remainders; all zero for
    counts that are all zero.

    >>> apportion([1, 1, 1], 1000)
    [334, 333, 333]
    """
    rows = sum(counts)
    if not rows:
        return [0] * len(counts)
    shares = [divmod(count * total, rows) for count in counts]
    found = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(counts)), key=lambda place: (-shares[place][1], place))
    for place in by_remainder[: total - sum(found)]:
        found[place] += 1
    return found


def _order(report: Mapping[str, Any]) -> tuple[int, int]:
    """Places of the positive and of the negative class; of the last and the first without one."""
    names = report["classes"]
    place = names.index(report["positive"]) if report["positive"] in names else len(names) - 1
    return place, 1 - place


def _numbers(report: Mapping[str, Any], kind: str, counts: Any) -> dict[str, Any]:
    if kind == "classes":
        right = sum(row[place] for place, row in enumerate(counts))
        wrong = sum(map(sum, counts)) - right
        return dict(zip(("right", "wrong"), apportion([right, wrong], PER), strict=True))
    yes, no = _order(report)
    # First the classes, then the cells of each: so model and TF-IDF have the same class totals.
    positives, negatives = apportion([sum(counts[yes]), sum(counts[no])], PER)
    caught, missed = apportion([counts[yes][yes], counts[yes][no]], positives)
    blocked, passed = apportion([counts[no][yes], counts[no][no]], negatives)
    if kind == "positive":
        return {"caught": caught, "missed": missed, "blocked": blocked, "passed": passed}
    names = report["classes"]
    mistaken = {names[no]: blocked, names[yes]: missed}
    return {
        "right": caught + passed,
        "wrong": blocked + missed,
        "mistaken": {name: mistaken[name] for name in names},
    }


def _ranges(report: Mapping[str, Any], kind: str, counts: Any) -> dict[str, list[int]]:
    """95 % intervals (Wilson) of the numbers of the model, rounded outwards."""
    if kind != "positive":
        right = sum(row[place] for place, row in enumerate(counts))
        low, high = _scaled(right, sum(map(sum, counts)), PER)
        return {"right": [low, high], "wrong": [PER - high, PER - low]}
    yes, no = _order(report)
    positives, negatives = apportion([sum(counts[yes]), sum(counts[no])], PER)
    found: dict[str, list[int]] = {}
    for row, total, first, second in (
        ((counts[yes][yes], counts[yes][no]), positives, "caught", "missed"),
        ((counts[no][yes], counts[no][no]), negatives, "blocked", "passed"),
    ):
        if sum(row):
            low, high = _scaled(row[0], sum(row), total)
            found |= {first: [low, high], second: [total - high, total - low]}
    return found


def _scaled(count: int, rows: int, total: int) -> tuple[int, int]:
    low, high = wilson(count, rows)
    # A bound such as 129.99999999 is 130.
    return math.floor(low * total + 1e-9), math.ceil(high * total - 1e-9)


def _with_range(found: Mapping[str, Any], key: str, counted: int) -> str:
    """A number with its range. `counted` rows are behind it: a few of them may round to 0."""
    number = found["model"][key]
    shown = "fewer than 1" if not number and counted else f"{number:,}"
    if key not in found["ranges"]:
        return shown
    low, high = found["ranges"][key]
    return f"{shown} ({low:,} to {high:,})"


def _positive(report: Mapping[str, Any], found: Mapping[str, Any], counts: Any) -> list[str]:
    yes, no = _order(report)
    positive, negative = report["classes"][yes], report["classes"][no]
    model = found["model"]
    stopped = "blocked" if is_filter(report) else f"wrongly flagged as {positive!r}"
    passing = "pass" if is_filter(report) else "not"
    positives, negatives = model["caught"] + model["missed"], model["blocked"] + model["passed"]
    begin = f"Of {PER:,} messages like these, {positives:,} {_are(positives)} {positive!r}"
    first = (
        f"{begin}: {_with_range(found, 'caught', counts[yes][yes])} caught, "
        f"{_with_range(found, 'missed', counts[yes][no])} missed."
        if sum(counts[yes])
        else f"{begin}, so it cannot be said how many are caught."
    )
    second = (
        f"{negatives:,} {_are(negatives)} {negative!r}: "
        f"{_with_range(found, 'blocked', counts[no][yes])} {stopped}, "
        f"{_with_range(found, 'passed', counts[no][no])} {passing}."
        if sum(counts[no])
        else f"None is {negative!r}, so it cannot be said how many are {stopped}."
    )
    sentences = [first, second]
    if found["tfidf"]:
        other = found["tfidf"]
        sentences.append(
            f"TF-IDF: {other['caught']:,} caught, {other['missed']:,} missed, "
            f"{other['blocked']:,} {negative!r} {stopped}."
        )
    return sentences


def _equal(report: Mapping[str, Any], found: Mapping[str, Any], counts: Any) -> list[str]:
    first, second = report["classes"]
    mistaken = found["model"]["mistaken"]
    wrong = counts[0][1] + counts[1][0]
    sentences = [
        f"Of {PER:,} messages like these, "
        f"{_with_range(found, 'right', counts[0][0] + counts[1][1])} get the right label and "
        f"{_with_range(found, 'wrong', wrong)} a wrong one: {mistaken[first]:,} {first!r} labelled "
        f"{second!r}, {mistaken[second]:,} {second!r} labelled {first!r}."
    ]
    if found["tfidf"]:
        other = found["tfidf"]
        sentences.append(
            f"TF-IDF: {other['right']:,} right, {other['wrong']:,} wrong "
            f"({other['mistaken'][first]:,} {first!r}, {other['mistaken'][second]:,} {second!r})."
        )
    return sentences


def _classes(report: Mapping[str, Any], found: Mapping[str, Any], counts: Any) -> list[str]:
    right = sum(row[place] for place, row in enumerate(counts))
    wrong = sum(map(sum, counts)) - right
    sentences = [
        f"Of {PER:,} messages like these, {_with_range(found, 'right', right)} get the right label "
        f"and {_with_range(found, 'wrong', wrong)} a wrong one."
    ]
    if found["tfidf"]:
        other = found["tfidf"]
        sentences.append(f"TF-IDF: {other['right']:,} right, {other['wrong']:,} wrong.")
    weakest = weakest_class(report["classes"], counts)
    if weakest is not None:
        name, hits, rows = weakest
        sentences.append(
            f"The hardest class is {name!r}: {hits:,} of its {rows:,} rows get the right label."
        )
    return sentences


def weakest_class(classes: Sequence[str], counts: Any) -> tuple[str, int, int] | None:
    """Return the class with the lowest recall, its correct rows and its rows; None if no row is
    wrong.
    """
    found = [
        (row[place] / sum(row), place) for place, row in enumerate(counts) if row[place] < sum(row)
    ]
    if not found:
        return None
    _, place = min(found)
    return classes[place], counts[place][place], sum(counts[place])


def _caution(report: Mapping[str, Any], found: Mapping[str, Any], counts: Any) -> list[str]:
    """Sentences about the rows behind the numbers."""
    rows, part = found["rows"], found["part"]
    sentences = [
        f"Measured on {rows:,} {part} rows; the ranges are 95 % intervals."
        + (
            " These rows also chose the threshold, so the numbers are too optimistic."
            if part == "validation" and report["threshold"] is not None
            else ""
        )
    ]
    few = [
        (sum(row), name)
        for name, row in zip(report["classes"], counts, strict=True)
        if 0 < sum(row) < FEW_ROWS
    ]
    if few:
        listed = ", ".join(f"{count:,} {name!r}" for count, name in few[:3])
        more = f" and {len(few) - 3:,} more classes" if len(few) > 3 else ""
        sentences.append(
            f"Some classes have few rows ({listed}{more}): what is said about them is rough."
            if found["kind"] == "classes" and rows >= FEW_ROWS * 3
            else f"This is a small sample ({listed}{more}), so the numbers are rough."
        )
    if found["unsure"]:
        sentences.append(
            f"The verdict is 'unsure' for {found['unsure']:,} of the {PER:,}; above, they are "
            "counted by their label."
        )
    return sentences


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
