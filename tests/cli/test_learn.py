"""`tamis learn` and `tamis evaluate --prequential`: what is said, what is kept, what is forgotten,
and errors on one line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tamis.feedback.attempts import Attempts
from tamis.feedback.in_effect import counted
from tamis.feedback.store import Correction, CorrectionStore, default_store
from tests import runs
from tests.cli.test_serve import call, serving
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
    # a table of the classes, or "unchanged" in a line
    assert "error rate on held-out rows, shared model" in said.out and "spam" in said.out
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
        and said["in_effect"] + said["held_back"] == said["corrections"] == 4
        and said["figures"]["anna"]["in_effect"] == said["in_effect"]
        and said["learned"] is (said["held_back"] == 0)
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
        "tamis.evaluation.report.evaluation_report.write_all", lambda *positional, **named: {}
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


def verdicts(*arguments: str | Path, stdin: bytes = b"") -> list[dict[str, object]]:
    said = tamis("predict", *arguments, "--json", *ONE, stdin=stdin)
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def test_every_command_uses_what_was_learned_and_says_so_in_one_line(
    run: Path, table: Path, tmp_path: Path
) -> None:
    items = mistaken(4)
    texts = [item.text for item in items]
    trained = verdicts(run, *texts)
    assert "corrections" not in trained[0] and tamis("predict", run, *texts, *ONE).err == ""
    learned = json.loads(tamis("learn", run, table, "--json", *ONE).out)
    assert learned["in_effect"] > 0
    said = tamis("predict", run, *texts, *ONE)
    line = (
        f"{counted(learned['in_effect'])} of {default_store(run)} "
        f"{'are' if learned['in_effect'] > 1 else 'is'} in effect (--no-feedback: the model as "
        "trained)"
    )
    assert len(said.err.splitlines()) == 1 and said.err.startswith(line)
    found = verdicts(run, *texts)
    assert [one["corrections"] for one in found] == [learned["in_effect"]] * 4
    assert [one["label"] for one in found].count("ham") != [one["label"] for one in trained].count(
        "ham"
    ) or found != trained
    off = tamis("predict", run, *texts, "--no-feedback", "--json", *ONE)
    assert off.err == "" and [json.loads(one) for one in off.out.splitlines()] == trained
    explained = tamis("explain", run, texts[0], "--json", *ONE)
    assert explained.err.startswith(line)
    why = json.loads(explained.out)
    assert why["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-6)
    assert why["corrections"] == learned["in_effect"]
    plain = json.loads(tamis("explain", run, texts[0], "--no-feedback", "--json", *ONE).out)
    assert plain["probabilities"] == pytest.approx(trained[0]["probabilities"], abs=1e-6)
    wrong = tamis("predict", run, "a", "--no-feedback", "--user", "anna")
    assert wrong.code == 2 and "--no-feedback" in wrong.err


def test_an_evaluation_says_which_model_and_leaves_out_what_it_has_learned(
    run: Path, table: Path, tmp_path: Path
) -> None:
    data = write_table(
        tmp_path / "data.tsv",
        [*messages()[:40], *((item.label, item.text) for item in mistaken(4))],
    )
    before = json.loads(tamis("evaluate", run, data, "--json", *ONE).out)
    assert before["feedback"] == {
        "store": None,
        "in_effect": 0,
        "not_in_effect": 0,
        "excluded_rows": 0,
    }
    used = json.loads(tamis("learn", run, table, "--json", *ONE).out)["in_effect"]
    after = json.loads(tamis("evaluate", run, data, "--json", *ONE).out)
    assert after["feedback"]["in_effect"] == after["feedback"]["excluded_rows"] == used
    assert after["test"]["n"] == before["test"]["n"] - used
    assert f"{used:,} of 44 rows are corrections that the model has learned" in str(after["notes"])
    assert f"has learned {used:,} corrections of {default_store(run)}" in str(after["notes"])
    off = json.loads(tamis("evaluate", run, data, "--no-feedback", "--json", *ONE).out)
    assert off["test"] == before["test"] and "corrections" not in str(off["notes"])


def test_an_evaluation_on_corrections_alone_says_what_its_figures_are(
    run: Path, table: Path
) -> None:
    used = json.loads(tamis("learn", run, table, "--force", "--json", *ONE).out)
    if used["held_back"]:
        pytest.skip("not all of these corrections pass the guards")
    report = json.loads(tamis("evaluate", run, table, "--json", *ONE).out)
    assert report["test"]["n"] == 4 and report["feedback"]["excluded_rows"] == 0
    assert "All 4 rows are corrections that the model has learned" in str(report["notes"])


def test_an_undo_leaves_a_head_that_is_read_and_the_list_says_what_is_in_effect(
    run: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tamis("learn", run, table, *ONE).code == 0
    items = json.loads(tamis("learn", run, "--json").out)["items"]
    effective = [item["id"] for item in items if item["in_effect"]]
    assert tamis("learn", run, "--undo", str(effective[0]), *ONE).code == 0

    def refit(*_: object, **__: object) -> None:
        raise AssertionError("a head was solved again")

    monkeypatch.setattr("tamis.feedback.refit.System.solve", refit)
    assert verdicts(run, "a text")
    listed = tamis("learn", run).out.splitlines()
    assert listed[0].split("  ")[0] == "id" and "in effect" in listed[0]
    assert len(listed) == len(items)


def test_pending_corrections_are_learned_without_a_file(run: Path, table: Path) -> None:
    store = CorrectionStore(default_store(run))
    store.add(mistaken(2), model="mine")
    store.close()
    said = tamis("predict", run, "a text", *ONE)
    assert f"2 corrections in {default_store(run)} are not in effect" in said.err
    learned = json.loads(tamis("learn", run, "--pending", "--json", *ONE).out)
    assert learned["ids"] == [] and learned["corrections"] == 2 and learned["in_effect"] >= 1
    assert tamis("learn", run, table, "--pending", *ONE).code == 2


def test_what_is_learned_in_part_is_called_so(
    run: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = mistaken(4)[0].text
    seen: list[bool] = []
    rows = Attempts.correction_rows

    def noticed(self: Attempts, wanted: Sequence[Correction]) -> object:
        seen.append(any(item.text == bad for item in wanted))
        return rows(self, wanted)

    monkeypatch.setattr(Attempts, "correction_rows", noticed)
    monkeypatch.setattr(
        "tamis.feedback.attempts.worse", lambda *figures: "for a reason" if seen[-1] else None
    )
    out = tamis("learn", run, table, *ONE).out
    assert (
        "learned: in part (3 of 4 corrections are in effect; 1 is held back: for a reason)" in out
    )
    listed = json.loads(tamis("learn", run, "--json").out)["items"]
    assert [item["in_effect"] for item in listed] == [False, True, True, True]


def test_an_export_has_the_learned_head_and_says_so(run: Path, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    used = json.loads(tamis("learn", run, table, "--json", *ONE).out)["in_effect"]
    said = tamis("export", run, "-o", tmp_path / "onnx", *ONE)
    assert said.code == 0, said.err
    assert f"the exported head has learned {counted(used)}" in said.err
    text = mistaken(1)[0].text
    (exported,), (here,) = verdicts(tmp_path / "onnx", text), verdicts(run, text)
    assert exported["probabilities"] == pytest.approx(here["probabilities"], abs=1e-4)
    plain = tamis("export", run, "-o", tmp_path / "plain", "--no-feedback", *ONE)
    assert plain.code == 0 and "learned" not in plain.err
    (trained,) = verdicts(run, text, "--no-feedback")
    (other,) = verdicts(tmp_path / "plain", text)
    assert other["probabilities"] == pytest.approx(trained["probabilities"], abs=1e-4)
    store = CorrectionStore(default_store(tmp_path / "onnx"))
    store.add(mistaken(1), model="onnx")
    store.close()
    assert (
        "is only stored: an exported model does not learn"
        in tamis("predict", tmp_path / "onnx", text, *ONE).err
    )


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_broken_store_is_one_line_and_can_be_left_out(run: Path, command: str) -> None:
    default_store(run).write_bytes(b"no database" * 200)
    assert "is not a store of corrections" in tamis(command, run, "a text", *ONE).error
    assert tamis(command, run, "a text", "--no-feedback", *ONE).code == 0


def test_a_server_that_runs_and_the_command_line_give_the_same_verdicts(
    run: Path, table: Path
) -> None:
    texts = [item.text for item in mistaken()]
    with serving(run) as (_, address):
        before = call(address, "/v1/predict", {"texts": texts})[1]["results"]
        assert tamis("learn", run, table, *ONE).code == 0
        expected = verdicts(run, *texts)
        until = time.monotonic() + 30
        while True:
            found = call(address, "/v1/predict", {"texts": texts})[1]["results"]
            if found != before:
                break
            assert time.monotonic() < until, "the server has not noticed the corrections"
            time.sleep(0.1)
        for one, other in zip(found, expected, strict=True):
            assert one["verdict"] == other["verdict"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
        kept = call(address, "/v1/feedback")[1]["items"]
        listed = json.loads(tamis("learn", run, "--json").out)["items"]
        assert [item["in_effect"] for item in kept] == [item["in_effect"] for item in listed]
    with serving(run, "--no-feedback") as (_, address):
        assert call(address, "/v1/predict", {"texts": texts})[1]["results"] == before
