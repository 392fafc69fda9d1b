"""Trackers: one protocol, history.jsonl as the training goes on, event files that TensorBoard
reads, runs in MLflow's stores. W&B is tested with a stand-in for its package, which is not among
the test requirements: its calls are those of wandb 0.31 (`init`, `Run.config.update`, `Run.log`,
`Run.summary.update`, `Run.finish`).
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest

from tamis import TextClassifier
from tamis.errors import ConfigError, MissingExtraError, install_command
from tamis.training.callbacks import Callbacks, Tracker
from tamis.training.trackers import (
    HistoryTracker,
    MLflowTracker,
    TensorBoardTracker,
    report_figures,
    row_figures,
    tracker,
)
from tests.rows import messages
from tests.runs import TINY, settings, table, tamis

LABELS, TEXTS = (list(column) for column in zip(*messages(), strict=True))


class Told:
    """A tracker of one's own: a list of what it is told."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.settings: list[Mapping[str, Any]] = []
        self.ended: list[object] = []
        self.reports: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.ended.append(kind)

    def begin(self, settings: Mapping[str, Any]) -> None:
        self.settings.append(settings)

    def log(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def finish(self, report: Mapping[str, Any]) -> None:
        self.reports.append(report)


@pytest.mark.parametrize("tune", ["full", "head"])
def test_a_tracker_is_told_the_settings_and_every_row_of_the_history(tune: str) -> None:
    told = Told()
    used: list[Tracker] = [told]
    classifier = TextClassifier("scratch:tiny", tune, threads=1, settings=settings())
    classifier.fit(TEXTS, LABELS, callbacks=Callbacks(trackers=used))
    (given,) = told.settings
    assert given["tune"] == tune and given["compute.threads"] == 1 and given["seed"] == 42
    assert told.rows == classifier.training_.history and len(told.rows) > 3
    assert [row["step"] for row in told.rows] == sorted(row["step"] for row in told.rows)
    assert told.ended == []  # who opens it closes it


def test_the_models_of_folds_are_not_logged() -> None:
    told = Told()
    folds = settings(**{"decision.cv_folds": 2})
    classifier = TextClassifier("scratch:tiny", "full", threads=1, settings=folds)
    classifier.fit(TEXTS, LABELS, callbacks=Callbacks(trackers=[told]))
    assert told.rows == classifier.training_.history and len(told.settings) == 1


def test_tags_of_a_row_and_of_a_report() -> None:
    row = {"step": 3, "epoch": 1, "loss": 0.5, "validation_loss": 0.25, "pooling": "mean"}
    assert row_figures(row) == {"train/epoch": 1.0, "train/loss": 0.5, "validation/loss": 0.25}
    report = {
        "test": {"f1": 0.5, "recall": None, "n": 3},
        "validation": None,
        "baselines": {"tfidf": {"f1": 0.25}},
    }
    assert report_figures(report) == {"test/f1": 0.5, "tfidf/f1": 0.25}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_history_grows_with_the_training_and_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("of an interrupted run\n", encoding="utf-8")
    with HistoryTracker(tmp_path) as history:
        history.begin({})
        history.log({"step": 1})
        assert lines(tmp_path / "history.jsonl") == [{"step": 1}]
        history.log({"step": 2, "loss": 0.5})
    assert lines(tmp_path / "history.jsonl") == [{"step": 1}, {"step": 2, "loss": 0.5}]


@pytest.mark.parametrize("tune", ["full", "head"])
def test_a_run_always_has_a_history(tune: str, tmp_path: Path) -> None:
    assert tamis("train", table(), *TINY, "--tune", tune, "-o", tmp_path / "run").code == 0
    rows = lines(tmp_path / "run" / "history.jsonl")
    assert rows and all(row["step"] >= 1 for row in rows)
    if tune == "head":
        tried = [row for row in rows if "inverse_penalty" in row]
        assert len(tried) > 1 and all(0 <= row["out_of_fold_score"] <= 1 for row in tried)


def test_an_interrupted_training_leaves_its_history_and_hands_it_over_again(
    tmp_path: Path,
) -> None:
    class Stopping(Told):
        def log(self, row: Mapping[str, Any]) -> None:
            super().log(row)
            if row["step"] == 4 and row["epoch"] == 2:
                raise KeyboardInterrupt

    from tamis.workflows.python_training import train

    options: dict[str, Any] = {"backbone": "scratch:tiny", "threads": 1, "settings": settings()}
    with pytest.raises(KeyboardInterrupt):
        train(table(), tmp_path / "run", log=Stopping(), **options)
    before = lines(tmp_path / "run" / "history.jsonl")
    assert before[-1]["step"] == 4
    told = Told()
    result = train(table(), tmp_path / "run", log=told, **options)
    assert told.rows == lines(tmp_path / "run" / "history.jsonl")
    assert told.rows[: len(before)] == before and len(told.rows) > len(before)
    assert told.reports == [result.to_dict()] and told.ended == [None]


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said = tamis("train", table(), *TINY, "--log", "tensorboard", "-o", tmp_path / "run")
    assert said.code == 0, said.err
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    tags = found.Tags()
    history = lines(tmp_path / "run" / "history.jsonl")
    losses = [(row["step"], row["loss"]) for row in history if "loss" in row]
    shown = [(one.step, one.value) for one in found.Scalars("train/loss")]
    assert [step for step, _ in shown] == [step for step, _ in losses]
    assert [value for _, value in shown] == pytest.approx([value for _, value in losses])
    assert {"validation/average_precision", "test/f1", "tfidf/f1"} <= set(tags["scalars"])
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert found.Scalars("test/f1")[0].value == pytest.approx(report["test"]["f1"])
    assert tags["tensors"] == ["settings/text_summary"]
    again = tamis("train", table(), *TINY, "--overwrite", "-o", tmp_path / "run")
    assert again.code == 0 and not (tmp_path / "run" / "tensorboard").exists()


def test_a_resumed_training_has_one_event_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for _ in range(2):
        with TensorBoardTracker(tmp_path) as board:
            board.begin({"seed": 1})
            board.log({"step": 1, "loss": 0.5})
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


@pytest.fixture(params=["sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow store in a file; that in a folder is asked for, because MLflow retires it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mlflow")
    places = {"sqlite": f"sqlite:///{tmp_path / 'mlflow.db'}", "file": (tmp_path / "m").as_uri()}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", places[request.param])
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "messages")
    return places[request.param]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_run(store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    said = tamis("train", table(), *TINY, "--log", "mlflow", "-o", tmp_path / "run-7")
    assert said.code == 0, said.err
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("messages")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run-7", "FINISHED")
    assert run.data.params["backbone"] == "scratch:tiny"
    assert run.data.params["train.epochs"] == "4"
    report = json.loads((tmp_path / "run-7" / "report.json").read_text(encoding="utf-8"))
    assert run.data.metrics["test/f1"] == pytest.approx(report["test"]["f1"])
    history = lines(tmp_path / "run-7" / "history.jsonl")
    wanted = {row["step"]: row["loss"] for row in history if "loss" in row}
    sent = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "train/loss")}
    assert sent == pytest.approx(wanted)


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_fails_is_a_failed_run_in_mlflow(store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    for error, status in ((ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        with pytest.raises(type(error)), MLflowTracker(tmp_path / status) as found:
            found.begin({"seed": 1})
            raise error
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("messages")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "FAILED": "FAILED",
        "KILLED": "KILLED",
    }


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_mlflow_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://somewhere")
    said = tamis("train", table(), *TINY, "--log", "mlflow", "-o", tmp_path / "run")
    assert said.code == 1 and "MLflow cannot write a run" in said.err.splitlines()[-1]
    assert "MLFLOW_TRACKING_URI" in said.err and not (tmp_path / "run").exists()


class FakeWandb(ModuleType):
    """Takes down the calls that wandb would receive."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, Any]] = []
        note = self.calls.append
        self.run = SimpleNamespace(
            config=SimpleNamespace(update=lambda values: note(("config", values))),
            summary=SimpleNamespace(update=lambda values: note(("summary", values))),
            log=lambda values, step: note(("log", (step, values))),
            finish=lambda exit_code: note(("finish", exit_code)),
        )

    def init(self, **options: Any) -> Any:
        self.calls.append(("init", options))
        return self.run


def test_wandb_gets_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_PROJECT", "messages")
    said = tamis("train", table(), *TINY, "--log", "wandb", "-o", tmp_path / "run")
    assert said.code == 0, said.err
    kinds = [kind for kind, _ in fake.calls]
    assert kinds[:2] == ["init", "config"] and kinds[-2:] == ["summary", "finish"]
    assert fake.calls[0][1]["project"] == "messages" and fake.calls[0][1]["name"] == "run"
    assert fake.calls[1][1]["backbone"] == "scratch:tiny" and fake.calls[-1][1] == 0
    history = lines(tmp_path / "run" / "history.jsonl")
    assert [value for kind, value in fake.calls if kind == "log"] == [
        (row["step"], row_figures(row)) for row in history
    ]
    with pytest.raises(ValueError), tracker("wandb", tmp_path):
        raise ValueError
    assert fake.calls[-1] == ("finish", 1)


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_a_tracker_that_is_not_installed_is_named_before_training(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    said = tamis("train", table(), *TINY, "--log", name, "-o", tmp_path / "run")
    assert said.code == 1 and install_command(name) in said.err
    assert not (tmp_path / "run").exists()
    with pytest.raises(MissingExtraError), tracker(name, tmp_path):
        pass


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one of tensorboard.*got 'paper'"):
        tracker("paper", tmp_path)
    said = tamis("train", table(), "--log", "paper")
    assert said.code == 2 and "tensorboard, mlflow, wandb" in said.err
