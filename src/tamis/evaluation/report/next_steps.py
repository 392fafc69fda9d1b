"""What to try next, by rules on the figures of a report.

Each rule is a function: a report in, a sentence or an empty string out. Rules are in order of
importance; the first `MOST` that apply are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tamis.evaluation.report.plain_summary import (
    FEW_ROWS,
    PER,
    is_filter,
    kind_of,
    weakest_class,
)

MOST = 4
FEW_TRAINING_ROWS = 100
"""Training rows per class below which more labels usually help more than any setting."""
MUCH_BLOCKED = 0.005
"""False positive rate from which a budget is proposed: 5 of 1,000."""
MUCH_OOD = 0.05
"""Share of out-of-distribution test texts that is worth a look; about 0.01 is expected."""
MANY_ERRORS = 0.05
"""Share of wrong labels from which more data are proposed although everything was trained."""
WEAK = 0.5
"""Recall of a class below which it is called weak."""


def next_steps(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what to try next: `rule` (the name of the rule) and `sentence`, at most `MOST`."""
    found = [(name, rule(report)) for name, rule in RULES.items()]
    applying = [{"rule": name, "sentence": sentence} for name, sentence in found if sentence]
    return (applying or [{"rule": "use", "sentence": _use(report)}])[:MOST]


def _judged(report: Mapping[str, Any]) -> Mapping[str, Any]:
    return report["test"] or report["validation"] or {}


def _no_test_rows(report: Mapping[str, Any]) -> str:
    if report["test"]:
        return ""
    return (
        "Evaluate the model on labelled rows that it was not trained on: tamis evaluate RUN "
        "newer.csv, or tamis train DATA --test newer.csv."
    )


def _unfinished(report: Mapping[str, Any]) -> str:
    training = report.get("training")
    if not training or training.get("finished", True):
        return ""
    return (
        "This is the quick model of a training that is not finished. Wait for the end, or repeat "
        "the same tamis train command to go on."
    )


def _one_class(report: Mapping[str, Any]) -> str:
    counts = _judged(report).get("confusion")
    if not counts or sum(any(row) for row in counts) < 2:
        return ""
    predicted = [
        name
        for name, column in zip(report["classes"], zip(*counts, strict=True), strict=True)
        if any(column)
    ]
    if len(predicted) != 1:
        return ""
    return (
        f"The model answers {predicted[0]!r} to everything, so do not use it. Label more rows of "
        "the other classes, or train with --class-weight balanced."
    )


def _tfidf(report: Mapping[str, Any]) -> str:
    paired = report.get("mcnemar")
    if not paired:
        return ""
    model, other = paired["model_only_wrong"], paired["other_only_wrong"]
    if model <= other:
        return ""
    found = "TF-IDF with logistic regression"
    longer = report["tune"] != "full" and not _few_training_rows(report)
    train = " or train all weights (tamis train DATA --tune full)" if longer else ""
    if paired["p_value"] >= 0.05:
        return (
            f"{found} makes fewer errors here, though not significantly. Label more rows{train}, "
            "and compare again."
        )
    if train:
        return f"{found} is better here. Use it,{train}."
    return f"{found} is better here, and it is fast. Use it, or label more rows and compare again."


def _budget_exceeded(report: Mapping[str, Any]) -> str:
    budget, interval = report.get("max_fpr"), (_judged(report).get("ci95") or {})
    bounds = interval.get("false_positive_rate")
    if budget is None or not bounds or bounds[0] <= budget:
        return ""
    return (
        f"The budget of {_percent(budget)} is not kept on these rows: the false positive rate is "
        f"at least {_percent(bounds[0])}. Train with rows like these, or lower --max-fpr."
    )


def _budget_unresolved(report: Mapping[str, Any]) -> str:
    choice, budget = report["threshold_choice"], report.get("max_fpr")
    if not choice or choice["resolved"] or not budget:
        return ""
    return (
        f"A budget of {_percent(budget)} needs at least {math.ceil(1 / budget - 1e-9):,} held-out "
        f"{_negative(report)!r} rows. Label more of them, or raise --max-fpr."
    )


def _budget(report: Mapping[str, Any]) -> str:
    rate = _judged(report).get("false_positive_rate")
    if kind_of(report) != "positive" or report.get("max_fpr") is not None:
        return ""
    if rate is None or rate <= MUCH_BLOCKED or not _judged(report)["recall"]:
        return ""
    stopped = "blocked" if is_filter(report) else "wrongly flagged"
    return (
        f"{round(PER * rate):,} of {PER:,} {_negative(report)!r} are {stopped}. If that is too "
        "many, give a budget: tamis train DATA --max-fpr 0.5%. More "
        f"{report['positive']!r} are then missed."
    )


