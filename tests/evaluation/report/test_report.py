"""report.json, report.html and the model card: the keys that others rely on, words for a collapse,
escaping, JSON.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tamis.decision.calibration import calibrate
from tamis.decision.reject_band import confidence_floor, reject_band
from tamis.decision.thresholds import choose_threshold
from tamis.errors import DataError
from tamis.evaluation.metrics import METRICS
from tamis.evaluation.report import plots
from tamis.evaluation.report.confusion import confusions, confusions_sentence
from tamis.evaluation.report.model_card import model_card
from tamis.evaluation.report.render_html import render, write_html
from tamis.evaluation.report.report import (
    Part,
    ReportInputs,
    build_report,
    json_safe,
    mcnemar_sentence,
    most_confident_mistakes,
)

KEYS = (
    "rows classes positive split backbone tune threshold test validation baselines mcnemar "
    "timing versions".split()
)


def _report(run, **changes):
    scores, truth = run.probabilities[:, 1], np.array([label == "spam" for label in run.labels])
    options = {
        "classes": ["ham", "spam"],
        "positive": "spam",
        "split": "leakfree",
        "backbone": "nano",
        "tune": "head",
        "data": "sms-spam",
        "rows": {"train": 300, "validation": 97, "test": 97},
        "test": Part(run.labels, run.probabilities, run.texts),
        "validation": Part(run.labels, run.probabilities),
        "threshold": choose_threshold(scores, truth, max_fpr=0.001, negative="ham"),
        "unsure": reject_band(scores, truth, 0.5, share=0.1),
        "baselines": {"majority": np.tile([0.86, 0.14], (97, 1)), "tfidf": run.tfidf},
        "timing": {"head": np.float32(1.5), "dtype": {"dtype": "fp32", "reason": "kept"}},
        "versions": {"tamis": "1.0"},
        "notes": ["2 texts were longer than the context."],
    }
    return build_report(ReportInputs(**{**options, **changes}), bootstrap=20)


class _Reader(HTMLParser):
    """Collects tags, outside references and visible words."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        self.depth += tag not in ("meta", "img", "input")

    def handle_endtag(self, tag):
        self.depth -= 1

    def handle_data(self, data):
        self.words.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_the_report_has_every_key_that_others_rely_on(good_run):
    report = _report(good_run)
    assert set(KEYS) < set(report)
    for part in (
        report["test"],
        report["validation"],
        report["baselines"]["tfidf"],
        report["baselines"]["majority"],
    ):
        assert set(part) == {"n", *METRICS, "confusion", "ci95", "per_class"}
    assert isinstance(report["threshold"], float)
    assert set(report["mcnemar"]) == {"against", "model_only_wrong", "other_only_wrong", "p_value"}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_budget_that_cannot_be_shown_is_a_warning(good_run):
    report = _report(good_run)
    assert "83 ham rows are too few for max_fpr = 0.1 %" in report["warnings"][0]
    assert report["threshold_choice"]["resolved"] is False


def test_the_unsure_band_is_judged_on_the_test_rows(good_run):
    report = _report(good_run)
    assert report["unsure"]["test_share"] == pytest.approx(report["unsure"]["share"])
    assert report["unsure"]["test_errors_inside"] >= 0
    assert _report(good_run, unsure=None)["unsure"] is None


def test_a_collapsed_model_is_called_out_on_top(collapsed_run):
    page = render(_report(collapsed_run, threshold=0.5), {}, [])
    words = " ".join(_read(page).words)
    assert (
        "predicts 'ham' for all texts" in words
        and "Recall is 0: none of the 14 'spam' rows" in words
    )
    assert page.index(">Warnings<") < page.index('class="card"')
    assert "TF-IDF" in words


def test_accuracy_is_never_the_headline(good_run):
    page = render(_report(good_run), {}, [])
    cards = re.findall(r'<div class="card">(.*?)</div>', page)
    assert [card.split("<b>")[0] for card in cards] == [
        "F1",
        "Recall",
        "False positive rate (ham blocked)",
    ]
    assert all(
        "95 % interval:" in card and "TF-IDF" in card and "Majority" in card for card in cards
    )
    assert page.index(">Accuracy</th>") > page.index(">Brier</th>")


