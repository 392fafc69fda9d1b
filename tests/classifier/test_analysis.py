"""What a fitted classifier is asked: its report, suggestions, another threshold, the
out-of-distribution limit, views for notebooks, progress and messages.
"""

from __future__ import annotations

import json
import logging
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tamis as package
from tamis import TextClassifier
from tamis.errors import ConfigError, DataError, NotFittedError
from tests.rows import messages
from tests.runs import finished_run, settings, table, tamis

LABELS, TEXTS = (list(column) for column in zip(*messages(), strict=True))
NEW = [f"{text} number {n}" for n, text in enumerate(TEXTS[:40])]
FOREIGN = "Þetta er texti á öðru tungumáli og líkist engu sem var lært ќѓщъ 漢字" * 3


def head() -> TextClassifier:
    return TextClassifier("scratch:tiny", "head", threads=1)


@cache
def fitted() -> TextClassifier:
    return head().fit(TEXTS, LABELS)


@pytest.fixture
def loaded(tmp_path: Path) -> TextClassifier:
    """The same, saved and loaded: it knows no training rows."""
    fitted().save(tmp_path / "model")
    return TextClassifier.load(tmp_path / "model", threads=1)


def test_the_report_is_that_of_the_command_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fitted().save(run / "model")
    said = tamis("evaluate", run, table(), "--json", "--threads", "1")
    there = json.loads(said.out)
    assert there.pop("feedback")["store"] is None  # of the run, not of the classifier
    here = fitted().evaluate(TEXTS, LABELS).to_dict()
    for name in ("test", "classes", "positive", "threshold", "split", "rows", "warnings", "ood"):
        wanted = {"test": 124} if name == "rows" else here[name]
        assert there[name] == wanted, name
    loaded = TextClassifier.load(run, threads=1).evaluate(TEXTS, LABELS)
    assert loaded.to_dict() | {"timing": 0, "data": 0} == there | {"timing": 0, "data": 0}


def test_the_report_has_metrics_intervals_and_baselines() -> None:
    report = fitted().evaluate(TEXTS, LABELS)
    right = fitted().predict(TEXTS) == np.array(LABELS)
    assert report["accuracy"] == pytest.approx(right.mean()) and report["n"] == 124
    assert dict(report) == report.metrics and len(report) == len(report.metrics)
    low, high = report.intervals["f1"]
    assert low < report["f1"] <= high
    assert report.intervals.keys() <= report.keys()
    assert set(report.baselines) == {"majority", "tfidf"}
    assert report.baselines["majority"]["accuracy"] == pytest.approx(96 / 124)
    assert any("124 of the 124" in note for note in report.notes)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert "</" not in repr(report) and "Average precision" in repr(report)
    assert repr(report).startswith("Of 1,000 messages like these, 226 are 'spam': ")
    assert report.summary[0] in repr(report) and report.next_steps[0] in repr(report)


def test_changing_the_dictionary_does_not_change_the_report() -> None:
    report = fitted().evaluate(TEXTS, LABELS)
    report.to_dict()["test"]["f1"] = -1
    assert report["f1"] >= 0


def test_a_loaded_classifier_has_baselines_where_it_is_given_training_rows(
    loaded: TextClassifier,
) -> None:
    assert loaded.evaluate(NEW, LABELS[:40]).baselines == {}
    report = loaded.evaluate(NEW, LABELS[:40], train=(TEXTS, LABELS))
    assert report.baselines == fitted().evaluate(NEW, LABELS[:40]).baselines
    assert not report.notes
    assert report.to_dict()["mcnemar"]["against"] == "tfidf"


def test_labels_are_compared_by_value() -> None:
    # as with the name spam, one class is looked for
    numbers = TextClassifier("scratch:tiny", "head", positive=1, threads=1).fit(
        TEXTS, [int(label == "spam") for label in LABELS]
    )
    wanted = fitted().evaluate(TEXTS, LABELS)["confusion"]
    for convert in (int, float, bool, np.int8, np.float32):
        labels = [convert(label == "spam") for label in LABELS]
        assert numbers.evaluate(TEXTS, labels)["confusion"] == wanted, convert