def _few_training_rows(report: Mapping[str, Any]) -> str:
    rows = report["rows"].get("train")
    if not rows or rows >= FEW_TRAINING_ROWS * len(report["classes"]):
        return ""
    return (
        f"More labels: {rows:,} training rows are few. tamis suggest RUN unlabelled.csv -n 50 "
        "chooses the messages that are worth labelling next."
    )


def _few_test_rows(report: Mapping[str, Any]) -> str:
    counts = _judged(report).get("confusion")
    if not counts or not report["test"]:
        return ""
    rows, name = min((sum(row), place) for place, row in enumerate(counts))
    if rows >= FEW_ROWS:
        return ""
    label = report["classes"][name]
    are = "row is" if rows == 1 else "rows are"
    return (
        f"More test rows: {rows:,} {are} {label!r}. With {FEW_ROWS:,}, the numbers above become "
        "reliable: tamis evaluate RUN more.csv."
    )


def _weak_class(report: Mapping[str, Any]) -> str:
    counts = _judged(report).get("confusion")
    if not counts or kind_of(report) != "classes":
        return ""
    weakest = weakest_class(report["classes"], counts)
    if weakest is None or weakest[1] >= WEAK * weakest[2]:
        return ""
    name, hits, rows = weakest
    return (
        f"{name!r} is recognised in {hits:,} of {rows:,} rows. Label more rows of it, or join it "
        "with the class that it is confused with."
    )


def _more_training(report: Mapping[str, Any]) -> str:
    errors = 1 - (_judged(report).get("accuracy") or 1.0)
    if report["tune"] in ("", "full") or errors < 0.01:
        return ""
    compared = (report.get("training") or {}).get("comparison") or {}
    # A longer training was tried, or is proposed already, or would not help: with few rows more of
    # them do.
    if compared.get("better") == "quick" or _tfidf(report) or _few_training_rows(report):
        return ""
    trained = "only the head" if report["tune"] == "head" else "only a part of the weights"
    return (
        f"A longer training: {trained} was trained (--tune {report['tune']}). tamis train DATA "
        "--tune full trains everything; --minutes 30 trains what fits into that time."
    )


def _many_errors(report: Mapping[str, Any]) -> str:
    errors = 1 - (_judged(report).get("accuracy") or 1.0)
    if errors < MANY_ERRORS or report["tune"] != "full" or _few_training_rows(report):
        return ""
    return (
        f"{_share(errors)} of the labels are wrong although all weights were trained. Check the "
        "labels (tamis data DATA --label-issues), then label more messages (tamis suggest)."
    )


def _perturbed(report: Mapping[str, Any]) -> str:
    results = report.get("robustness") or []
    clean = next((one for one in results if one["perturbation"] == "clean"), None)
    if clean is None or clean["recall"] is None:
        return ""
    worst = min(
        (one for one in results if one["recall"] is not None), key=lambda one: one["recall"]
    )
    if worst["recall_ci95"][1] >= clean["recall_ci95"][0]:
        return ""
    fell = (
        f"Disguised texts get through: recall is {100 * worst['recall']:.0f} % under "
        f"{worst['perturbation'].replace('_', ' ')}, {100 * clean['recall']:.0f} % without."
    )
    if report.get("robust"):
        return f"{fell} The model was trained with --robust; correct such texts with tamis learn."
    return f"{fell} Train with --robust."


def _unlike(report: Mapping[str, Any]) -> str:
    found = report.get("ood") or {}
    if (found.get("share") or 0) < MUCH_OOD:
        return ""
    return (
        f"{100 * found['share']:.0f} % of the test texts are unlike the training texts. Label some "
        "of them and train again."
    )


def _use(report: Mapping[str, Any]) -> str:
    return (
        "No rule finds a weakness. Use the model (tamis predict RUN, tamis serve RUN), and "
        "evaluate it again on newer messages: tamis evaluate RUN newer.csv."
    )


RULES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "unfinished": _unfinished,
    "one_class": _one_class,
    "tfidf": _tfidf,
    "no_test_rows": _no_test_rows,
    "budget_exceeded": _budget_exceeded,
    "budget_unresolved": _budget_unresolved,
    "more_labels": _few_training_rows,
    "robust": _perturbed,
    "weak_class": _weak_class,
    "budget": _budget,
    "longer_training": _more_training,
    "many_errors": _many_errors,
    "out_of_distribution": _unlike,
    "more_test_rows": _few_test_rows,
}
"""The rules by name, the most important first."""


def _negative(report: Mapping[str, Any]) -> str:
    return next(str(name) for name in report["classes"] if name != report["positive"])


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
