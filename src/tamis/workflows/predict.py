"""`tamis predict`: classify texts from arguments, files or stdin; write results to stdout or a file
as soon as they are known.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.classifier.model_folder import training_columns
from tamis.data.files.messages import Message
from tamis.decision.verdict import UNSURE, Verdict
from tamis.errors import ConfigError
from tamis.export.folder import is_exported
from tamis.feedback.loading import BY_DEFAULT, FeedbackChoice, load_with_feedback

if TYPE_CHECKING:
    from tamis.export.loading import Classifier

BATCH = 1024
"""Maximum number of messages classified together; fewer if the source has no more at the moment."""
POSITIVE, NEGATIVE, NOT_SURE = 0, 1, 2
"""Exit codes for one text, the same as those of bogofilter."""

SIGNAL_S = 0.2
"""Longest wait for input, in seconds, before Python looks for a signal."""


@dataclass(frozen=True)
class PredictOptions:
    """Where texts come from, and what is written about them."""

    file: Path | None = None
    """file with texts"""
    column: str | None = None
    """text column of `file`"""
    header: bool | None = None
    """whether the first row of `file` names the columns; None: decided by its content"""
    one: bool = False
    """stdin is one text or one e-mail"""
    out: Path | None = None
    """file for the results; None prints them"""
    as_json: bool = False
    """print one JSON object per text"""
    windows: bool = False
    """JSON also contains the window that determined the verdict on a long text"""
    ood: bool = False
    """report whether each text is out-of-distribution; plain output for texts of the command line
    marks out-of-distribution texts in any case"""
    feedback: FeedbackChoice = BY_DEFAULT
    """which corrections count"""


def predict_command(
    run: Path,
    texts: list[str] | None,
    options: PredictOptions,
    *,
    compute: Mapping[str, Any],
    say: Callable[[str], None],
) -> int:
    """Classify texts and print or write the results.

    Args:
        run: run, model folder or exported folder.
        texts: texts of the command line.
        options: other sources of texts, and the form of the output.
        compute: device, threads, dtype.
        say: receives messages for the user.

    Returns:
        The exit code of the last verdict, for `--exit-code`.

    Raises:
        TamisError: the model cannot be loaded, or a message cannot be read.
    """
    loaded = load_with_feedback(run, options.feedback, **compute)
    classifier, out, ood = loaded.classifier, options.out, options.ood
    for note in loaded.feedback.notes:
        say(note)
    if options.one and classifier.positive_ is None:
        names = ", ".join(str(name) for name in classifier.classes_)
        raise ConfigError(
            "--exit-code needs a model with a positive label, but this model has none (labels: "
            f"{names}); use --json and read the verdict instead"
        )
    if ood and classifier.ood_detector_.limit is None:
        say(
            "the model has no out-of-distribution detector, so `ood` is unknown; "
            + (
                "use the run that was exported"
                if is_exported(run)
                else "train it again on at least 100 texts"
            )
        )
    ending_notes: Callable[[], tuple[str, ...]] = tuple
    plain = bool(texts) and out is None and not options.as_json
    ood = ood or (plain and classifier.ood_detector_.limit is not None)
    if texts:
        source: Iterator[Message] = iter(
            [Message(text, {}, line) for line, text in enumerate(texts, 1)]
        )
    else:
        # The readers of all formats are imported only where a file is read: a cold start is short.
        from tamis.data.files.byte_sources import standard_input
        from tamis.data.files.message_reader import read_messages, read_one_message

        if options.one:
            source = iter([read_one_message(sys.stdin)])
        else:
            messages = read_messages(
                options.file or standard_input(),
                text=options.column or training_columns(run)[0],
                header=options.header,
            )
            for note in messages.notes:
                say(note)
            source, ending_notes = messages, messages.ending_notes
    known = {"corrections": len(loaded.feedback.used)} if loaded.feedback.used else {}
    code = _answered(classifier, source, options, ood, say, known)
    for note in ending_notes():
        say(note)
    return code


def _answered(
    classifier: Classifier,
    source: Iterator[Message],
    options: PredictOptions,
    ood: bool,
    say: Callable[[str], None],
    known: Mapping[str, Any],
) -> int:
    """Print or write the verdicts; return the exit code of the last. `known` is added to each JSON
    object.
    """
    code, out = NEGATIVE, options.out
    if out is not None:
        from tamis.data.files.row_writer import beside_own, row_writer

        with row_writer(out) as sink:
            count = 0
            for message, verdict in iter_verdicts(classifier, source, ood=ood):
                own = message.columns or {"text": message.text}
                added: dict[str, object] = {"label": verdict.label, "verdict": verdict.verdict}
                added |= {f"p_{label}": p for label, p in verdict.probabilities.items()}
                if ood:
                    added |= {"ood": verdict.ood, "ood_score": verdict.ood_score}
                sink.write(beside_own(own, added))
                count, code = count + 1, exit_code(verdict, classifier)
        say(f"wrote {count:,} verdicts to {out}")
        return code
    for _, verdict in iter_verdicts(classifier, source, ood=ood):
        found = {**verdict.to_dict(windows=options.windows, ood=ood), **known}
        shown = json.dumps(found, ensure_ascii=False) if options.as_json else line(verdict)
        print(shown, flush=True)
        code = exit_code(verdict, classifier)
    return code


def iter_verdicts(
    classifier: Classifier, source: Iterator[Message], *, ood: bool = False
) -> Iterator[tuple[Message, Verdict]]:
    """Each message with its verdict, in order. Messages of a slow source are classified one by one,
    those of a fast source in large batches.
    """
    for batch in _ready(source):
        yield from zip(
            batch, classifier.verdicts([message.text for message in batch], ood=ood), strict=True
        )


def line(verdict: Verdict) -> str:
    """Verdict, probability of the label and text, separated by tabs; a fourth column if the text is
    out-of-distribution. Beside `unsure` the label stands with its probability.
    """
    text = (
        verdict.text.replace("\\", "\\\\")
        .replace("\t", "\\t")
        .replace("\r", "\\r")
        .replace("\n", "\\n")
    )
    mark = f"\tout-of-distribution (score {verdict.ood_score:.1f})" if verdict.ood else ""
    probability = f"{verdict.probabilities[verdict.label]:.4f}"
    if verdict.verdict == UNSURE:
        probability = f"{verdict.label} {probability}"
    return f"{verdict.verdict}\t{probability}\t{text}{mark}"


def exit_code(verdict: Verdict, classifier: Classifier) -> int:
    """0 positive, 1 negative, 2 unsure."""
    if verdict.verdict == UNSURE:
        return NOT_SURE
    return POSITIVE if verdict.label == classifier.positive_ else NEGATIVE


def _ready(source: Iterator[Message]) -> Iterator[list[Message]]:
    """Batches of the messages that are available. A thread reads the source, so that waiting for
    more input does not delay results.
    """
    waiting: queue.Queue[Message | BaseException | None] = queue.Queue(maxsize=4 * BATCH)

    def read() -> None:
        try:
            for message in source:
                waiting.put(message)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    end: Message | BaseException | None = Message("")
    while isinstance(end, Message):
        batch: list[Message] = []
        end = _next(waiting)
        while isinstance(end, Message):
            batch.append(end)
            if len(batch) == BATCH or waiting.empty():
                break
            end = _next(waiting)
        if batch:
            yield batch
    if end is not None:
        raise end


def _next(waiting: queue.Queue[Message | BaseException | None]) -> Message | BaseException | None:
    """Return the next item. A signal that arrives just before the wait for a lock begins does not
    end that wait, so that Ctrl-C would be lost; short waits let Python handle it between them.
    """
    while True:
        try:
            return waiting.get(timeout=SIGNAL_S)
        except queue.Empty:
            continue
