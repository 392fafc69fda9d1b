"""The FastAPI application: combines routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from tamis import __version__
from tamis.serving import json_logs
from tamis.serving.api_keys import Keys
from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tamis.serving.middleware import Guard
from tamis.serving.model_registry import Models, Served
from tamis.serving.routes.admin import add_operator_routes
from tamis.serving.routes.examples import add_example_routes
from tamis.serving.routes.feedback import add_feedback_routes
from tamis.serving.routes.predict import add_prediction_routes
from tamis.serving.service import Service

PROTECTED = ("/v1/", "/metrics")
"""Path prefixes that need a key if the server has keys."""
_WARM_UP = [
    "A text of about the usual length, so that the first one asked finds everything ready."
] * 64


def create_app(
    models: Models,
    *,
    limits: Limits | None = None,
    keys: Keys | None = None,
    hosts: frozenset[str] | None = None,
    log_texts: bool = False,
    show_texts: bool = True,
) -> FastAPI:
    """Create the application.

    Args:
        models: the models to serve; closed with the application.
        limits: limits of requests and of the queue.
        keys: API keys; none: no key is required.
        hosts: host names that requests may use; None: any.
        log_texts: whether log lines contain the texts.
        show_texts: whether answers contain stored texts: the beginnings of corrected ones, and
            examples from the run.
    """
    service = Service(models, limits or Limits(), keys or Keys(), log_texts=log_texts)
    service.show_texts = show_texts

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        models.watch(lambda served, error: _replaced(service, served, error), service.learner.learn)
        for served in models:
            # Distinct texts: equal ones would be computed only once.
            texts = [f"{text} {number}" for number, text in enumerate(_WARM_UP)]
            await service.batcher.probabilities(served.classifier(), texts)
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="tamis",
        version=__version__,
        summary="Classify texts, explain the predictions, and improve the model with corrections.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    app.add_middleware(
        Guard, keys=service.keys, hosts=hosts, metrics=service.metrics, protected=PROTECTED
    )
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _parameter_error)
    add_prediction_routes(app, service)
    add_feedback_routes(app, service)
    add_example_routes(app, service)
    add_operator_routes(app, service, PROTECTED)
    return app


def _replaced(service: Service, served: Served, error: Exception | None) -> None:
    """A folder was replaced: log and count it, and learn the corrections that arrived meanwhile."""
    service.metrics.reloaded(served.name, "refused" if error else "loaded")
    json_logs.event(
        "reload",
        level=40 if error else 20,
        model=served.name,
        **(json_logs.failure(error) if error else {}),
    )
    if error is None:
        service.metrics.model(served.name, served.labels)
        service.learner.learn(served)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {
        404: "no such path; GET /docs lists the API",
        405: "this path does not support that method",
    }
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return Refusal(
        error.status_code, said.get(error.status_code, "the request cannot be answered")
    ).response(headers)


def _methods(request: Request) -> set[str]:
    """Return all methods of a path; each of its routes knows only its own."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found | ({"HEAD"} if "GET" in found else set())


async def _parameter_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    field = str(first["loc"][-1])
    return Refusal(
        422, f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}", field=field
    ).response()
