"""What a finished run holds: the report's keys, its figures recounted from predictions.jsonl, and
the words for a collapsed model.
"""

from __future__ import annotations

import html
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from tamis import TextClassifier
from tamis.classifier.training_features import read_training_rows
from tamis.config import read_recipe
from tamis.evaluation.report.next_steps import next_steps
from tests import runs
from tests.rows import messages

FIGURES = {
    *(
        "n",
        "accuracy",
        "balanced_accuracy",
        "recall",
        "precision",
        "f1",
        "mcc",
        "average_precision",
        "roc_auc",
    ),
    *("false_positive_rate", "ece", "brier", "confusion", "ci95"),
}
REPORT = {
    *(
        "rows",
        "classes",
        "positive",
        "split",
        "backbone",
        "tune",
        "threshold",
        "test",
        "validation",
        "baselines",
        "mcnemar",
        "timing",
    ),
    "versions",
}


@cache
def report() -> dict[str, Any]:
    return json.loads((runs.finished_run() / "report.json").read_text(encoding="utf-8"))


def lines(name: str, run: Path | None = None) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in ((run or runs.finished_run()) / name).read_text(encoding="utf-8").splitlines()
    ]


def part(name: str) -> list[dict[str, Any]]:
    return [row for row in lines("predictions.jsonl") if row["part"] == name]


def test_the_folder_holds_what_it_promises_and_nothing_else() -> None:
    found = {file.name for file in runs.finished_run().iterdir()}
    promised = {
        "model",
        "report.html",
        "report.json",
        "predictions.jsonl",
        "history.jsonl",
        "recipe.toml",
    }
    promised.add("features.safetensors")
    assert found - {"plots"} == promised  # the tests' runs draw no plots; the one below does
    assert not [
        file
        for file in runs.contents(runs.finished_run())
        if ".part" in file or file.endswith("lock")
    ]


def test_a_process_of_its_own_gives_the_same_bytes_and_draws_the_plots(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = runs.process("train", runs.table(), *runs.TINY, "-o", run)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    for name in (
        *(
            "model/model.safetensors",
            "model/tokenizer.json",
            "predictions.jsonl",
            "history.jsonl",
            "recipe.toml",
        ),
        "features.safetensors",
    ):
        assert (run / name).read_bytes() == (runs.finished_run() / name).read_bytes(), name
    assert {file.stem for file in (run / "plots").iterdir()} == {
        *("loss", "accuracy", "confusion", "calibration", "precision_recall"),
    }
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in (run / "plots").iterdir())
    assert (run / "report.html").read_text(encoding="utf-8").count("data:image/png;base64,") >= 5
    assert f"run folder: {run}" in out.decode()


def test_the_report_has_its_keys() -> None:
    assert set(report()) >= REPORT
    assert sum(report()["summary"]["model"].values()) == 1000
    assert report()["next_steps"] == next_steps(report()), "with what was added after it was built"
    assert 'id="tamis-slide"' in (runs.finished_run() / "report.html").read_text(encoding="utf-8")
    for figures in (report()["test"], report()["validation"], *report()["baselines"].values()):
        assert set(figures) >= FIGURES
    assert set(report()["baselines"]) == {"majority", "tfidf"}
    assert {"data", "train", "test", "messages_per_s", "device", "dtype", "reasons"} <= set(
        report()["timing"]
    )
    assert "dtype" in report()["timing"]["reasons"]
    assert {"tamis", "torch", "numpy", "tokenizers"} <= set(report()["versions"])
    assert (report()["backbone"], report()["tune"], report()["split"]) == (
        "scratch:tiny",
        "full",
        "leakfree",
    )
    assert (report()["classes"], report()["positive"]) == (["ham", "spam"], "spam")


def test_the_parts_add_up() -> None:
    rows = report()["rows"]
    assert rows["train"] + rows["test"] == 124  # the validation rows are among the training rows
    assert (len(part("validation")), len(part("test"))) == (rows["validation"], rows["test"])
    assert (report()["validation"]["n"], report()["test"]["n"]) == (
        rows["validation"],
        rows["test"],
    )


def test_predictions_have_their_keys_and_follow_the_rule() -> None:
    texts = {text: label for label, text in messages()}
    threshold = report()["threshold"]
    for name in ("validation", "test"):
        assert [row["row"] for row in part(name)] == list(range(len(part(name))))
    for row in lines("predictions.jsonl"):
        assert set(row) >= {"part", "row", "label", "verdict", "probabilities"}
        assert (
            set(row["probabilities"]) == {"ham", "spam"}
            and abs(sum(row["probabilities"].values()) - 1) < 1e-9
        )
        assert texts[row["text"]] == row["label"]
        assert row["predicted"] == ("spam" if row["probabilities"]["spam"] >= threshold else "ham")
        assert row["verdict"] in (row["predicted"], "unsure")


