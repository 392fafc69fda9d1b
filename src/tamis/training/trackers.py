"""Trackers: history.jsonl, TensorBoard, MLflow and Weights & Biases.

They receive settings and figures, never texts. Tags are the same everywhere: `train/loss`,
`validation/average_precision`, `test/f1`, `tfidf/f1`. The packages belong to the extras
`tensorboard`, `mlflow` and `wandb` and are imported when a tracker starts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tamis.errors import ConfigError, MissingExtraError
from tamis.evaluation.metrics import METRICS
from tamis.training.callbacks import Tracker, logger

PROJECT = "tamis"
"""MLflow experiment or W&B project where the environment names none."""
_SEND_EVERY_S = 2.0
"""Seconds between two requests to MLflow: a request for every step would slow the training down."""
_MLFLOW_METRICS, _MLFLOW_PARAMS = 500, 100
"""Most metrics and parameters of one request."""


def tracker(name: str, run: Path) -> Tracker:
    """Return a tracker by its name.

    Args:
        name: `tensorboard`, `mlflow` or `wandb`.
        run: the run folder; its name is the name of the run.

    Raises:
        ConfigError: the name is unknown.
    """
    kinds: dict[str, Callable[[Path], Tracker]] = {
        "tensorboard": TensorBoardTracker,
        "mlflow": MLflowTracker,
        "wandb": WandbTracker,
    }
    if name not in kinds:
        raise ConfigError(f"log: expected one of {', '.join(kinds)}, got {name!r}")
    return kinds[name](run)


def row_figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a row of the history by tag."""
    found = {}
    for name, value in row.items():
        if name == "step" or isinstance(value, str | bool) or value is None:
            continue
        part, _, rest = name.partition("validation_")
        found[f"train/{name}" if part or not rest else f"validation/{rest}"] = float(value)
    return found


def report_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a report by tag: of the model on both parts, and of the baselines on
    the test rows.
    """
    parts = {part: report.get(part) for part in ("test", "validation")}
    judged = {**parts, **(report.get("baselines") or {})}
    return {
        f"{part}/{name}": float(figures[name])
        for part, figures in judged.items()
        if figures
        for name in METRICS
        if figures.get(name) is not None
    }


class _Quiet:
    """A tracker that does nothing yet."""

    def __init__(self, run: Path) -> None:
        """`run` is the run folder."""
        self.run = run

    def __enter__(self) -> Self:
        """Start; the packages are imported here, so that a missing one is known before training."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Receive the settings."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Receive a row of the history."""

    def finish(self, report: Mapping[str, Any]) -> None:
        """Receive the report."""


class HistoryTracker(_Quiet):
    """Writes RUN/history.jsonl while the training goes on, a line for each row."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Empty the file of an interrupted run; its rows come again."""
        (self.run / "history.jsonl").unlink(missing_ok=True)

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a line."""
        with (self.run / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


class TensorBoardTracker(_Quiet):
    """Writes event files to RUN/tensorboard; show them with `tensorboard --logdir RUN`."""

    def __enter__(self) -> Self:
        """Import TensorBoard.

        Raises:
            MissingExtraError: the package tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tensorboard", "--log tensorboard") from error
        self._writer_class: Any = SummaryWriter
        self._writer: Any = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Open a new event file and note the settings; the files of an interrupted run go, because
        their rows come again.
        """
        folder = self.run / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = self._writer_class(str(folder))
        lines = "\n".join(f"    {name} = {value}" for name, value in settings.items())
        self._writer.add_text("settings", lines)

    def log(self, row: Mapping[str, Any]) -> None:
        """Write the figures of a row."""
        for tag, value in row_figures(row).items():
            self._writer.add_scalar(tag, value, row["step"])

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the metrics of the report."""
        for tag, value in report_figures(report).items():
            self._writer.add_scalar(tag, value)


class MLflowTracker(_Quiet):
    """Writes a run to MLflow: to the server or folder that MLFLOW_TRACKING_URI names, in the
    experiment that MLFLOW_EXPERIMENT_NAME names (default: `tamis`). MLflow's active run is not
    touched.
    """

    def __enter__(self) -> Self:
        """Create the run.

        Raises:
            MissingExtraError: the package mlflow is not installed.
            ConfigError: MLflow refuses the server or the folder.
        """
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtraError("mlflow", "mlflow", "--log mlflow") from error
        self._metric, self._param, self._error = Metric, Param, MlflowException
        self._waiting: list[Any] = []
        self._sent = time.monotonic()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        try:
            self._client = MlflowClient()
            found = self._client.get_experiment_by_name(name)
            experiment = self._client.create_experiment(name) if not found else found.experiment_id
            self._id = self._client.create_run(experiment, run_name=self.run.name).info.run_id
        except (MlflowException, ImportError) as error:
            raise ConfigError(
                f"--log mlflow: MLflow cannot write a run ({' '.join(str(error).split())}); set "
                "MLFLOW_TRACKING_URI to a server or to sqlite:///FILE"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is left and end the run: FINISHED, KILLED by Ctrl-C, or FAILED."""
        self._send()
        killed = kind is not None and issubclass(kind, KeyboardInterrupt)
        status = "FINISHED" if kind is None else "KILLED" if killed else "FAILED"
        with self._forgiving():
            self._client.set_terminated(self._id, status)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Send the settings as parameters."""
        params = [self._param(name, str(value)) for name, value in settings.items()]
        with self._forgiving():
            for start in range(0, len(params), _MLFLOW_PARAMS):
                self._client.log_batch(self._id, params=params[start : start + _MLFLOW_PARAMS])

    def log(self, row: Mapping[str, Any]) -> None:
        """Send the figures of a row, every few seconds."""
        self._add(row_figures(row), row["step"])
        if time.monotonic() - self._sent > _SEND_EVERY_S:
            self._send()

    def finish(self, report: Mapping[str, Any]) -> None:
        """Send the metrics of the report."""
        self._add(report_figures(report), 0)

    def _add(self, figures: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._waiting += [self._metric(tag, value, now, step) for tag, value in figures.items()]

    def _send(self) -> None:
        waiting, self._waiting, self._sent = self._waiting, [], time.monotonic()
        with self._forgiving():
            for start in range(0, len(waiting), _MLFLOW_METRICS):
                self._client.log_batch(self._id, metrics=waiting[start : start + _MLFLOW_METRICS])

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """A server that fails during the training is a warning: the training goes on."""
        try:
            yield
        except self._error as error:
            logger.warning("MLflow lost figures of this run: %s", " ".join(str(error).split()))


class WandbTracker(_Quiet):
    """Writes a run to Weights & Biases, in the project that WANDB_PROJECT names (default:
    `tamis`). WANDB_MODE=offline keeps it on this machine.
    """

    def __enter__(self) -> Self:
        """Import wandb.

        Raises:
            MissingExtraError: the package wandb is not installed.
        """
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb", "--log wandb") from error
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._wandb: Any = wandb
        self._run: Any = wandb.init(project=project, name=self.run.name, reinit="create_new")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the run; after an error with exit code 1."""
        self._run.finish(exit_code=0 if kind is None else 1)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Send the settings as configuration."""
        self._run.config.update(dict(settings))

    def log(self, row: Mapping[str, Any]) -> None:
        """Send the figures of a row."""
        self._run.log(row_figures(row), step=row["step"])

    def finish(self, report: Mapping[str, Any]) -> None:
        """Send the metrics of the report as summary."""
        self._run.summary.update(report_figures(report))