def test_the_page_is_self_contained_balanced_and_escaped(tmp_path, good_run):
    report = _report(good_run, notes=["a <b>note</b>"], data="<i>data</i>")
    data = plots.PlotData(
        ["ham", "spam"], "spam", report["threshold"], good_run.labels, good_run.probabilities
    )
    drawn = plots.write_all(tmp_path / "plots", data)
    part = Part(good_run.labels, good_run.probabilities, good_run.texts)
    mistakes = most_confident_mistakes(
        part, ["ham", "spam"], positive="spam", threshold=report["threshold"]
    )
    assert mistakes
    path = write_html(tmp_path / "report.html", report, drawn, mistakes)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["plots", "report.html"]
    page = path.read_text(encoding="utf-8")
    reader = _read(page)
    assert reader.depth == 0
    assert not {"i", "link", "iframe", "form"} & set(reader.opened)
    assert reader.opened.count("script") == 1, "that of the page"
    assert len(reader.sources) == 3 and all(
        source.startswith("data:image/png;base64,") for source in reader.sources
    )
    assert mistakes[0]["text"] in "".join(reader.words)
    assert "a <b>note</b>" in "".join(reader.words)


def test_texts_that_are_no_unicode_do_not_stop_the_page(tmp_path, good_run):
    example = {
        "label": "ham",
        "predicted": "spam",
        "probability": 0.9,
        "text": "lone \ud800 surrogate, NUL \0",
        "row": 1,
    }
    assert write_html(tmp_path / "r.html", _report(good_run), {}, [example]).stat().st_size > 1000


