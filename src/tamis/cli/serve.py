"""`tamis serve`: the HTTP API and the web page."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import app, command
from tamis.cli.console import say
from tamis.cli.option_groups import computing, option_groups
from tamis.cli.options import Json
from tamis.errors import MissingExtraError
from tamis.serving.limits import Limits

if TYPE_CHECKING:
    from tamis.export.loading import Classifier
    from tamis.serving.model_registry import FeedbackModel

__all__ = ["app"]


def _make_key(file: Path | None) -> None:
    if file is None:
        return
    from tamis.serving.api_keys import new_key

    print(new_key(file))
    say(
        f"Save the key now: it is not shown again, and {file} contains only its hash. Start the "
        f"server with --api-key-file {file}"
    )
    raise typer.Exit


@command
@option_groups(compute=computing)
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Run or model folders. NAME=RUN serves the model under NAME.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on. The default accepts only this machine."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Port to listen on; 0 takes a free port. The address is printed at start.",
        ),
    ] = 8000,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            help="SQLite file with the corrections.",
            show_default="RUN.feedback.sqlite beside the first RUN",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            help="File with one API key, or its hash as sha256:HEX, per line. The environment "
            "variable TAMIS_API_KEY can contain another key.",
        ),
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option(
            "--new-key",
            is_eager=True,
            callback=_make_key,
            help="Create an API key, append its hash to this file, print the key and exit.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="Another host name accepted in requests when no API key is set; may be repeated.",
        ),
    ] = None,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Maximum size of a request body in bytes.")
    ] = Limits.body_bytes,
    max_texts: Annotated[
        int, typer.Option("--max-texts", min=1, help="Maximum number of texts per request.")
    ] = Limits.texts,
    max_chars: Annotated[
        int, typer.Option("--max-chars", min=1, help="Maximum number of characters per text.")
    ] = Limits.text_chars,
    max_wait: Annotated[
        float,
        typer.Option(
            "--max-wait",
            min=0.001,
            help="Maximum time of a request in the queue, in seconds; then the answer is 429.",
        ),
    ] = Limits.wait_s,
    no_feedback: Annotated[
        bool,
        typer.Option(
            "--no-feedback",
            help="Answer with the models as trained; corrections are stored, but not learned.",
        ),
    ] = False,
    hide_texts: Annotated[
        bool,
        typer.Option(
            "--hide-texts",
            help="Never show stored texts: no beginnings of corrected texts in GET /v1/feedback "
            "and on the page, no examples from the run. A server without a key that other "
            "machines can reach does this always.",
        ),
    ] = False,
    log_texts: Annotated[
        bool, typer.Option("--log-texts", help="Also write the texts to the log.")
    ] = False,
    *,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Serve models over HTTP, with a web page at /.

    The server can learn from corrections. Logs go to stderr.

    Example: tamis serve runs/demo --port 8000
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            error.name or "fastapi", extra="serve", purpose="tamis serve"
        ) from None
    from tamis.classifier.model_folder import find_model
    from tamis.export.folder import is_exported
    from tamis.export.onnx_classifier import OnnxClassifier
    from tamis.feedback.recorder import EXPORTED, SWITCHED_OFF, CorrectionRecorder
    from tamis.feedback.store import CorrectionStore, default_store, model_name
    from tamis.serving import json_logs
    from tamis.serving.api_keys import VARIABLE, Keys
    from tamis.serving.app import create_app
    from tamis.serving.model_registry import Models, named_runs
    from tamis.serving.server import LOOPBACK, listen, run, url

    limits = Limits(body_bytes=max_body, texts=max_texts, text_chars=max_chars, wait_s=max_wait)
    keys = Keys.read(api_key_file, os.environ.get(VARIABLE))
    hosts = None
    if not keys and host in LOOPBACK:
        hosts = LOOPBACK | {name.lower() for name in allow_host or []}
    elif not keys:
        say(
            f"warning: everyone who can reach {host} can use this server; to require a key, set "
            f"--api-key-file or {VARIABLE}"
        )
    with listen(host, port) as listener:
        named = named_runs(runs)
        for _, path in named:
            if not is_exported(path):
                find_model(path)  # raises if RUN does not exist, before the store is created
        kept = CorrectionStore(store or default_store(named[0][1]))
        try:
            folders = [model_name(path) for _, path in named]

            def learning(classifier: Classifier, path: Path, name: str) -> FeedbackModel:
                # The same name as in `tamis learn`, unless two runs have the same name.
                model = model_name(path) if len(set(folders)) == len(folders) else name
                if isinstance(classifier, OnnxClassifier) or no_feedback:
                    labels = [str(label) for label in classifier.classes_]
                    reason = SWITCHED_OFF if no_feedback else EXPORTED
                    return CorrectionRecorder(classifier, labels, kept, model=model, reason=reason)
                from tamis.feedback.learning import FeedbackLearner

                return FeedbackLearner(classifier, path, kept, model=model)

            models = Models(named, learning, compute=compute)
            application = create_app(
                models,
                limits=limits,
                keys=keys,
                hosts=hosts,
                log_texts=log_texts,
                # Stored texts are not for everyone who can reach an open server.
                show_texts=not hide_texts and bool(keys or hosts),
            )
            log = json_logs.write_to(sys.stderr)
            for served in models:
                stored = len(served.learning.items())
                if stored:
                    effective = stored - served.learning.pending()
                    json_logs.event(
                        "corrections", model=served.name, stored=stored, in_effect=effective
                    )
            address = url(listener)
            print(
                json.dumps({"url": address, "models": [name for name, _ in named]})
                if json_
                else address,
                flush=True,
            )
            run(application, listener)
            log.close()
        finally:
            kept.close()
