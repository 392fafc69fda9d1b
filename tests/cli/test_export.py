"""`tamis export`, and the commands that read an exported folder without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tamis.classifier.model_folder import find_model
from tamis.export.description import ModelDescription
from tests import runs
from tests.cli.test_serve import call, serving
from tests.export.exported import LONG, ODD, TEXTS, folder
from tests.runs import tamis

WITHOUT_TORCH = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'onnx', 'scipy', 'sklearn', 'transformers'):
            raise RuntimeError(f'{name} was imported')
sys.meta_path.insert(0, Refused())
"""
"""Put before a process: importing one of these packages is an error."""


def lines(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def exported() -> Path:
    """The exported folder of the finished run, as the command writes it."""

    def make(path: Path) -> None:
        said = tamis("export", runs.finished_run(), "--to", "onnx", "-o", path, "--threads", "1")
        assert said.code == 0, said.err
        assert "checked on" in said.err and "probabilities differ by at most" in said.err
        assert [line.split("\t")[0].rpartition("/")[2] for line in said.out.splitlines()] == [
            "model.onnx",
            "predict.py",
            "tamis.json",
            "tokenizer.json",
        ]

    return runs.made_once("exported-by-the-command", make)


def test_predictions_are_those_of_the_run_to_the_last_evaluated_message(exported: Path) -> None:
    rows = lines((runs.finished_run() / "predictions.jsonl").read_text(encoding="utf-8"))
    rows = [row for row in rows if row["part"] == "test"]
    texts = [str(row["text"]) for row in rows]
    found = lines(tamis("predict", exported, *texts, "--json", "--threads", "1").out)
    assert [one["label"] for one in found] == [row["predicted"] for row in rows]
    assert [one["verdict"] for one in found] == [row["verdict"] for row in rows]
    for one, row in zip(found, rows, strict=True):
        assert one["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)


def test_predict_and_explain_say_the_same_of_both_folders(exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("number,text\n" + "".join(f"{n},{t!r}\n" for n, t in enumerate(TEXTS[:9])))
    for options in (
        ["--json", "--windows", *TEXTS[:9], *[text for text in ODD if "\x00" not in text]],
        ["--exit-code", TEXTS[0]],
        ["--exit-code", LONG],
        ["--file", file, "--json"],
    ):
        own, other = (
            tamis("predict", run, "--threads", "1", *options)
            for run in (runs.finished_run(), exported)
        )
        assert own.code == other.code
        if "--json" not in options:
            continue
        for one, wanted in zip(lines(other.out), lines(own.out), strict=True):
            assert one.pop("probabilities") == pytest.approx(wanted.pop("probabilities"), abs=1e-5)
            one.pop("verdict"), wanted.pop("verdict")  # an edge of the band is a score of the rows
            assert one == wanted
    own, other = (
        json.loads(tamis("explain", run, LONG, "--json", "--threads", "1").out)
        for run in (runs.finished_run(), exported)
    )
    for name in ("tokens", "words"):
        assert len(own[name]) == len(other[name]) > 10
    assert [word["attribution"] for word in other["words"]] == pytest.approx(
        [word["attribution"] for word in own["words"]], abs=1e-3
    )
    assert [token["probability"] for token in other["tokens"]] == pytest.approx(
        [token["probability"] for token in own["tokens"]], abs=1e-4
    )


def test_predict_imports_no_torch(exported: Path) -> None:
    program = f"{WITHOUT_TORCH}\nfrom tamis.cli import main\nmain()"
    found = subprocess.run(
        [sys.executable, "-c", program, "predict", exported, "win a prize", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    (said,) = lines(found.stdout)
    (wanted,) = lines(tamis("predict", exported, "win a prize", "--json", "--threads", "1").out)
    assert said.pop("probabilities") == pytest.approx(wanted.pop("probabilities"), abs=1e-6)
    assert said == wanted


def test_serve_imports_no_torch_and_answers_as_the_run(exported: Path, tmp_path: Path) -> None:
    place = runs.copy_of(exported, tmp_path / "small")
    texts = TEXTS[:20] + ODD
    own = tamis("predict", runs.finished_run(), *texts[:20], "--json", "--threads", "1")
    with serving(place, before=WITHOUT_TORCH) as (process, address):
        status, answer = call(address, "/v1/predict", {"texts": texts})
        assert status == 200 and len(answer["results"]) == len(texts)
        for one, wanted in zip(answer["results"], lines(own.out), strict=False):
            assert one["label"] == wanted["label"]
            assert one["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
        status, explained = call(address, "/v1/explain", {"texts": ["win a prize now"]})
        assert status == 200 and len(explained["results"][0]["words"]) == 4
        correction = {"items": [{"text": "win a prize", "label": "ham", "force": True}]}
        status, stored = call(address, "/v1/feedback", correction)
        assert status == 200 and len(stored["ids"]) == 1 and stored["learned"] is False
        assert call(address, "/v1/feedback")[1]["items"][0]["id"] == stored["ids"][0]
        (model,) = call(address, "/v1/models")[1]["models"]
        assert model["pending"] == 1 and model["labels"] == ["ham", "spam"]
        assert call(address, "/v1/predict", {"texts": ["win a prize"]})[0] == 200
        assert call(address, "/healthz")[0] == 200
        assert process.poll() is None
    assert (tmp_path / "small.feedback.sqlite").is_file()


def test_int8_and_the_default_folder(tmp_path: Path) -> None:
    run = runs.copy_of(runs.finished_run(), tmp_path / "mine")
    said = tamis("export", run, "--int8", "--json", "--threads", "1")
    assert said.code == 0, said.err
    assert "comparing int8 with fp32 on" in said.err and "validation texts of the run" in said.err
    answer = json.loads(said.out)
    assert answer["folder"] == str(tmp_path / "mine-onnx-int8")
    assert answer["precision"]["type"] == "int8"
    assert answer["precision"]["agreement"]["label_agreement"] >= 0.998
    assert set(answer["files"]) == {"model.onnx", "predict.py", "tamis.json", "tokenizer.json"}
    meta = json.loads((tmp_path / "mine-onnx-int8" / "tamis.json").read_text(encoding="utf-8"))
    assert ModelDescription.from_dict(meta, "").precision == answer["precision"]
    texts = tmp_path / "texts.csv"
    texts.write_text("n,text\n" + "".join(f"{n},text {n}\n" for n in range(30)))
    model = find_model(run)  # alone, a model folder has no texts
    said = tamis("export", model, "--int8", "--data", texts, "-o", tmp_path / "b", "--threads", "1")
    assert said.code == 0 and f"30 texts of {texts}" in said.err, said.err
    assert "of 30 labels as in fp32" in said.out


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    run, out = runs.head_model(), tmp_path / "out"
    out.mkdir()  # an empty folder is nothing
    assert tamis("export", run, "-o", out, "--threads", "1").code == 0
    before = runs.contents(out)
    error = tamis("export", run, "-o", out).error
    assert (
        error == f"tamis: {out} exists; choose another folder with -o, or pass --overwrite to "
        "replace it"
    )
    (out / "predict.py").unlink()
    assert tamis("export", run, "-o", out, "--overwrite", "--threads", "1").code == 0
    assert runs.contents(out) == before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    assert "is not an exported folder" in tamis("export", run, "-o", foreign, "--overwrite").error
    assert (foreign / "letter.txt").read_text() == "mine"
    assert "is not an exported folder" in tamis("export", run, "-o", run, "--overwrite").error


def test_known_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = runs.head_model(), tmp_path / "out"
    nowhere = tmp_path / "nowhere"
    assert "nowhere does not exist" in tamis("export", nowhere, "-o", out).error
    assert "is already an exported folder" in tamis("export", folder("mean"), "-o", out).error
    assert (
        "opset: expected a version from 17" in tamis("export", run, "-o", out, "--opset", "9").error
    )
    assert (
        "got none; export a run with evaluated rows, or pass a table of texts with --data"
        in tamis("export", run, "-o", out, "--int8", "--threads", "1").error
    )
    assert (
        "is an exported folder, which can be used to predict"
        in tamis("evaluate", folder("mean"), runs.table()).error
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "exporting to ONNX needs the package 'onnx'" in tamis("export", run, "-o", out).error
    assert not out.exists()
    wrong = tamis("export", run, "--data", out)
    assert wrong.code == 2 and "--data: only --int8" in wrong.err
    assert tamis("export", run, "--to", "tflite").code == 2


def test_damaged_evaluated_rows_ask_for_texts(tmp_path: Path) -> None:
    run = runs.copy_of(runs.finished_run(), tmp_path / "mine")
    (run / "predictions.jsonl").write_text('{"part": "test"}\n')
    said = tamis("export", run, "--int8", "--threads", "1")
    assert (
        "predictions.jsonl cannot be read (KeyError: 'text'); pass a table of texts" in said.error
    )


def test_ood_of_an_exported_model_is_unknown_and_says_so(exported: Path) -> None:
    said = tamis("predict", exported, "a text", "--ood", "--json", "--threads", "1")
    assert "so `ood` is unknown; use the run that was exported" in said.err
    (found,) = lines(said.out)
    assert found["ood"] is None and found["ood_score"] is None
