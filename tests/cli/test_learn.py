"""`tamis learn` and `tamis evaluate --prequential`: what is said, what is kept, what is forgotten,
and errors on one line.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.feedback.store import CorrectionStore, default_store
from tests import runs
from tests.feedback.learners import head_run, mistaken
from tests.rows import messages
from tests.runs import tamis, write_table

ONE = ("--threads", "1")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy whose store would lie beside it."""
    return runs.copy_of(head_run(), tmp_path / "mine")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(
        tmp_path / "corrections.tsv", [(item.label, item.text) for item in mistaken(4)]
    )


def test_corrections_are_learnt_listed_and_undone(run: Path, table: Path) -> None:
    folder = runs.contents(run)
    said = tamis("learn", run, table, *ONE)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert (
        lines[0] == f"Stored 4 corrections in {default_store(run)}. To undo the first: "
        f"tamis learn {run} --undo 1"
    )
    assert lines[1].startswith("learned: ") and "4 corrections" in lines[1]
    assert "error rate on held-out rows, shared model" in said.out and any(
        line.startswith("spam") for line in lines
    )
    listed = tamis("learn", run)
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        [str(i), c.label] for i, c in enumerate(mistaken(4), 1)
    ]
    assert tamis("learn", run, "--undo", "2").out == "Removed 1 correction.\n"
    assert (
        "has no correction with id 2 for model 'mine'" in tamis("learn", run, "--undo", "2").error
    )
    assert mistaken(2)[1].text.encode() not in default_store(run).read_bytes()
    assert tamis("learn", run, "--undo", "all").out == "Removed 3 corrections.\n"
    assert tamis("learn", run).out == f"{default_store(run)} has no corrections for model 'mine'.\n"
    assert runs.contents(run) == folder


def test_for_machines_everything_is_json(run: Path, table: Path, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere" / "s.sqlite"
    said = json.loads(
        tamis(
            "learn", run, table, "--store", store, "--user", "anna", "--force", "--json", *ONE
        ).out
    )
    assert (
        said["ids"] == [1, 2, 3, 4]
        and isinstance(said["learned"], bool)
        and said["figures"]["anna"]["learnt"] >= 1
    )
    items = json.loads(tamis("learn", run, "--store", store, "--json").out)["items"]
    assert [(item["text"], item["label"], item["user"]) for item in items] == [
        (c.text, c.label, "anna") for c in mistaken(4)
    ]
    assert (
        all(item.force for item in CorrectionStore(store).all()) and not default_store(run).exists()
    )
    assert json.loads(tamis("learn", run, "--store", store, "--undo", "all", "--json").out) == {
        "removed": 4
    }


def test_undoing_all_of_a_user_leaves_the_others(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "one.csv"
    for name, item in zip(("anna", "bo"), mistaken(2), strict=True):
        table.write_text(f"label,text\n{item.label},{json.dumps(item.text)}\n")
        assert tamis("learn", run, table, "--user", name, *ONE).code == 0
    assert (
        tamis("learn", run, "--undo", "all", "--user", "nobody").out == "Removed 0 corrections.\n"
    )
    assert tamis("learn", run, "--undo", "all", "--user", "anna").out == "Removed 1 correction.\n"
    assert [item.user for item in CorrectionStore(default_store(run)).all()] == ["bo"]


def test_corrections_can_be_forgotten_after_the_run_is_gone(run: Path, table: Path) -> None:
    assert tamis("learn", run, table, *ONE).code == 0
    run.rename(run.with_name("moved"))
    assert tamis("learn", run, "--undo", "all").out == "Removed 4 corrections.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN", "no.csv"], "no.csv: there is no such file"),
        (["no-run", "TABLE"], "no-run does not exist; expected a run folder or a model folder"),
        (["no-run"], "no-run does not exist"),
        (["RUN"], "does not exist, so there are no corrections; add some with: tamis learn"),
        (["RUN", "--undo", "1"], "so there are no corrections"),
        (
            ["RUN", "WRONG"],
            "line 2: label 'spma' is not one of the model's labels ('ham', 'spam'); did you "
            "mean 'spam'?",
        ),
        (["RUN", "TABLE", "--store", "TABLE"], "is not a store of corrections"),
    ],
)
def test_a_known_error_is_one_line(
    arguments: list[str], words: str, run: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    wrong = write_table(
        table.with_name("wrong.tsv"),
        [("ham", "all fine here"), ("spma", "not this one"), ("spam", "win a prize")],
    )
    places = {"RUN": str(run), "TABLE": str(table), "WRONG": str(wrong)}
    error = tamis("learn", *[places.get(word, word) for word in arguments], *ONE, "--json").error
    assert words in error and (
        not default_store(run).exists() or CorrectionStore(default_store(run)).all() == []
    )
    assert not list(table.parent.glob("no-run*"))


@pytest.mark.parametrize("arguments", [["--undo", "x"], ["TABLE", "--undo", "1"], ["--undo", "-1"]])
def test_wrong_usage_ends_with_2(arguments: list[str], run: Path, table: Path) -> None:
    said = tamis("learn", run, *[str(table) if word == "TABLE" else word for word in arguments])
    assert said.code == 2 and said.out == "" and "--undo" in said.err


def test_prequential_prints_the_table_and_draws_the_curves_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tamis.workflows.evaluate.write_all", lambda *positional, **named: {}
    )  # the other plots have tests of their own
    table = write_table(tmp_path / "some.tsv", messages()[:50])
    said = tamis(
        "evaluate",
        head_run(),
        table,
        "--prequential",
        "--delay",
        "10",
        "--share",
        "0.5",
        "--out",
        tmp_path / "page.html",
        *ONE,
    )
    assert said.code == 0, said.err
    for words in (
        "1-ROCA %",
        "TF-IDF, logistic regression",
        "delayed by 10",
        "partial (50 %)",
        "this model, learning",
    ):
        assert words in said.out
    assert "note: TF-IDF starts with no labels" in said.out
    curves = tmp_path / "page-prequential.png"
    assert curves.read_bytes().startswith(b"\x89PNG") and f"wrote {curves}" in said.err
    assert "Prequential evaluation: 1-ROCA % of the messages so far" in (
        tmp_path / "page.html"
    ).read_text(encoding="utf-8")


def test_prequential_for_machines_holds_every_figure_and_the_curves(tmp_path: Path) -> None:
    table = write_table(tmp_path / "some.tsv", messages()[:40])
    report = json.loads(tamis("evaluate", head_run(), table, "--prequential", "--json", *ONE).out)
    divided = json.loads(
        tamis(
            "evaluate", head_run(), table, "--split", "stratified", "--prequential", "--json", *ONE
        ).out
    )["prequential"]
    assert (
        divided["notes"][0].startswith("TF-IDF starts with the training part of the split")
        and divided["results"][0]["messages"] == 8
    )
    found = report["prequential"]
    assert (found["delay"], found["share"], len(found["results"]), len(found["notes"])) == (
        100,
        0.1,
        10,
        2,
    )
    first = found["results"][0]
    test = report["test"]
    assert first["ham_misclassification"] == pytest.approx(
        100 * test["false_positive_rate"]
    ) and first["spam_misclassification"] == pytest.approx(100 * (1 - test["recall"]))
    assert (
        first["one_minus_roca"] == pytest.approx(100 * (1 - test["roc_auc"]))
        and first["curve"][-1][0] == 40
    )


def test_without_prequential_the_report_has_none(tmp_path: Path) -> None:
    table = write_table(tmp_path / "some.tsv", messages()[:20])
    assert "prequential" not in json.loads(tamis("evaluate", head_run(), table, "--json", *ONE).out)
