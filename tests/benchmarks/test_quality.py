"""The proof's own arithmetic: draws, figures, the table; and a run over small tables that goes on
where it was.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import __main__ as quality
from benchmarks.quality import pooled, table
from benchmarks.quality.methods import named
from benchmarks.quality.tasks import Task, drawn, tasks
from tests.rows import messages


def test_a_draw_has_the_same_number_of_every_class_as_far_as_there_are_rows() -> None:
    labels = ["a"] * 30 + ["b"] * 5 + ["c"] * 11
    rows = drawn(labels, 8, seed=1)
    assert Counter(labels[i] for i in rows) == {"a": 8, "b": 5, "c": 8} and len(set(rows)) == 21
    assert drawn(labels, 8, seed=1).tolist() == rows.tolist() != drawn(labels, 8, seed=2).tolist()


def test_figures_by_hand() -> None:
    task = Task(
        "t",
        0,
        ["x"],
        ["ham", "spam"],
        ["1", "2", "3", "4", "5"],
        ["spam", "ham", "spam", "ham", "ham"],
        positive="spam",
    )
    spam = np.array([0.9, 0.6, 0.4, 0.2, 0.1])  # one of two spam caught, one of three ham blocked
    found = table.judged(task, np.stack([1 - spam, spam], axis=1))
    assert found["accuracy"] == pytest.approx(3 / 5) and found["f1"] == pytest.approx(1 / 2)
    assert found["average_precision"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["mcc"] == pytest.approx((1 * 2 - 1 * 1) / (2 * 2 * 3 * 3) ** 0.5)
    assert "labels_macro_f1" not in found
    found = table.judged(
        task, np.stack([1 - spam, spam], axis=1), ["spam", "spam", "spam", "ham", "ham"]
    )
    assert found["labels_macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2) and found[
        "f1"
    ] == pytest.approx(1 / 2)


def test_the_table_shows_mean_and_deviation_of_what_is_there() -> None:
    rows = [
        {
            "method": "one",
            "task": "trec6",
            "seed": seed,
            "figures": {"accuracy": value, "macro_f1": 0.0},
        }
        for seed, value in enumerate((0.8, 0.9, 0.7))
    ]
    rows.append(
        {
            "method": "two",
            "task": "trec6",
            "seed": 0,
            "figures": {"accuracy": 0.55, "macro_f1": 0.0},
        }
    )
    lines = table.table(rows).splitlines()
    assert (
        lines[0] == "| task | figure | one | two |"
        and lines[2] == "| trec6 | accuracy | 0.800 ± 0.100 | 0.550 |"
        and len(lines) == 3
    )
    figures = {"accuracy": 0.5, "macro_f1": 0.25}
    before = {"method": "one", "task": "tweeteval-irony", "seed": 0, "figures": figures}
    now = {
        "method": "two",
        "task": "tweeteval-irony",
        "seed": 0,
        "figures": figures | {"labels_macro_f1": 0.75},
    }
    assert (
        table.table([before, now]).splitlines()[-1]
        == "| tweeteval-irony | macro f1, own threshold |  | 0.750 |"
    )


def test_a_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "sms-spam").mkdir(parents=True)
    lines = "".join(f"{label}\t{text}\n" for label, text in messages())
    (data / "sms-spam" / "SMSSpamCollection").write_text(lines, encoding="utf-8")
    out = tmp_path / "figures.jsonl"
    arguments = [
        "quality",
        "--data",
        str(data),
        "--out",
        str(out),
        "--method",
        "tfidf",
        "--task",
        "sms-leakfree",
        "--seeds",
    ]
    for seeds in ("1", "3"):
        monkeypatch.setattr(sys, "argv", [*arguments, seeds])
        quality.main()
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2] and all(
        row["fit_s"] > 0 and row["messages_per_s"] > 0 for row in rows
    )
    monkeypatch.setattr(sys, "argv", ["quality", "--out", str(out), "--table"])
    quality.main()
    assert "| sms-leakfree | mcc |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--data None: expected the folder of the data sets"),
        (["--data", "nowhere"], "--data nowhere: expected the folder of the data sets"),
        (["--data", ".", "--task", "trec7"], "--task trec7: expected one of sms-tp2, "),
        (
            ["--data", ".", "--method", "minilm"],
            "--method minilm: expected majority, tfidf, tfidf-threshold, minilm",
        ),
        (
            ["--data", ".", "--method", "setfit"],
            "tfidf-threshold, minilm, minilm-full or setfit (with --teacher FOLDER)",
        ),
        (
            ["--data", ".", "--set", "train.epochs"],
            "setting: expected name=value, got 'train.epochs'",
        ),
    ],
)
def test_wrong_usage_is_told_in_a_line(
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", "--out", "out.jsonl", *options])
    with pytest.raises(SystemExit) as ended:
        quality.main()
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_what_a_fit_costs_is_the_median_of_what_is_there() -> None:
    seconds = ((1.0, 10.0), (3.0, 2_000.0), (2.0, 30.0))
    rows = [
        {"method": "one", "task": "trec6", "fit_s": fit_s, "messages_per_s": speed}
        for fit_s, speed in seconds
    ]
    rows.append({"method": "two", "task": "trec6", "fit_s": 83.4, "messages_per_s": 1_234.5})
    rows.append({"method": "majority", "task": "trec6", "fit_s": 0.0, "messages_per_s": 1e7})
    assert table.costs(rows).splitlines()[2:] == ["| trec6 | 2.0 s, 30/s | 83 s, 1,234/s |"]


def test_every_method_gives_a_row_of_probabilities_a_test_text() -> None:
    rows = messages()
    train, test = rows[:40], rows[114:]
    task = Task(
        "t",
        0,
        [t for _, t in train],
        [k for k, _ in train],
        [t for _, t in test],
        [k for k, _ in test],
        positive="spam",
    )
    settings = {"compute.threads": 1, "train.epochs": 1}
    for text in ("majority", "tfidf", "head=nano@head", "blocks=nano@blocks:1", "lora=nano@lora:2"):
        name, backbone, tune, method = named(text, None, settings)
        found = method(task)
        assert found.probabilities.shape == (10, 2) and np.allclose(found.probabilities.sum(1), 1)
        assert found.fit_s >= 0 and found.test_s > 0
        assert (name, backbone, tune) == (
            text.partition("=")[0],
            "nano" if "=" in text else "",
            text.partition("@")[2],
        )
    with pytest.raises(ValueError, match="minilm"):
        named("minilm", None, {})


@pytest.mark.parametrize("positive", [None, "spam"])
def test_the_rival_with_a_threshold_cuts_where_held_out_rows_say(
    positive: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from benchmarks.quality import methods
    from tamis.decision import macro_f1, thresholds
    from tamis.evaluation.baselines import tfidf_model

    rows = messages()
    train, test = rows[:90], rows[90:]
    task = Task(
        "t",
        0,
        [t for _, t in train],
        [k for k, _ in train],
        [t for _, t in test],
        [k for k, _ in test],
        positive=positive,
    )
    asked = []
    # Without a positive class both classes count.
    module, name = (
        (macro_f1, "macro_f1_threshold") if positive is None else (thresholds, "choose_threshold")
    )
    choose = getattr(module, name)

    def told(scores: np.ndarray, is_positive: np.ndarray, **rest: object) -> thresholds.Threshold:
        asked.append((scores, is_positive))
        chosen: thresholds.Threshold = choose(scores, is_positive, **rest)
        return chosen

    monkeypatch.setattr(module, name, told)
    found, plain = methods.tfidf_threshold(task), methods.tfidf(task)
    ((scores, is_positive),) = asked
    fitted = (
        tfidf_model().fit(task.train_texts, task.train_labels).predict_proba(task.train_texts)[:, 1]
    )
    assert is_positive.tolist() == [label == "spam" for label in task.train_labels]
    assert np.abs(scores - fitted).mean() > 0.01  # not of rows that were fitted on
    assert found.labels is not None and np.array_equal(found.probabilities, plain.probabilities)
    budget = {} if positive is None else {"max_fpr": None}
    cut = choose(scores, is_positive, **budget, level_rows=3, level_share=0.25).value
    assert [label == "spam" for label in found.labels] == (
        plain.probabilities[:, 1] >= cut
    ).tolist()
    three = Task("t", 0, ["a b", "c d", "e f"] * 2, ["1", "2", "3"] * 2, ["a b"], ["1"])
    assert methods.tfidf_threshold(three).labels is None


def test_what_tamis_labels_is_by_its_own_threshold() -> None:
    rows = messages()
    train, test = rows[:90], rows[90:]
    wrong = ["spam" if number % 3 == 0 else label for number, (label, _) in enumerate(train)]
    task = Task("t", 0, [t for _, t in train], wrong, [t for _, t in test], [k for k, _ in test])
    settings = {"compute.threads": 1, "decision.max_fpr": 0.0}
    found = named("head=nano@head", None, settings)[3](task)
    assert (
        found.labels is not None
        and found.labels.count("spam") != (found.probabilities[:, 1] >= 0.5).sum()
    )


def test_runs_are_pooled_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, rows: list[tuple[str, str, str, float]]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        figures = {"average_precision": 0.25, "mcc": 0.5}
        report = {
            "positive": "spam",
            "test": figures | {"mcc": 0.125},
            "baselines": {"tfidf": figures | {"average_precision": 0.75}},
        }
        (folder / "report.json").write_text(json.dumps(report))
        keys = ("part", "label", "verdict")
        lines = [
            {
                **dict(zip(keys, row[:3], strict=True)),
                "predicted": "spam" if row[3] >= 0.5 else "ham",
                "probabilities": {"spam": row[3]},
            }
            for row in rows
        ]
        (folder / "predictions.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return folder

    one = run(
        "one",
        [
            ("validation", "ham", "spam", 0.9),
            ("test", "spam", "spam", 1.0),
            ("test", "ham", "unsure", 0.5),
        ],
    )
    two = run(
        "two",
        [("test", "spam", "ham", 0.0), ("test", "ham", "ham", 0.0), ("test", "ham", "ham", 0.0)],
    )
    found = pooled.pooled([one, two])
    assert (found["runs"], found["rows"], found["errors"]) == (2, 5, 2)
    assert (
        found["recall"],
        found["false_positive_rate"],
        found["unsure"],
        found["errors_in_band"],
    ) == (1 / 2, 1 / 3, 1 / 5, 1 / 2)
    assert found["ece"] == pytest.approx((abs(0 - 1 / 3) * 3 + 0.5 + 0) / 5)
    assert found["recall_ci95"][0] < 0.5 < found["recall_ci95"][1]
    assert found["each"][1] == {
        "average_precision": 0.25,
        "mcc": 0.0,
        "tfidf_average_precision": 0.75,
        "tfidf_mcc": 0.5,
    }
    assert (
        found["each"][0]["mcc"] == 0.0
    )  # the likelier class: spam for both, whatever the run's own threshold says
    out = tmp_path / "pooled.json"
    out.write_text('{"before": {"runs": 1}, "a": {}}', encoding="utf-8")
    monkeypatch.setattr(
        sys, "argv", ["pooled", str(one), str(two), "--name", "a", "--out", str(out)]
    )
    pooled.main()
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "before": {"runs": 1},
        "a": json.loads(json.dumps(found)),
    }


def test_every_task_is_shown() -> None:
    assert set(tasks(Path("nowhere"))) == set(table.FIGURES)


def test_figures_of_an_earlier_nano_are_not_shown_as_the_present_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "embedded_fingerprint", lambda: "abc")
    rows = [
        {"method": "tfidf"},
        {"method": "nano-head", "of": "abc"},
        {"method": "nano-head", "of": "before"},
    ]
    assert table.current(rows) == rows[:2]