@pytest.mark.parametrize("name", ["test", "validation"])
def test_the_figures_are_those_of_the_predictions(name: str) -> None:
    truth = np.array([row["label"] == "spam" for row in part(name)])
    scores = np.array([row["probabilities"]["spam"] for row in part(name)])
    flagged = scores >= report()["threshold"]
    figures = report()[name]
    assert figures["accuracy"] == pytest.approx((flagged == truth).mean())
    assert figures["recall"] == pytest.approx(flagged[truth].mean())
    assert figures["false_positive_rate"] == pytest.approx(flagged[~truth].mean())
    assert figures["f1"] == pytest.approx(f1_score(truth, flagged))
    assert figures["mcc"] == pytest.approx(matthews_corrcoef(truth, flagged))
    assert figures["average_precision"] == pytest.approx(average_precision_score(truth, scores))
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(truth, scores))
    assert figures["brier"] == pytest.approx(((scores - truth) ** 2).mean())


def test_the_majority_baseline_is_the_share_of_ham() -> None:
    truth = [row["label"] for row in part("test")]
    majority = report()["baselines"]["majority"]
    assert (
        majority["accuracy"] == pytest.approx(truth.count("ham") / len(truth))
        and majority["recall"] == 0
    )


def test_test_rows_are_scored_as_the_saved_model_scores_them() -> None:
    texts = [row["text"] for row in part("test")]
    there = runs.scores_in_transformers(
        runs.finished_run() / "model", [t for t in texts if len(t) < 60]
    )
    here = np.array(
        [
            [row["probabilities"]["ham"], row["probabilities"]["spam"]]
            for row in part("test")
            if len(row["text"]) < 60
        ]
    )
    assert len(here) > 10 and np.abs(there - here).max() < 1e-5
    loaded = TextClassifier.load(runs.finished_run(), threads=1).verdicts(texts)
    for verdict, row in zip(loaded, part("test"), strict=True):
        assert (verdict.label, verdict.verdict) == (row["predicted"], row["verdict"])
        assert verdict.probabilities["spam"] == pytest.approx(
            row["probabilities"]["spam"], abs=1e-6
        )


def test_the_history_has_a_line_a_step_and_the_epochs_figures() -> None:
    steps = [row["step"] for row in lines("history.jsonl") if "loss" in row]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > 2
    epochs = [row for row in lines("history.jsonl") if "validation_loss" in row]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    assert all(row["learning_rate"] > 0 for row in lines("history.jsonl") if "loss" in row)


def test_the_recipe_is_resolved() -> None:
    recipe = read_recipe(runs.finished_run() / "recipe.toml")
    assert (recipe.tune, recipe.compute.device, recipe.compute.threads, recipe.compute.dtype) == (
        "full",
        "cpu",
        1,
        "fp32",
    )
    assert (
        recipe.train.dropout is not None
        and recipe.train.head_learning_rate is not None
        and recipe.text.pooling == "mean"
    )


