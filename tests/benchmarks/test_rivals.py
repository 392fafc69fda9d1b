"""The exported rivals compute the same network, and figures on disk survive an interruption."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import __main__ as speed
from benchmarks.speed import compare, parts, results, shared
from benchmarks.speed.results import Figure, Results
from tamis.classifier.saved_model import SavedModel, save_model
from tamis.gpt2.model import GPT2Classifier, GPT2Config
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer
from tamis.workflows import benchmark_contenders
from tests.rows import messages


def test_the_exported_graph_computes_the_same_logits(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from benchmarks.speed import onnx_model

    torch.manual_seed(3)  # of the head
    model = GPT2Classifier(
        shared.trunk(GPT2Config(vocab_size=97, n_positions=64, n_embd=24, n_layer=2, n_head=3)), 3
    ).eval()
    with torch.no_grad():
        for block in model.transformer.h:
            block.mlp.c_fc.weight.mul_(20.0)  # type: ignore[union-attr, operator] # far enough out that one GELU differs from the other
    texts = [
        np.random.default_rng(n).integers(0, 97, n).astype(np.int32) for n in (5, 11, 2, 5, 30)
    ]
    with torch.inference_mode():
        expected = model(pack(texts)).numpy()
    graph = onnx_model.export(model, tmp_path / "model.onnx")
    for tokens in (1000, 12):  # one batch, and one a message or two
        np.testing.assert_allclose(
            onnx_model.onnx_runtime(graph, threads=1, batch_tokens=tokens)(texts),
            expected,
            atol=1e-5,
        )
    small = onnx_model.onnx_runtime(onnx_model.quantised(graph), threads=1, batch_tokens=1000)(
        texts
    )
    assert 0 < np.abs(small - expected).max() < 0.3 * np.abs(expected).max()


def test_openvino_computes_the_same_logits(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino", reason="extra bench")
    from benchmarks.speed import onnx_model

    torch.manual_seed(3)  # of the head
    model = GPT2Classifier(
        shared.trunk(GPT2Config(vocab_size=97, n_positions=64, n_embd=24, n_layer=2, n_head=3)), 3
    ).eval()
    texts = [np.arange(n, dtype=np.int32) for n in (4, 9)]
    with torch.inference_mode():
        expected = model(pack(texts)).numpy()
    graph = onnx_model.export(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(
        onnx_model.openvino(graph, threads=1, batch_tokens=99)(texts), expected, atol=0.02
    )
    assert onnx_model.openvino_type(graph) in ("fp32", "bf16")


def figure(contender: str, number: int, value: float, **rest: object) -> Figure:
    return replace(Figure("part", "", contender, 2, number, value, "s"), **rest)  # type: ignore[arg-type]


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path, calls = tmp_path / "out.jsonl", []

    def contender(name: str) -> parts.Timed:
        def call(number: int) -> float:
            calls.append((name, number))
            return 1.0 + number

        return parts.Timed(name, call)

    speed.measure(
        "p", [contender("a"), contender("b")], Results(path), threads=1, rounds=2, settings={}
    )
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # killed while it wrote the last figure
    speed.measure(
        "p", [contender("a"), contender("b")], Results(path), threads=1, rounds=2, settings={}
    )
    assert calls[4:] == [("b", 1)]
    assert [f.value for f in Results(path).figures] == [1.0, 1.0, 2.0, 2.0]
    speed.measure("p", [contender("a")], Results(path), threads=2, rounds=1, settings={})
    assert calls[5:] == [("a", 0)]


def test_other_settings_are_other_figures_and_no_median_mixes_them(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    old = {
        "part": "p",
        "variant": "",
        "contender": "a",
        "threads": 1,
        "round": 0,
        "value": 7.0,
        "unit": "s",
        "size": 1.0,
        "about": {},
    }
    path.write_text(json.dumps(old) + "\n")  # as lines were before settings stood in them
    for share, seconds in ((0.15, 1.0), (0.5, 4.0), (0.15, 99.0)):  # the last is there already
        one = parts.Timed("a", lambda number, s=seconds: s + number)  # type: ignore[misc]
        speed.measure(
            "p",
            [one],
            Results(path),
            threads=1,
            rounds=2,
            settings={"model": "tiny", "share": share},
        )
    figures = Results(path).figures
    assert [(f.value, f.settings.get("share")) for f in figures] == [
        (7.0, None),
        (1.0, 0.15),
        (2.0, 0.15),
        (4.0, 0.5),
        (5.0, 0.5),
    ]
    assert [(row.median, row.times) for row in results.rows(figures)] == [
        (7.0, 1.0),
        (1.5, 1.0),
        (4.5, 1.0),
    ]
    for text in (results.markdown(figures[1:]), results.plain(figures[1:])):
        assert (
            "a, share 0.15" in text and "a, share 0.5" in text and "model" not in text
        )  # told apart by what differs
    assert "| a | 1 | 1.5 |" in results.markdown(figures[1:3])


@pytest.mark.parametrize(
    ("option", "value", "changed"),
    [
        ("loop_share", 0.5, {"job"}),
        ("share", 0.5, {"job", "frozen", "blocks", "full", "inference"}),
        ("pooling", "last", {"inference", "latency", "start", "growth", "length"}),
        ("calls", 9, {"latency"}),
        ("rows", 9, {"growth"}),
        ("tokens", 9, {"length"}),
        (
            "model",
            "tiny",
            {
                "job",
                "frozen",
                "blocks",
                "full",
                "inference",
                "latency",
                "start",
                "growth",
                "length",
            },
        ),
    ],
)
def test_every_option_that_changes_a_part_is_in_its_settings(
    option: str, value: object, changed: set[str]
) -> None:
    given = {
        "share": 1.0,
        "loop_share": 1.0,
        "pooling": "mean",
        "calls": 50,
        "rows": 500,
        "tokens": 16384,
        "model": "gpt2",
    }
    rows = shared.Rows(["a", "b"], np.array([0, 1]), ["c"], np.array([1]))
    before, after = (
        speed.settings_of(argparse.Namespace(**options), rows)
        for options in (given, given | {option: value})
    )
    assert set(before) == set(speed.parts_of(argparse.Namespace(**given)))
    assert {part for part in before if before[part] != after[part]} == changed
    other = speed.settings_of(argparse.Namespace(**given), replace(rows, train_texts=["a", "x"]))
    assert {part for part in before if before[part] != other[part]} == {
        "job",
        "frozen",
        "blocks",
        "full",
        "inference",
        "few",
    }


def test_the_references_loop_may_run_on_a_share_of_the_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = shared.Rows(
        [f"a{i}" for i in range(700)],
        np.arange(700) % 2,
        [f"b{i}" for i in range(300)],
        np.arange(300) % 2,
    )

    monkeypatch.setattr(
        compare,
        "gpt2_tokenizer",
        lambda: argparse.Namespace(prepared=lambda add_bos: argparse.Namespace(encode=list)),
    )
    monkeypatch.setattr(compare, "trunk", lambda: None)
    monkeypatch.setattr(
        "benchmarks.speed.reference.run_job",
        lambda _, a, y, b: argparse.Namespace(whole=float(len(a) + len(b)) * (len(a) == len(y))),
    )
    monkeypatch.setattr(
        "benchmarks.speed.jobs.whole_job",
        lambda _, given, **__: 10.0 * (len(given.train_texts) + len(given.test_texts)),
    )
    monkeypatch.setattr(
        "benchmarks.speed.jobs.by_command",
        lambda _, given, **__: 20.0 * (len(given.train_texts) + len(given.test_texts)),
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    of = argparse.Namespace(folder=tmp_path, rows=rows, threads=1)
    whole, some = (list(parts.job(of, loop_share=share)) for share in (1.0, 0.2))  # type: ignore[arg-type]
    assert whole[0].name == "reference loop" and [one.call(0) for one in whole] == [
        1000.0,
        10_000.0,
        10_000.0,
        20_000.0,
    ]
    assert [one.name for one in some] == [
        "reference loop, from 20% of the rows",
        "tamis, mean pooling",
        "tamis, last token",
        "tamis train, the command with its report",
    ]
    assert [one.call(0) for one in some] == [pytest.approx(1000.0), 10_000.0, 10_000.0, 20_000.0]


def test_only_the_contenders_asked_for_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contenders = [
        parts.Timed(name, lambda _: 1.0)
        for name in ("tamis fp32", "tamis int8", "ONNX Runtime int8", "TF-IDF")
    ]
    kept = Results(tmp_path / "out.jsonl")
    speed.measure(
        "p", contenders, kept, threads=1, rounds=1, settings={}, choice=speed.Choice(["int8", "TF"])
    )
    assert [f.contender for f in kept.figures] == ["tamis int8", "ONNX Runtime int8", "TF-IDF"]
    speed.measure(
        "p", contenders, kept, threads=1, rounds=1, settings={}, choice=speed.Choice(["int9", "TD"])
    )
    assert (
        len(kept.figures) == 3
        and "p: no contender has int9 or TD in its name" in capsys.readouterr().err
    )


def test_a_rivals_best_batch_is_told_but_is_no_part_of_its_name() -> None:
    figures = [
        figure("rival", n, 1.0 + n, about={"batch": f"{rows} rows"})
        for n, rows in enumerate((16, 64, 16))
    ]
    (row,) = results.rows(figures)
    assert (row.contender, row.median) == ("rival", 2.0)
    assert "| rival, batches of 16 rows and 64 rows | 2 | 2 |" in results.markdown(figures)


def test_ratios_and_shares_are_paired_round_by_round() -> None:
    figures = [
        figure("ceiling fp32", n, rate, unit="GFLOP/s")
        for n, rate in enumerate((100.0, 50.0, 80.0))
    ]
    figures += [figure("slow", n, value) for n, value in enumerate((4.0, 8.0, 9.0))]
    # 90 GFLOP in 1, 2 and 3 s: 90, 45 and 30 GFLOP/s of ceilings of 100, 50 and 80.
    figures += [
        figure("ours", n, value, size=90.0, about={"ceiling": "fp32"})
        for n, value in enumerate((1.0, 2.0, 3.0))
    ]
    found = {row.contender: row for row in results.rows(figures)}
    assert (found["slow"].median, found["slow"].times) == (8.0, 4.0)  # 4, 4 and 3 times
    assert found["ours"].times == 1.0 and found["ours"].share == pytest.approx(0.9)
    assert found["ceiling fp32"].times is None and found["slow"].share is None
    text = results.markdown(figures)
    assert "| slow | 2 | 8 | 4 to 9 | s | 4.00 |  |" in text and "| 90 % |" in text


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    assert parts.exponent([(10, 3.0), (40, 12.0), (160, 48.0)]) == pytest.approx(1.0)
    assert parts.exponent([(10, 1.0), (100, 100.0)]) == pytest.approx(2.0)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)
def test_the_parts_run_at_tiny_size(
    tmp_path: Path,
    sms_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark_contenders, "TRAINING_ROWS", 60)
    monkeypatch.setattr(speed, "worth_timing", lambda dtypes, threads: dtypes)
    out = tmp_path / "out.jsonl"
    sizes = ["--threads", "1", "--rounds", "1", "--tokens", "512", "--calls", "2"]
    common = ["--out", str(out), "--data", str(sms_file), "--model", "tiny", *sizes]
    speed.main(["inference", "latency", "length", "frozen", *common])
    figures = Results(out).figures
    names = {
        part: {f.contender for f in figures if f.part == part}
        for part in ("inference", "latency", "length", "frozen")
    }
    assert {"ceiling fp32", "tamis fp32", "tamis bf16", "TF-IDF + logistic regression"} <= names[
        "inference"
    ]
    assert {"transformers fp32", "transformers pipeline fp32"} <= names["inference"]
    assert (
        "transformers fp32" in names["latency"]
        and "transformers pipeline fp32" not in names["latency"]
    )
    about = {f.contender: f.about for f in figures if f.part == "inference"}
    assert about["transformers fp32"]["batch"] in ("16 rows", "64 rows")
    kinds = {
        name: row["ceiling"]
        for name, row in about.items()
        if "ceiling" in row and "OpenVINO" not in name
    }
    assert all(kind == name.split()[-1] for name, kind in kinds.items()) and {
        "tamis fp32",
        "transformers fp32",
    } <= set(kinds)
    if "ONNX Runtime int8" in names["inference"]:
        assert kinds["ONNX Runtime int8"] == "int8" and kinds["ONNX Runtime fp32"] == "fp32"
    assert {f.settings["tokens"] for f in figures if f.part == "length"} == {512}
    assert {f.variant for f in figures if f.part == "latency"} == {"p50", "p99"}
    assert names["length"] == {f"{n} tokens a message" for n in (16, 32, 64, 128, 256)}
    assert "tamis" in names["frozen"]
    assert all(f.value > 0 for f in figures)
    lines = out.read_bytes()
    speed.main(
        [
            "show",
            "--out",
            str(out),
            "--markdown",
            str(tmp_path / "t.md"),
            "--plot",
            str(tmp_path / "t.png"),
        ]
    )
    assert out.read_bytes() == lines and "### inference" in (tmp_path / "t.md").read_text()
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    assert "tamis fp32" in capsys.readouterr().out


def test_an_unknown_part_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        speed.main(["inferense", "--out", str(tmp_path / "out.jsonl")])
    assert (
        stopped.value.code == 2
        and "unknown part 'inferense'; expected one of job, frozen," in capsys.readouterr().err
    )
    assert len(messages()) > 100


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)
def test_the_pipeline_of_transformers_gives_the_models_labels(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from benchmarks.speed import trainer

    texts = [f"{'win a prize ' * (n % 5)}text {n}" for n in range(9)]
    tokenizer = Tokenizer.train(texts, vocab_size=280)
    torch.manual_seed(3)  # of the head
    model = GPT2Classifier(
        shared.trunk(
            GPT2Config(vocab_size=tokenizer.size, n_positions=64, n_embd=24, n_layer=2, n_head=3)
        ),
        3,
    ).eval()
    prepared = tokenizer.prepared(add_bos=False)
    save_model(tmp_path / "run", SavedModel(model, prepared, ["a", "b", "c"]))
    ordered = sorted(texts, key=len)
    with torch.inference_mode():
        expected = model(
            pack([np.asarray(ids, np.int32) for ids in prepared.encode(ordered)])
        ).softmax(1)
    for rows in (4, 64):
        found = trainer.pipeline_of(tmp_path / "run")(rows)(texts)
        assert [answer["label"] for answer in found] == ["abc"[n] for n in expected.argmax(1)]
        np.testing.assert_allclose(
            [answer["score"] for answer in found], expected.max(1).values, atol=1e-4
        )


@pytest.mark.parametrize(
    ("how", "grouped"), [("frozen", False), ("blocks:1", True), ("full", False)]
)
def test_the_trainer_of_transformers_trains_what_it_is_told(
    how: str, grouped: bool, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate", reason="extra bench")
    from transformers import AutoModelForSequenceClassification

    from benchmarks.speed import trainer

    texts = [f"{'win a prize ' * (n % 4)}text {n}" for n in range(9)]
    tokenizer = Tokenizer.train(texts, vocab_size=280)
    model = shared.trunk(
        GPT2Config(vocab_size=tokenizer.size, n_positions=64, n_embd=24, n_layer=2, n_head=3)
    )
    folder = shared.written(tmp_path / "trunk", model, tokenizer, pad=tokenizer.end_of_text or 0)
    labels = np.arange(9) % 2
    rows = shared.Rows(texts, labels, texts[:2], labels[:2])
    assert trainer.train(folder, rows, how, epochs=1, group_by_length=grouped, batch=4) > 0
    if how == "frozen":
        assert trainer.whole_job(folder, rows, group_by_length=grouped, batch=4) > 0
    whole = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    trainer.freeze(whole, how)
    trained = {
        name.removeprefix("transformer.")
        for name, parameter in whole.named_parameters()
        if parameter.requires_grad
    }
    assert "score.weight" in trained and "ln_f.weight" in trained
    assert ("h.1.attn.c_attn.weight" in trained) == (how != "frozen") and (
        "h.0.attn.c_attn.weight" in trained
    ) == (how == "full")