def test_mistakes_come_with_the_surest_first():
    probabilities = np.array([[0.1, 0.9], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    part = Part(["ham", "ham", "spam", "spam"], probabilities, ["a", "b", "c", "d"])
    found = most_confident_mistakes(part, ["ham", "spam"], positive="spam", threshold=0.5, limit=2)
    assert [row["text"] for row in found] == ["a", "c"]
    assert found[1] == {
        "row": 2,
        "label": "spam",
        "predicted": "ham",
        "probability": 0.7,
        "text": "c",
    }


def test_an_evaluation_without_anything_around_it_works(good_run):
    bare = ReportInputs(
        classes=["ham", "spam"],
        positive="spam",
        split="none",
        backbone="nano",
        tune="head",
        test=Part(good_run.labels, good_run.probabilities),
    )
    report = build_report(bare, bootstrap=5)
    assert report["threshold"] == 0.5 and report["validation"] is None and report["mcnemar"] is None
    assert "<h1>" in render(report, {}, []) and "## Evaluation" in model_card(report)


def test_a_run_without_held_out_rows_says_so():
    report = build_report(
        ReportInputs(classes=["a", "b"], positive="b", split="none", backbone="nano", tune="head")
    )
    assert report["test"] is None and report["baselines"] == {}
    assert "no rows were held out" in render(
        report, {}, []
    ) and "no rows were held out" in model_card(report)


def test_many_classes_have_macro_figures_and_a_floor():
    generator = np.random.default_rng(1)
    truth = generator.integers(3, size=60)
    logits = generator.normal(size=(60, 3)) + 2 * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = ["a", "b", "c"]
    inputs = ReportInputs(
        classes=classes,
        positive=None,
        split="stratified",
        backbone="nano",
        tune="head",
        test=Part([classes[i] for i in truth], probabilities),
        unsure=confidence_floor(probabilities, probabilities.argmax(axis=1) == truth, 0.1),
        calibration=calibrate(logits, truth),
    )
    report = build_report(inputs, bootstrap=5)
    assert report["threshold"] is None and report["unsure"]["test_share"] == pytest.approx(0.1)
    assert report["temperature"] == report["calibration"]["temperature"]
    page = render(report, {}, [])
    assert "F1 (macro)" in page and "blocked" not in page
    assert "below" in model_card(report)


def test_baselines_must_be_on_the_test_rows(good_run):
    with pytest.raises(DataError, match=r"baseline 'tfidf': .*\(97, 2\), got \(3, 2\)"):
        _report(good_run, baselines={"tfidf": good_run.tfidf[:3]})


@pytest.mark.parametrize(
    ("model", "other", "p", "words"),
    [
        (0, 0, 1.0, "correct on exactly the same rows"),
        (3, 5, 0.73, "p = 0.73): the difference is not significant"),
        (1, 12, 0.003, "1 row is wrong only for the model, 12 only for TF-IDF"),
        (2, 12, 0.003, "2 rows are wrong only for the model, 12 only for TF-IDF"),
        (1, 12, 0.003, "the model is significantly better"),
        (30, 2, 1e-6, "p < 0.001): the TF-IDF baseline is significantly better"),
    ],
)
def test_mcnemar_is_told_in_words(model, other, p, words):
    report = {"mcnemar": {"model_only_wrong": model, "other_only_wrong": other, "p_value": p}}
    assert words in mcnemar_sentence(report)
    assert mcnemar_sentence({"mcnemar": None}) == ""


def test_json_safe_unpacks_numpy_and_drops_what_json_cannot_hold(tmp_path):
    mixed = {
        "a": np.float32(0.5),
        1: (np.int64(3), float("nan")),
        "c": np.array([[1.0, np.inf]]),
        "d": tmp_path,
        "e": True,
    }
    assert json_safe(mixed) == {
        "a": 0.5,
        "1": [3, None],
        "c": [[1.0, None]],
        "d": str(tmp_path),
        "e": True,
    }


def test_the_card_holds_front_matter_figures_and_loading_code(good_run):
    report = _report(good_run)
    card = model_card(report, name='my "model"', license="mit")
    assert card.startswith(
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\nlicense: "
    )
    front = card.split("---\n")[1]
    assert 'name: "my \\"model\\""' in front and 'license: "mit"' in front
    assert f"value: {report['test']['f1']!r}" in front
    assert "| | model | tfidf | majority |" in card
    assert (
        "AutoModelForSequenceClassification" in card and "TextClassifier.from_pretrained(" in card
    )
    assert "> **Warning:** 83 ham rows are too few" in card
    compile(card.split("```python\n")[1].split("```")[0], "card", "exec")


def test_the_front_matter_is_yaml(good_run):
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with transformers only")
    front = yaml.safe_load(model_card(_report(good_run), name="a: b # c").split("---\n")[1])
    assert front["model-index"][0]["name"] == "a: b # c"
    assert {metric["type"] for metric in front["model-index"][0]["results"][0]["metrics"]} <= set(
        front["metrics"]
    )


def test_the_front_matter_is_what_the_hub_reads(good_run):
    hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    report = _report(good_run, data="my rows, 2026.csv")
    card = hub.ModelCard(model_card(report, name="org/spam", license="mit", examples=["a: b", "é"]))
    data = card.data
    assert (data.license, data.pipeline_tag) == ("mit", "text-classification")
    assert data.library_name == "transformers" and "text-classification" in data.tags
    assert data.widget == [{"text": "a: b"}, {"text": "é"}] and data.model_name == "org/spam"
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    assert values["f1"] == report["test"]["f1"] and set(values) == set(data.metrics)
    (result, *_) = data.eval_results
    assert (result.dataset_name, result.dataset_type) == ("my rows, 2026.csv", "my-rows-2026.csv")
    plain = hub.ModelCard(model_card(report, examples=[])).data
    assert plain.license == "unknown" and "widget" not in plain


def test_labels_cannot_break_the_card(good_run):
    report = _report(good_run, data="a|b\n# heading <b>")
    assert "| data | a\\|b # heading &lt;b> |" in model_card(report)


def test_classes_taken_for_one_another_are_named_most_rows_first():
    counts = [[7, 2, 0, 0], [2, 1, 3, 0], [0, 0, 5, 1], [0, 0, 0, 0]]
    found = confusions(counts, ["a", "b", "c", "d"])
    assert [(pair["label"], pair["predicted"], pair["rows"]) for pair in found] == [
        ("b", "c", 3),
        ("b", "a", 2),
        ("a", "b", 2),
        ("c", "d", 1),
    ]
    assert [pair["share"] for pair in found] == pytest.approx([3 / 6, 2 / 6, 2 / 9, 1 / 6])
    assert [pair["rows"] for pair in confusions(counts, ["a", "b", "c", "d"], most=2)] == [3, 2]
    assert (
        confusions_sentence(found, most=2)
        == "Most frequent confusions: 'b' predicted as 'c' (3 rows), 'b' predicted as 'a' (2 rows)."
    )
    assert confusions([[4, 0], [0, 2]], ["a", "b"]) == [] and confusions_sentence([]) == ""


def test_the_page_shows_confusions_of_many_classes_and_escapes_them(good_run):
    labels = ["<a>", "b", "c", "<a>", "b", "c"]
    probabilities = np.array(
        [
            [0.1, 0.8, 0.1],
            [0.2, 0.7, 0.1],
            [0.1, 0.1, 0.8],
            [0.2, 0.7, 0.1],
            [0.6, 0.2, 0.2],
            [0.1, 0.1, 0.8],
        ]
    )
    changes: dict[str, object] = {
        "classes": ["<a>", "b", "c"],
        "positive": None,
        "threshold": None,
        "unsure": None,
        "baselines": {},
        "validation": None,
    }
    report = _report(good_run, test=Part(labels, probabilities), **changes)
    assert report["confusions"] == [
        {"label": "<a>", "predicted": "b", "rows": 2, "share": 1.0},
        {"label": "b", "predicted": "<a>", "rows": 1, "share": 0.5},
    ]
    page = render(report, {}, []).replace("\n", "")
    table = page[page.index("<h2>Most frequent confusions") :]
    cells = re.findall(r"<(?:td|th)[^>]*>(?:<span>)?([^<]+)", table)
    assert cells[4:8] == ["&lt;a&gt;", "b", "2", "100.0 %"] and "<a>" not in page
    assert _report(good_run)["confusions"] is None and "Most frequent confusions" not in render(
        _report(good_run), {}, []
    )