def test_a_model_that_never_answers_spam_is_called_out(tmp_path: Path) -> None:
    said = runs.tamis(
        *(
            "train",
            str(runs.table()),
            *runs.TINY,
            "--json",
            "--class-weight",
            "ham=1000,spam=0.001",
        ),
        *("--set", "data.validation_share=0", "-o", str(tmp_path / "run")),
    )
    warnings = " ".join(json.loads(said.out)["warnings"])
    assert "The model predicts 'ham' for all texts." in warnings
    assert "Classes that occur but are never predicted: 'spam'" in warnings
    assert "Recall is 0" in warnings
    assert "predicts 'ham' for all texts" in html.unescape(
        (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    )
    assert "Some classes have no held-out rows, so the threshold is 0.5" in " ".join(
        json.loads(said.out)["notes"]
    )


def test_a_budget_that_the_rows_cannot_show_is_said_with_its_bound(tmp_path: Path) -> None:
    said = runs.tamis(
        "train",
        runs.table(),
        *runs.TINY,
        "--tune",
        "head",
        "--max-fpr",
        "0.001",
        "--json",
        "-o",
        tmp_path / "run",
    )
    assert said.code == 0, said.err
    found = json.loads(said.out)
    choice = found["threshold_choice"]
    assert choice["resolved"] is False and choice["false_positive_rate"] == 0
    # All training rows are scored out of fold where the head alone is trained.
    rows = choice["notes"][0].split()[0]
    assert int(rows) > 70 and f"{rows} ham rows are too few for max_fpr = 0.1 %" in " ".join(
        found["warnings"]
    )
    assert choice["false_positive_rate_upper95"] == pytest.approx(1 - 0.05 ** (1 / int(rows)))
    assert f"{100 * choice['false_positive_rate_upper95']:.2f} % (upper 95 % bound)" in " ".join(
        found["warnings"]
    )


def test_a_budget_on_the_embedded_backbone_is_read_off_every_training_row(tmp_path: Path) -> None:
    asked: list[str | Path] = [
        "train",
        runs.write_table(tmp_path / "messages.tsv", messages()[:64]),
        "--backbone",
        "nano",
        "--max-fpr",
        "10%",
        "--set",
        "train.epochs=1",
        "--threads",
        "1",
        "--json",
    ]
    said = runs.tamis(*asked, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    assert "Training up to 5 cross-validation models" in said.err
    found = json.loads(said.out)
    rows = read_training_rows(tmp_path / "run")
    assert rows is not None and not rows.held_out.any()  # the model has learnt all of them
    assert (
        found["validation"]["n"] == found["rows"]["validation"] > 0
    )  # judged by models that had not
    assert found["threshold_choice"]["false_positive_rate"] <= 0.1
    assert not (tmp_path / "run" / "checkpoint").exists()
    text = (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    assert "folds = 5" in text
    spread = found["folds"]
    assert spread["folds"] == 5 and spread["rows"] == found["rows"]["train"]
    page = html.unescape((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert f"5-fold cross-validation on the {spread['rows']:,} training rows" in page
    assert f"F1 {spread['figures']['f1']['mean']:.3f} ±" in (
        tmp_path / "run" / "model" / "README.md"
    ).read_text(encoding="utf-8")


def test_three_classes_are_judged_by_macro_averages_and_a_table(tmp_path: Path) -> None:
    rows = [
        (("plan", "chat")[i % 2] if label == "ham" else "spam", text)
        for i, (label, text) in enumerate(messages())
    ]
    data = runs.write_table(tmp_path / "three.tsv", rows)
    said = runs.tamis("train", data, *runs.TINY, "--tune", "head", "--json", "-o", tmp_path / "run")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["classes"], found["positive"], found["threshold"]) == (
        ["chat", "plan", "spam"],
        None,
        None,
    )
    assert set(found["test"]) >= FIGURES and len(found["test"]["confusion"]) == 3
    assert [row["label"] for row in found["test"]["per_class"]] == ["chat", "plan", "spam"]
    recalls = [row["recall"] for row in found["test"]["per_class"]]
    assert found["test"]["recall"] == pytest.approx(np.mean(recalls))
    for row in lines("predictions.jsonl", tmp_path / "run"):
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].get)


def test_without_test_rows_a_run_is_finished_all_the_same(tmp_path: Path) -> None:
    said = runs.tamis(
        "train",
        runs.table(),
        *runs.TINY,
        "--tune",
        "head",
        "--split",
        "none",
        "--json",
        "-o",
        tmp_path / "run",
    )
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (
        found["test"] is None
        and found["rows"]["train"] == 124
        and found["rows"]["test"] == 0
        and found["baselines"] == {}
    )


def test_a_test_file_of_its_own_is_judged_whole(tmp_path: Path) -> None:
    test = runs.write_table(
        tmp_path / "new.tsv",
        [("ham", "on my way, 5 min"), ("spam", "Claim ur prize at win.example"), ("ham", "ok")],
    )
    said = runs.tamis(
        "train",
        runs.table(),
        *runs.TINY,
        "--tune",
        "head",
        "--test",
        test,
        "--json",
        "-o",
        tmp_path / "run",
    )
    assert said.code == 0, said.err
    assert (
        json.loads(said.out)["rows"]["test"] == 3 and json.loads(said.out)["rows"]["train"] == 124
    )
    assert [
        row["text"] for row in lines("predictions.jsonl", tmp_path / "run") if row["part"] == "test"
    ][2] == "ok"
    assert json.loads(said.out)["test_data"] == "new.tsv"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<span>test file new.tsv</span>" in page and "split leakfree" not in page


def test_evaluating_the_splits_test_rows_repeats_the_reports_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = runs.tamis(
        "evaluate",
        runs.finished_run(),
        runs.table(),
        "--split",
        "leakfree",
        "--threads",
        "1",
        "--json",
        "--out",
        page,
    )
    assert said.code == 0, said.err
    again, before = json.loads(said.out)["test"], report()["test"]
    assert set(again) == set(before)
    for name, value in before.items():
        if isinstance(value, float):
            assert again[name] == pytest.approx(value, abs=1e-6), name
    assert again["confusion"] == before["confusion"] and again["n"] == before["n"]
    assert page.read_text(encoding="utf-8").startswith(
        "<!doctype html>"
    ) or "<html" in page.read_text(encoding="utf-8")


def test_evaluating_without_a_split_judges_every_row() -> None:
    said = runs.tamis("evaluate", runs.finished_run(), runs.table(), "--json")
    found = json.loads(said.out)
    assert (
        found["test"]["n"] == 124
        and found["split"] == "all rows"
        and found["threshold"] == report()["threshold"]
    )


def test_a_model_without_tamis_json_is_evaluated_at_one_half(tmp_path: Path) -> None:
    model = runs.copy_of(runs.finished_run() / "model", tmp_path / "model")
    (model / "tamis.json").unlink()
    said = runs.tamis("evaluate", model, runs.table(), "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["threshold"], found["positive"]) == (0.5, "spam")
    assert not any(
        "training rows of this model" in note for note in found["notes"]
    )  # nothing is known of its rows


def test_evaluate_says_how_many_texts_the_model_learnt_from(tmp_path: Path) -> None:
    run = runs.finished_run()
    judged = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    learnt = len(messages()) - sum(row["part"] == "test" for row in judged)
    for folder in (run, run / "model"):
        found = json.loads(
            runs.tamis("evaluate", folder, runs.table(), "--json", "--threads", "1").out
        )
        (note,) = [note for note in found["notes"] if "training rows of this model" in note]
        assert note.startswith(
            f"{learnt:,} of the {found['test']['n']:,} evaluated texts are training rows of this "
            "model"
        )
    fresh = runs.write_table(tmp_path / "fresh.tsv", [("ham", "hi there"), ("spam", "WIN now")])
    assert not any(
        "training rows of this model" in n
        for n in json.loads(runs.tamis("evaluate", run, fresh, "--json", "--threads", "1").out)[
            "notes"
        ]
    )


def test_evaluate_names_the_row_of_a_label_that_the_model_does_not_know(tmp_path: Path) -> None:
    data = runs.write_table(
        tmp_path / "other.tsv",
        [("ham", "hi there"), ("spam", "WIN now"), ("spam", "WIN"), ("eggs", "scrambled")],
    )
    error = runs.tamis("evaluate", runs.finished_run(), data, "--json").error
    assert "eggs" in error and "other.tsv" in error and "line 4" in error and "ham" in error


def test_attacks_are_judged_at_the_models_own_threshold_and_shown(tmp_path: Path) -> None:
    """The clean line is the report's own recall; the library's suite gives the same figures when it
    is called by hand.
    """
    from tamis.evaluation.robustness import evaluate_robustness
    from tamis.text.perturbations import PERTURBATIONS

    run, page = runs.finished_run(), tmp_path / "page.html"
    said = runs.tamis(
        "evaluate", run, runs.table(), "--robustness", "--json", "--threads", "1", "--out", page
    )
    report = json.loads(said.out)
    assert report["next_steps"] == next_steps(report), "robustness counts too"
    assert [row["perturbation"] for row in report["robustness"]] == ["clean", *PERTURBATIONS]
    clean = report["robustness"][0]
    assert clean["recall"] == pytest.approx(report["test"]["recall"]) and clean["changed"] == 0.0
    assert clean["false_positive_rate"] == pytest.approx(report["test"]["false_positive_rate"])
    classifier = TextClassifier.load(run, threads=1)
    texts, labels = [text for _, text in messages()], [label for label, _ in messages()]
    place = list(classifier.classes_).index("spam")
    truth = np.array([label == "spam" for label in labels])
    good = list(dict.fromkeys(text for text, spam in zip(texts, truth, strict=True) if not spam))
    threshold = classifier.rule_.threshold
    assert threshold is not None
    by_hand = evaluate_robustness(
        lambda some: classifier.predict_proba(some)[:, place],
        texts,
        truth,
        threshold=threshold,
        seed=42,
        ham=good,
        perturbations=["full_width"],
    )
    assert next(
        row for row in report["robustness"] if row["perturbation"] == "full_width"
    ) == json.loads(json.dumps(by_hand[1].to_dict()))
    written = page.read_text(encoding="utf-8")
    assert "<h2>Robustness</h2>" in written and all(name in written for name in PERTURBATIONS)
    shown = runs.tamis("evaluate", run, runs.table(), "--robustness", "--threads", "1")
    assert shown.code == 0 and "full_width" in shown.out
