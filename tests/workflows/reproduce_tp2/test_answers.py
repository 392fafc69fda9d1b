"""The answers in words say what the run measured, and change their conclusion with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tamis.config import named_recipe
from tamis.workflows.reproduce_tp2.answers import data_answers
from tamis.workflows.reproduce_tp2.data_rows import DataFacts
from tamis.workflows.reproduce_tp2.remedies import EXACT_NAME, REMEDIES, TOGETHER, RemedyResults
from tamis.workflows.reproduce_tp2.result_answers import result_answer, training_answer
from tamis.workflows.reproduce_tp2.result_rows import result_rows, tenths
from tamis.workflows.reproduce_tp2.table_rows import Table

RECIPE = named_recipe("tp2")
FACTS = DataFacts(
    sought="spam",
    majority="ham",
    counts={"train": {"ham": 700, "spam": 101}, "test": {"ham": 170, "spam": 30}},
    unshuffled=(0.13, 0.14),
    longest_run=("ham", 40),
    repeated=True,
    split="tp2",
    tokens=np.array([20] * 9 + [130]),
    length=120,
    batch=16,
)


def figures(**changes: Any) -> dict[str, Any]:
    base = {
        "accuracy": 0.85,
        "recall": 0.0,
        "false_positive_rate": 0.0,
        "f1": 0.0,
        "mcc": 0.0,
        "average_precision": 0.3,
        "ci95": {"accuracy": [0.8, 0.9], "recall": [0.0, 0.11]},
    }
    return base | changes


def trained(**changes: Any) -> dict[str, Any]:
    found = {
        "steps": [{"step": n + 1, "rows": 16, "loss": 0.7, "accuracy": 0.8} for n in range(50)]
        + [{"step": 51, "rows": 1, "loss": 9.0, "accuracy": 0.0}],
        "points": [
            {"step": 0, "loss": 0.8, "train": figures(), "test": figures()},
            {"step": 51, "loss": 0.65, "train": figures(), "test": figures()},
        ],
        "train": figures(accuracy=0.861),
        "test": figures(),
        "class_weights": {"ham": 0.57, "spam": 3.97},
        "head_change": 0.123,
        "predicted": {"ham": 200, "spam": 0},
        "asked": 30,
        "found": 0,
        "scores": {"sought": [0.2, 0.3, 0.4], "others": [0.1, 0.15, 0.2]},
    }
    return found | changes


def remedies(**better: dict[str, Any]) -> RemedyResults:
    names = (*REMEDIES, TOGETHER, EXACT_NAME)
    return RemedyResults({name: better.get(name, figures()) for name in names}, figures(f1=0.93))


def text(sentences: list[str]) -> str:
    return " ".join(sentences)


def test_why_shuffle_compares_the_parts_of_the_file_itself() -> None:
    said = text(data_answers(FACTS)["5.1"])
    assert "first 80 % have 13.0 % spam and the rest 14.0 %" in said
    assert "40 rows of ham" in said and "happens to be mixed already" in said
    ordered = replace(FACTS, unshuffled=(0.02, 0.6), longest_run=("ham", 600))
    said = text(data_answers(ordered)["5.1"])
    assert "600 rows of ham" in said and "differ from the training rows by 58.0 points" in said
    assert "mixed already" not in said
    assert "gave OTHER rows" in text(data_answers(replace(FACTS, repeated=False))["5.1"])


def test_a_difference_that_chance_explains_does_not_blame_the_order() -> None:
    few = {"train": {"ham": 76, "spam": 23}, "test": {"ham": 20, "spam": 5}}
    said = text(data_answers(replace(FACTS, counts=few, unshuffled=(0.232, 0.2)))["5.1"])
    assert "happens to be mixed already" in said


def test_imbalance_is_explained_by_the_majority_rule_of_this_data() -> None:
    said = text(data_answers(FACTS)["5.2"])
    assert "always predicts ham" in said and "170 of 200 (85.0 %)" in said
    assert "none of the 30 spam rows" in said and "accuracy misleads" in said
    even = {"train": {"ham": 50, "spam": 50}, "test": {"ham": 12, "spam": 13}}
    said = text(data_answers(replace(FACTS, counts=even))["5.2"])
    assert "nearly balanced" in said and "12 of 25 (48.0 %)" in said


def test_padding_and_batches_are_counted() -> None:
    said = text(data_answers(FACTS)["6"])
    assert "1 of 801 are longer than 120" in said and "90.0 % of the messages end in it" in said
    said = text(data_answers(FACTS)["7"])
    assert "ceil(801 / 16) = 51: the last batch has 1 row." in said
    assert "101 rows of each class, 202 in all: 13 batches" in said and "599 rows" in said
    unpadded = replace(FACTS, length=None, batch=None)
    assert "pads nothing" in text(data_answers(unpadded)["6"])
    assert "their number varies" in text(data_answers(unpadded)["7"])


def test_a_batch_of_one_row_counts_as_one_row() -> None:
    first, last = tenths(trained()["steps"], "accuracy")
    assert first == pytest.approx(0.8) and last == pytest.approx(0.8 * 64 / 65)


def test_the_training_is_described_by_its_losses() -> None:
    said = text(training_answer(trained(), FACTS, RECIPE))
    assert "the loss falls by 0.150: from 0.800 to 0.650 after 51 steps" in said
    assert "ln 2 = 0.693" in said and "12.3 % of their length" in said
    still = trained()
    still["points"][1]["loss"] = 0.801
    assert "the loss hardly moves" in text(training_answer(still, FACTS, RECIPE))


def test_zero_percent_is_confirmed_and_explained() -> None:
    said = text(result_answer(trained(), FACTS, RECIPE, remedies(), []))
    assert "finds 0 of the 30 rows of spam" in said and "0 % is confirmed" in said
    assert "about the same as that of always predicting ham (85.0 %)" in said
    assert "For 90.0 % of the training messages that is padding" in said
    assert "51 steps moved the head by 12.3 %; the loss is 0.650, still near the 0.693" in said
    assert "Average precision is 0.300; 0.150 would be chance" in said
    assert "no threshold can repair that" in said
    assert "None of them helps alone" in said


def test_the_remedy_that_helps_is_named_and_one_that_flags_everything_is_not() -> None:
    good = figures(recall=0.9, f1=0.88, mcc=0.8, false_positive_rate=0.01)
    everything = figures(recall=1.0, f1=0.95, mcc=0.0, false_positive_rate=1.0)
    tried = remedies(**{"mean pooling": good, "5 epochs": everything})
    said = text(result_answer(trained(), FACTS, RECIPE, tried, []))
    assert "'mean pooling' helps most: recall 0.0 % becomes 90.0 %, F1 0.000 becomes 0.880" in said
    assert "false-positive rate of 100.0 % (flags nearly all)" in said
    assert "F1 0.930" in said, "TF-IDF stands beside it"


def test_another_result_gets_another_verdict_with_the_known_differences() -> None:
    found = trained(
        test=figures(recall=0.6, average_precision=0.8, false_positive_rate=0.1, accuracy=0.7),
        found=18,
        predicted={"ham": 165, "spam": 35},
    )
    said = text(result_answer(found, FACTS, RECIPE, None, ["the data (3 rows)"]))
    assert "this run differs: it finds 60.0 %, and 10.0 % of ham is flagged wrongly" in said
    assert "Known differences: the data (3 rows)." in said
    assert "15.0 points below that of always predicting ham" in said
    assert "the scores do rank spam above the others" in said
    assert "was not measured in this run" in said and "without --quick" in said
    said = text(result_answer(found, FACTS, RECIPE, None, []))
    assert "Data and backbone are those of the report" in said


@pytest.mark.parametrize(
    ("loss", "words"),
    [(1.03, "above the 0.693"), (0.7, "still near the 0.693"), (0.2, "well below the 0.693")],
)
def test_the_loss_is_compared_with_that_of_a_guess(loss: float, words: str) -> None:
    found = trained()
    found["points"][1]["loss"] = loss
    said = text(result_answer(found, FACTS, RECIPE, None, []))
    assert words in said and ("not finished" in said) == (loss > 0.35)


def test_scores_that_rank_well_under_a_wrong_cut_ask_for_another_threshold() -> None:
    cut = trained(test=figures(average_precision=0.8))
    said = text(result_answer(cut, FACTS, RECIPE, None, []))
    assert "a lower threshold finds more" in said and "no threshold can" not in said


def test_a_little_more_than_nothing_is_the_same_finding() -> None:
    found = trained(test=figures(recall=0.033), found=1)
    assert "the finding is the same" in text(result_answer(found, FACTS, RECIPE, None, []))


def test_without_spam_in_the_test_rows_nothing_is_claimed() -> None:
    none = trained(test=figures(recall=None), asked=0)
    assert "its recall is undefined" in text(result_answer(none, FACTS, RECIPE, None, []))


@pytest.mark.parametrize(
    ("recall", "accuracy", "match"),
    [
        (0.0, 0.865, (True, True)),
        (0.004, 0.87, (True, True)),
        (0.006, 0.871, (False, False)),
        (None, 0.5, (None, False)),
    ],
)
def test_recall_and_accuracy_are_judged(
    recall: float | None, accuracy: float, match: tuple[bool | None, bool]
) -> None:
    table = Table()
    result_rows(table, trained(test=figures(recall=recall, accuracy=accuracy)), FACTS)
    judged = {row.item: row for row in table.rows}
    row = judged["test accuracy on spam (recall)"]
    assert (row.match, judged["test accuracy"].match) == match and row.reported == "0 %"
    assert judged["train accuracy"].match is True
