"""What to try next: each rule applies to its case and to no other, in order of importance."""

from __future__ import annotations

from typing import Any

from tamis.evaluation.report.next_steps import MOST, RULES, next_steps
from tests.evaluation.report.test_plain_summary import report_of, two

GOOD = [[995, 5], [2, 198]]


def rules(report: dict[str, Any]) -> list[str]:
    return [step["rule"] for step in next_steps(report)]


def sentence(report: dict[str, Any], rule: str) -> str:
    return next(step["sentence"] for step in next_steps(report) if step["rule"] == rule)


def changed(counts: list[list[int]] | None = None, **changes: Any) -> dict[str, Any]:
    """A report without weaknesses, with some keys changed."""
    return {**report_of(counts or GOOD), **changes}


def mcnemar(model: int, other: int, p: float) -> dict[str, Any]:
    return {"against": "tfidf", "model_only_wrong": model, "other_only_wrong": other, "p_value": p}


def test_a_good_model_is_to_be_used() -> None:
    steps = next_steps(changed())
    assert [step["rule"] for step in steps] == ["use"]
    assert "tamis predict RUN" in steps[0]["sentence"]
    assert report_of(GOOD)["next_steps"] == steps, "report.json has them"


def test_a_model_with_one_answer_is_not_to_be_used() -> None:
    report = changed([[900, 0], [100, 0]])
    assert rules(report)[0] == "one_class" and "'ham' to everything" in sentence(
        report, "one_class"
    )
    assert "one_class" not in rules(changed([[900, 0], [99, 1]]))
    assert "one_class" not in rules(changed([[900, 0], [0, 0]])), "only one class to answer"


def test_a_quick_model_whose_tuning_goes_on_says_so() -> None:
    unfinished = {"finished": False, "kept": "quick", "quick": None}
    assert rules(changed(training=unfinished))[0] == "unfinished"
    assert "unfinished" not in rules(changed(training=unfinished | {"finished": True}))


def test_tfidf_is_better() -> None:
    for tune, remedy in (("head", "--tune full"), ("full", "label more rows")):
        said = sentence(changed(tune=tune, mcnemar=mcnemar(30, 9, 0.001)), "tfidf")
        assert "is better here" in said and remedy in said
    slightly = sentence(changed(mcnemar=mcnemar(4, 3, 1.0)), "tfidf")
    assert "not significantly" in slightly and "Use it" not in slightly
    both = changed([[960, 40], [10, 190]], tune="head", mcnemar=mcnemar(30, 9, 0.001))
    assert "longer_training" not in rules(both), "it is proposed once"
    assert "tfidf" not in rules(changed(mcnemar=mcnemar(9, 30, 0.001)))
    assert "tfidf" not in rules(changed(mcnemar=mcnemar(3, 3, 1.0)))


def test_a_model_without_test_rows_is_to_be_evaluated() -> None:
    report = changed()
    for test, validation in ((None, report["test"]), (None, None)):
        found = {**report, "test": test, "validation": validation}
        assert rules(found)[0] == "no_test_rows"
        assert "tamis evaluate RUN" in sentence(found, "no_test_rows")


def test_few_labels_need_more() -> None:
    assert "more_labels" in rules(changed(rows={"train": 199, "test": 9}))
    assert "tamis suggest RUN" in sentence(changed(rows={"train": 199}), "more_labels")
    assert "more_labels" not in rules(changed(rows={"train": 200}))
    assert "more_labels" not in rules(changed(rows={"test": 9})), "an evaluation knows no number"


def test_many_blocked_call_for_a_budget() -> None:
    report = changed([[980, 20], [2, 198]])
    assert sentence(report, "budget").startswith("20 of 1,000 'ham' are blocked.")
    assert "--max-fpr" in sentence(report, "budget")
    assert sentence(report, "budget").endswith("More 'spam' are then missed.")
    assert "budget" not in rules(changed([[995, 5], [2, 198]]))
    assert "budget" not in rules({**report, "max_fpr": 0.05}), "there is one"
    assert "budget" not in rules({**report, "equal_worth": True}), "nothing is blocked"


