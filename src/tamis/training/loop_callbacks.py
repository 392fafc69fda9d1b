"""Callbacks of the training loop: progress, early stopping, trackers, the caller's own hook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tamis.evaluation.model_selection import Scores
from tamis.progress import Progress, Task
from tamis.training.callbacks import Tracker
from tamis.training.loop import LoopCallback, Training


class ProgressCallback(LoopCallback):
    """Reports the number of trained rows, with loss and accuracy."""

    def __init__(self, progress: Progress, name: str = "training") -> None:
        """`name` of the progress task."""
        self._progress, self._name = progress, name
        self._open = ExitStack()
        self._task: Task | None = None

    def on_begin(self, training: Training) -> None:
        """Open the task; a resumed training starts at its number of rows."""
        rows = len(training.fit_rows_of(0))
        self._task = self._open.enter_context(
            self._progress.task(
                self._name,
                total=rows * training.settings.epochs,
                unit="messages",
                done=training.at.epoch * rows,
            )
        )

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        """Advance by the rows of the step."""
        if self._task is not None:
            self._task.advance(rows, f"loss {loss:.3f}, accuracy {accuracy:.3f}")

    def on_end(self, training: Training) -> None:
        """Close the task."""
        self._open.close()


class EarlyStopping(LoopCallback):
    """Stops after `patience` epochs that were not better than the best one."""

    def __init__(self, patience: int) -> None:
        """`patience` in epochs; 0 means no limit."""
        self.patience = patience

    def stops(self, training: Training) -> bool:
        """Return whether the limit is reached; never without validation rows."""
        waited = training.at.epoch - training.at.best_epoch
        return len(training.rows.validation) > 0 and waited >= self.patience > 0


class EpochCallback(LoopCallback):
    """Calls a function after each epoch with its number (from 1) and its scores on the validation
    rows.
    """

    def __init__(self, on_epoch: Callable[[int, Scores], None]) -> None:
        """An exception of `on_epoch` ends the training."""
        self._on_epoch = on_epoch

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        """Call the function, if there are validation rows."""
        if scores is not None:
            self._on_epoch(training.at.epoch, scores)


class HistoryCallback(LoopCallback):
    """Hands every new row of the history to the trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """An exception of a tracker ends the training."""
        self._trackers, self._logged = trackers, 0

    def on_begin(self, training: Training) -> None:
        """Hand over the rows of a restored training."""
        self._hand_over(training)

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        """Hand over the row of the step."""
        self._hand_over(training)

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        """Hand over the row of the validation figures, if there is one."""
        self._hand_over(training)

    def _hand_over(self, training: Training) -> None:
        new = training.at.history[self._logged :]
        self._logged += len(new)
        for row in new:
            for tracker in self._trackers:
                tracker.log(row)
