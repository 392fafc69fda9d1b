"""The answers to questions 9 and 10 in words: how the training went, why so little is found, and
what mends it. Every figure, and every "because", comes from this run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tamis.config import Recipe
from tamis.workflows.reproduce_tp2.data_rows import DataFacts
from tamis.workflows.reproduce_tp2.remedies import EXACT_NAME, SUGGESTED, TOGETHER, RemedyResults
from tamis.workflows.reproduce_tp2.result_rows import same_recall, tenths
from tamis.workflows.reproduce_tp2.wording import of_rows, percent, with_interval

LITTLE = 0.05
"""Recall below which nearly nothing is found."""
MARGIN = 0.02
"""Differences of shares up to this are called the same."""


def training_answer(trained: dict[str, Any], facts: DataFacts, recipe: Recipe) -> list[str]:
    """Answer question 9."""
    points, steps = trained["points"], trained["steps"]
    before, after = points[0]["loss"], points[-1]["loss"]
    guess = math.log(len(facts.counts["train"]))
    first, last = tenths(steps, "loss")
    fell = before - after
    trend = (
        "hardly moves"
        if abs(fell) < 0.02
        else f"{'falls' if fell > 0 else 'rises'} by {abs(fell):.3f}"
    )
    weights = ", ".join(f"{name} {w:.2f}" for name, w in trained["class_weights"].items())
    return [
        f"The weights of the classes ({weights}) make the rare class count as much as the "
        "frequent one in the loss. A model that does not know anything and gives every class the "
        f"same probability has the loss ln {len(facts.counts['train'])} = {guess:.3f}.",
        f"On all training rows the loss {trend}: from {before:.3f} to {after:.3f} after "
        f"{len(steps)} steps. The loss of single batches jumps more than that, because a batch "
        f"of {facts.batch or 'few'} rows has few rows of {facts.sought}; in its mean it goes from "
        f"{first:.3f} to {last:.3f}.",
        f"Accuracy ends at {percent(points[-1]['train']['accuracy'])} on the training rows and "
        f"{percent(points[-1]['test']['accuracy'])} on the test rows, recall of {facts.sought} at "
        f"{percent(points[-1]['test']['recall'])} on the test rows. Always predicting "
        f"{facts.majority} has accuracy {percent(facts.majority_accuracy)}, the dashed line.",
        f"The whole training moves the weights of the head by {percent(trained['head_change'])} "
        f"of their length (learning rate {recipe.train.learning_rate:g}).",
    ]


def result_answer(
    trained: dict[str, Any],
    facts: DataFacts,
    recipe: Recipe,
    remedies: RemedyResults | None,
    differences: Sequence[str],
) -> list[str]:
    """Answer question 10. `differences` from the report are those known: data, backbone."""
    test = trained["test"]
    if test["recall"] is None:
        return [
            f"The test rows have no {facts.sought}, so its recall is undefined. Use a larger file."
        ]
    return [
        *_finding(trained, facts, differences),
        *_causes(trained, facts, recipe),
        *_mending(trained, facts, remedies),
    ]


def _finding(trained: dict[str, Any], facts: DataFacts, differences: Sequence[str]) -> list[str]:
    test, sought, most = trained["test"], facts.sought, facts.majority
    rows = facts.rows["test"]
    seen = (
        f"The model predicts {most} for {of_rows(trained['predicted'][most], rows)} test rows. It "
        f"finds {trained['found']} of the {trained['asked']} rows of {sought}: its recall is "
        f"{with_interval(test, 'recall')}."
    )
    gap = test["accuracy"] - facts.majority_accuracy
    level = (
        "about the same as"
        if abs(gap) <= MARGIN
        else f"{100 * abs(gap):.1f} points {'above' if gap > 0 else 'below'}"
    )
    accuracy = (
        f"Its accuracy, {percent(test['accuracy'])}, is {level} that of always predicting {most} "
        f"({percent(facts.majority_accuracy)})."
    )
    if same_recall(trained):
        verdict = (
            "The report's 0 % is confirmed: the high accuracy is that of the majority class, and "
            "as a filter the model is useless."
        )
    elif test["recall"] < LITTLE:
        verdict = (
            f"The report has 0 %. This run finds a little more, but the finding is the same: "
            f"nearly all {sought} passes."
        )
    else:
        blocked = test["false_positive_rate"]
        price = "" if blocked is None else f", and {percent(blocked)} of {most} is flagged wrongly"
        verdict = (
            f"The report has 0 %, so this run differs: it finds {percent(test['recall'])}{price}. "
            f"{_why_different(differences)}"
        )
    return [f"{seen} {accuracy}", verdict]


def _why_different(differences: Sequence[str]) -> str:
    chance = (
        "a head that is trained so little also depends on its random start, and the report does "
        "not give its optimizer and learning rate."
    )
    if not differences:
        return f"Data and backbone are those of the report; but {chance}"
    return f"Known differences: {'; '.join(differences)}. Besides, {chance}"


def _causes(trained: dict[str, Any], facts: DataFacts, recipe: Recipe) -> list[str]:
    reasons = []
    if recipe.text.pooling == "last_position" and facts.padded > 0:
        reasons.append(
            f"Where the head reads: the last position of the padded row. For "
            f"{percent(facts.padded)} of the training messages that is padding, not text, and "
            "what distinguishes the messages has to come through "
            f"{facts.filler_tokens:.0f} filler tokens on average."
        )
    points = trained["points"]
    guess = math.log(len(facts.counts["train"]))
    loss = points[-1]["loss"]
    if loss > guess + MARGIN:
        level = f"above the {guess:.3f} of a guess. The training is not finished."
    elif loss > 0.5 * guess:
        level = f"still near the {guess:.3f} of a guess. The training is not finished."
    else:
        level = f"well below the {guess:.3f} of a guess."
    reasons.append(
        f"How far it was trained: {len(trained['steps'])} steps moved the head by "
        f"{percent(trained['head_change'])}; the loss is {loss:.3f}, {level}"
    )
    return [*reasons, *_scores(trained, facts)]


def _scores(trained: dict[str, Any], facts: DataFacts) -> list[str]:
    own, others = trained["scores"]["sought"], trained["scores"]["others"]
    if own is None or others is None:
        return []
    precision, base = trained["test"]["average_precision"], facts.share(facts.sought, "test")
    sentence = (
        f"What the scores say: the middle half of the {facts.sought} rows has P({facts.sought}) "
        f"from {own[0]:.3f} to {own[2]:.3f}, that of the others from {others[0]:.3f} to "
        f"{others[2]:.3f}. Average precision is {precision:.3f}; {base:.3f} would be chance. "
    )
    if precision <= min(0.9, 2 * base):
        return [
            sentence
            + "So the scores hardly separate the classes, and no threshold can repair that."
        ]
    if trained["test"]["recall"] >= 0.5:
        return [sentence + f"So the scores do rank {facts.sought} above the others."]
    return [
        sentence
        + f"So the scores do rank {facts.sought} above the others, and the cut between the classes "
        "is in the wrong place: a lower threshold finds more, at the cost of more false alarms."
    ]


def _mending(
    trained: dict[str, Any], facts: DataFacts, remedies: RemedyResults | None
) -> list[str]:
    if remedies is None:
        return [
            "What mends it was not measured in this run: repeat the command with --overwrite and "
            "without --quick to train each remedy alone."
        ]
    reference = trained["test"]
    alone = remedies.alone
    suggested = "; ".join(f"{name}: {_effect(alone[name])}" for name in SUGGESTED)
    causes = "; ".join(
        f"{name}: {_effect(found)}" for name, found in alone.items() if name not in SUGGESTED
    )
    # Of two classes not by recall or F1: whatever flags every message has a recall of 100 %.
    key, name = ("f1", "F1") if reference["false_positive_rate"] is None else ("mcc", "MCC")
    best, found = max(alone.items(), key=lambda pair: pair[1][key] or 0.0)
    gained = (found[key] or 0.0) - (reference[key] or 0.0)
    verdict = (
        f"Alone, {best!r} helps most: recall {percent(reference['recall'])} becomes "
        f"{percent(found['recall'])}, F1 {_score(reference)} becomes {_score(found)}."
        if gained > MARGIN
        else f"None of them helps alone (judged by {name}): the best, {best!r}, has F1 "
        f"{_score(found)} instead of {_score(reference)}."
    )
    exact, together = remedies.remedies[EXACT_NAME], remedies.remedies[TOGETHER]
    return [
        "What mends it, each change alone. The suggestions of the report (the third, a GPU, only "
        f"saves time): {suggested}.",
        f"The causes above: {causes}.",
        f"{verdict} All together: {_effect(together)}, F1 {_score(together)}.",
        "The exact head of tamis (solved to its optimum, mean pooling, no padding): "
        f"{_effect(exact)}, F1 {_score(exact)}. TF-IDF with logistic regression, on the same rows: "
        f"{_effect(remedies.rival)}, F1 {_score(remedies.rival)}.",
    ]


def _effect(found: dict[str, Any]) -> str:
    blocked = found["false_positive_rate"]
    cost = "" if blocked is None else f" at a false-positive rate of {percent(blocked)}"
    everything = blocked is not None and min(blocked, found["recall"] or 0.0) > 0.95
    return f"recall {percent(found['recall'])}{cost}{' (flags nearly all)' if everything else ''}"


def _score(found: dict[str, Any]) -> str:
    return "undefined" if found["f1"] is None else f"{found['f1']:.3f}"