def test_a_budget_is_kept_or_not() -> None:
    report = changed([[950, 50], [2, 198]], max_fpr=0.01)
    assert "at least 3.81 %" in sentence(report, "budget_exceeded")
    assert "budget_exceeded" not in rules(changed([[988, 12], [2, 198]], max_fpr=0.01)), "by chance"
    choice = {"resolved": False, "rule": "at most 0.1 % blocked", "notes": []}
    choice |= {"recall": 1.0, "false_positive_rate": 0.0, "false_positive_rate_upper95": 0.0}
    unresolved = changed(max_fpr=0.001, threshold_choice=choice)
    assert "at least 1,000 held-out 'ham' rows" in sentence(unresolved, "budget_unresolved")
    choice["resolved"] = True
    assert "budget_unresolved" not in rules(unresolved)


def test_a_part_that_was_trained_may_be_more() -> None:
    report = changed([[960, 40], [10, 190]])
    for tune, trained in (("head", "only the head"), ("blocks:2", "only a part")):
        said = sentence({**report, "tune": tune}, "longer_training")
        assert trained in said and "--tune full" in said and "--minutes" in said
    assert "longer_training" not in rules({**report, "tune": "full"})
    assert "longer_training" not in rules(changed(tune="head")), "99.4 % are right"
    tried = {"training": {"comparison": {"better": "quick"}}}
    assert "longer_training" not in rules({**report, "tune": "head", **tried})
    few = {**report, "tune": "head", "rows": {**report["rows"], "train": 30}}
    assert "longer_training" not in rules(few), "more labels are proposed instead"
    worse = {**few, "mcnemar": {"model_only_wrong": 5, "other_only_wrong": 1, "p_value": 0.2}}
    assert "--tune full" not in sentence(worse, "tfidf")


def test_many_errors_after_full_training_call_for_labels() -> None:
    report = changed([[900, 100], [20, 180]])
    assert "10 % of the labels are wrong" in sentence(report, "many_errors")
    assert "many_errors" not in rules({**report, "tune": "head"})
    assert "many_errors" not in rules({**report, "rows": {"train": 100}}), "more_labels says it"
    assert "many_errors" not in rules(changed())


def test_disguised_texts_call_for_robust() -> None:
    def line(name: str, recall: float, low: float, high: float) -> dict[str, Any]:
        return {"perturbation": name, "recall": recall, "recall_ci95": [low, high]}

    clean = line("clean", 0.95, 0.9, 0.98)
    low = [clean, line("look_alikes", 0.4, 0.3, 0.5), line("case", 0.6, 0.5, 0.7)]
    said = sentence(changed(robustness=low), "robust")
    assert "40 % under look alikes, 95 % without" in said and said.endswith("Train with --robust.")
    assert "tamis learn" in sentence(changed(robustness=low, robust=True), "robust")
    level = [clean, line("look_alikes", 0.9, 0.85, 0.95)]
    assert "robust" not in rules(changed(robustness=level))
    nothing = [{"perturbation": "clean", "recall": None, "recall_ci95": None}]
    assert "robust" not in rules(changed(robustness=nothing)) and "robust" not in rules(changed())


def test_texts_unlike_the_training_are_to_be_labelled() -> None:
    assert "8 % of the test texts" in sentence(changed(ood={"share": 0.08}), "out_of_distribution")
    assert "out_of_distribution" not in rules(changed(ood={"share": 0.02}))
    assert "out_of_distribution" not in rules(changed(ood=None))


def test_a_weak_class_and_few_test_rows_are_named() -> None:
    counts = [[300, 0, 0], [60, 40, 0], [0, 0, 99]]
    report = report_of(counts, ("a", "b", "c"), None)
    assert "'b' is recognised in 40 of 100 rows" in sentence(report, "weak_class")
    assert sentence(report, "more_test_rows").startswith("More test rows: 99 rows are 'c'.")
    better = report_of([[300, 0, 0], [49, 51, 0], [0, 0, 100]], ("a", "b", "c"), None)
    assert not {"weak_class", "more_test_rows"} & set(rules(better))


def test_the_most_important_come_first_and_few_are_shown() -> None:
    _, other = two([[50, 0], [0, 10]])
    report = report_of([[50, 0], [10, 0]], baselines={"tfidf": other}, rows={"train": 30})
    report |= {"ood": {"share": 0.5}, "tune": "head"}
    applying = [name for name, rule in RULES.items() if rule(report)]
    assert len(applying) > MOST and rules(report) == applying[:MOST]
    assert rules(report)[:2] == ["one_class", "tfidf"]