@pytest.mark.parametrize(
    ("texts", "labels", "told"),
    [
        (["a", "b"], ["ham", "eggs"], r"labels\[1\]: 'eggs' is not one of"),
        (["a", "b"], ["ham"], "2 texts and 1 labels"),
        (["a", "b"], ["ham", None], r"labels\[1\] is missing"),
        (["a", "b"], ["ham", float("nan")], r"labels\[1\] is missing"),
        ([], [], "expected labelled texts, got none"),
        ([1], ["ham"], "expected a string"),
    ],
)
def test_rows_that_cannot_be_evaluated_are_refused(texts: Any, labels: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        fitted().evaluate(texts, labels)


def test_the_page_and_the_mistakes(tmp_path: Path) -> None:
    wrong = ["spam" if label == "ham" else label for label in LABELS[:10]] + LABELS[10:]
    report = fitted().evaluate(TEXTS, wrong)
    mistakes = report.mistakes(3)
    assert len(mistakes) == 3 and all(one["label"] != one["predicted"] for one in mistakes)
    page = report.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page == report.to_html()
    assert "<h2>Mistakes</h2>" in page and page.count("data:image/png;base64,") == 3


def test_suggestions_leave_out_what_is_labelled() -> None:
    found = fitted().suggest([*TEXTS[:20], *NEW], 5)
    assert (len(found), found.labelled, found.seen) == (5, 20, 60)
    assert set(found.texts) <= set(NEW)
    assert [one.text for one in found] == found.texts
    less = fitted().suggest(NEW, 40, labelled=NEW[:30])
    assert set(less.texts) <= set(NEW[30:]) and less.labelled == 30
    with pytest.raises(DataError, match="40 are already labelled"):
        fitted().suggest(NEW, labelled=NEW)
    with pytest.raises(ConfigError, match="strategy"):
        fitted().suggest(NEW, strategy="luck")  # type: ignore[arg-type]


def test_a_loaded_classifier_suggests_from_all_texts(loaded: TextClassifier) -> None:
    assert loaded.suggest(TEXTS[:20], 3, strategy="margin").labelled == 0


def test_a_classifier_loaded_from_a_run_leaves_out_the_labelled_texts_of_the_run() -> None:
    loaded = TextClassifier.load(finished_run(), threads=1)
    found = loaded.suggest([*TEXTS[:20], *NEW], 5)
    assert found.labelled == 20 and set(found.texts) <= set(NEW)


def test_a_threshold_is_kept_and_moves_the_band(tmp_path: Path) -> None:
    classifier = head().fit(TEXTS, LABELS)
    probabilities = classifier.predict_proba(TEXTS)[:, 1]
    assert classifier.set_threshold(0.9) is classifier
    assert (classifier.predict(TEXTS) == "spam").tolist() == (probabilities >= 0.9).tolist()
    rule = classifier.rule_
    assert rule.low is not None and rule.high is not None and rule.low <= 0.9 <= rule.high
    classifier.save(tmp_path / "model")
    assert TextClassifier.load(tmp_path / "model", threads=1).rule_ == rule


def test_a_threshold_is_chosen_by_the_false_positive_rate(loaded: TextClassifier) -> None:
    for classifier in (head().fit(TEXTS, LABELS), loaded):
        held_out = classifier.held_out_
        assert held_out is not None
        scores, spam = held_out.of_class(1)
        classifier.set_threshold(max_fpr=0.0)
        strict = classifier.rule_.threshold
        assert strict is not None and not (scores[~spam] >= strict).any()
        classifier.set_threshold(max_fpr=0.2)
        loose = classifier.rule_.threshold
        assert loose is not None and loose < strict
        assert (scores[~spam] >= loose).mean() <= 0.2


def test_a_threshold_is_chosen_on_rows_of_ones_own(loaded: TextClassifier) -> None:
    texts = [*TEXTS, *NEW]
    labels = [*LABELS, *["spam"] * 40]  # every new text counts as spam: the best cut is low
    before = loaded.rule_.threshold
    loaded.set_threshold(rows=(texts, labels))
    after = loaded.rule_.threshold
    assert before is not None and after is not None and after < before
    with pytest.raises(DataError, match="eggs"):
        loaded.set_threshold(rows=(["a"], ["eggs"]))
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        loaded.set_threshold(rows=(["a", "b"], ["ham"]))


def test_a_threshold_that_cannot_be_set_is_refused() -> None:
    classifier = head().fit(TEXTS, LABELS)
    rule = classifier.rule_
    for value in (-0.1, 1.5, float("nan"), 50):
        with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
            classifier.set_threshold(value)
    for wrong in ("0.5", True, [0.5]):
        with pytest.raises(ConfigError, match=r"expected a number in \[0, 1\], got "):
            classifier.set_threshold(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="only one of them"):
        classifier.set_threshold(0.5, max_fpr=0.1)
    assert classifier.rule_ == rule
    three = head().fit(TEXTS[:60], ["a", "b", "c"] * 20)
    with pytest.raises(ConfigError, match="most probable of 3 classes"):
        three.set_threshold(0.5)
    few = head().fit(["win cash", "see you"], ["spam", "ham"])
    assert few.set_threshold(0.25).rule_.threshold == 0.25
    with pytest.raises(ConfigError, match=r"give rows=\(texts, labels\)"):
        few.set_threshold(max_fpr=0.1)


def test_texts_out_of_distribution_are_known_after_fit(loaded: TextClassifier) -> None:
    classifier = head().fit(TEXTS, LABELS)
    ham, foreign = classifier.verdicts([TEXTS[2], "qzxj vkwq zzxq jjkq wvxz"], ood=True)
    assert ham.ood is False and foreign.ood is True
    assert loaded.ood_detector_.limit == classifier.ood_detector_.limit is not None


def test_before_fit_nothing_can_be_asked() -> None:
    for call in (
        lambda c: c.evaluate(["x"], ["ham"]),
        lambda c: c.suggest(["x"]),
        lambda c: c.set_threshold(0.5),
        lambda c: c.explain("x"),
        lambda c: c.ood_detector_,
    ):
        with pytest.raises((NotFittedError, AttributeError)):
            call(head())
    assert not hasattr(head(), "ood_detector_")


class Elements(HTMLParser):
    """The elements of a piece of HTML; fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def views() -> dict[str, Any]:
    evil = '<script>alert("x")</script> & <b>bold</b>'
    return {
        "unfitted": head(),
        "classifier": fitted(),
        "report": fitted().evaluate([*TEXTS[:30], evil], [*LABELS[:30], "spam"]),
        "verdict": fitted().verdicts([evil])[0],
        "verdicts": fitted().verdicts([evil, *TEXTS], ood=True),
        "explanation": fitted().explain(evil),
        "suggestions": fitted().suggest([evil, *NEW], 20, strategy="random"),
    }


@pytest.mark.parametrize(
    "name",
    ["unfitted", "classifier", "report", "verdict", "verdicts", "explanation", "suggestions"],
)
def test_a_view_for_a_notebook_is_scoped_and_escaped(name: str) -> None:
    shown = views()[name]._repr_html_()
    elements = Elements(shown)
    tags = {tag for tag, _ in elements.seen}
    assert not tags & {"script", "html", "head", "body", "link", "iframe"}
    (style,) = re.findall(r"<style>(.*?)</style>", shown, flags=re.DOTALL)
    plain = re.sub(r"@media [^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", r"\1", style)
    selectors = [
        one.strip() for rule in re.findall(r"([^{}]+)\{", plain) for one in rule.split(",")
    ]
    (scope,) = {selector.split()[0].partition(":")[0] for selector in selectors}
    assert scope.startswith(".tamis-") and len(selectors) > 10
    # Everything visible lies in the element that the rules are about.
    outer = re.sub(r"<style>.*?</style>", "", shown, flags=re.DOTALL).strip()
    assert outer.startswith(f'<div class="{scope[1:]}">') and outer.endswith("</div>")
    assert "http" not in re.sub(r"https?:\S*example\S*", "", shown)
    assert not any("id" in attributes for _, attributes in elements.seen)


def test_verdicts_in_a_notebook() -> None:
    shown = fitted().verdicts([*TEXTS[:30]])
    assert isinstance(shown, list) and "and 10 more" in shown._repr_html_()
    assert "P(ham)" in shown._repr_html_() and "out-of-distribution" not in shown._repr_html_()
    assert 'no <span class="soft">score ' in fitted().verdicts([TEXTS[0]], ood=True)._repr_html_()


def test_verbose_shows_progress_and_otherwise_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    options = settings(**{"train.epochs": 1})
    TextClassifier("scratch:tiny", threads=1, settings=options).fit(TEXTS, LABELS).predict(TEXTS)
    assert capfd.readouterr() == ("", "")
    loud = TextClassifier("scratch:tiny", threads=1, settings=options, verbose=True)
    loud.fit(TEXTS, LABELS).predict(TEXTS)
    out, err = capfd.readouterr()
    assert out == "" and "training: 100%" in err and "scoring: 100%" in err and "loss" in err


def test_notices_go_to_the_logger(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("tamis").handlers)
    assert package.TextClassifier is TextClassifier
    loop = settings(**{"train.epochs": 1, "train.class_weight": {"ham": 1, "spam": 0.001}})
    with caplog.at_level(logging.INFO, logger="tamis"):
        head().fit(TEXTS, LABELS)
        TextClassifier("scratch:tiny", "full", threads=1, settings=loop).fit(TEXTS, LABELS)
    told = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert ("tamis.classifier", "INFO", "tune: head (requested)") in told
    # At such weights the tiny model learns nothing, which is a warning while it trains.
    assert any(
        (name, level) == ("tamis.training", "WARNING") and "not learned anything" in sentence
        for name, level, sentence in told
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("verbose", [False, True])
def test_a_notice_is_told_once(
    verbose: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = settings(**{"text.pooling": "attention"})
    options: dict[str, Any] = {"threads": 1, "settings": asked, "verbose": verbose}
    with caplog.at_level(logging.INFO, logger="tamis"):
        found = TextClassifier("scratch:tiny", "head", **options).fit(TEXTS, LABELS)
    told = [one for one in caplog.records if "attention is ignored" in one.getMessage()]
    shown = capfd.readouterr().err.count("attention is ignored")
    assert (len(told), shown) == ((0, 1) if verbose else (1, 0))
    assert any("attention is ignored" in note for note in found.training_.notes)
