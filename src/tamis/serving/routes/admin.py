"""Routes for operators: models, health, metrics, the API's documentation, and the web page."""

from __future__ import annotations

from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from tamis.serving.api_docs import STYLE_HASH, docs_page
from tamis.serving.errors import Refusal, json_response
from tamis.serving.metrics import CONTENT_TYPE
from tamis.serving.model_registry import Served
from tamis.serving.openapi import document, refuses
from tamis.serving.schemas import Health, RequestLimits, ServedModels
from tamis.serving.service import Service

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_KEEP = {"Cache-Control": "no-cache"}
INDEX = "index.html"


def add_operator_routes(app: FastAPI, service: Service, protected: tuple[str, ...]) -> None:
    """Add the routes; `protected` are the path prefixes that need a key."""
    files = static_files()

    @app.get("/v1/models", response_model=ServedModels, tags=["server"], **refuses())
    async def models(request: Request) -> Response:
        """List the models, the default one first, with their decision rules, their last refits, and
        the limits of requests.
        """
        found: list[dict[str, Any]] = []
        for served in service.models:
            try:
                pending = await service.in_store(served.learning.pending)
            except Refusal:  # the decision rules can be listed without the store
                pending = None
            found.append({**_model(served, default=not found), "pending": pending})
        limits = {name: getattr(service.limits, name) for name in RequestLimits.model_fields}
        return json_response({"models": found, "limits": limits})

    @app.get("/healthz", response_model=Health, tags=["server"], **refuses(503))
    async def healthz(request: Request) -> Response:
        """Return whether the server is alive; if 503 persists, restart it."""
        if not service.batcher.alive:
            raise Refusal(503, "the worker threads have stopped; restart the server")
        return json_response({"status": "ok"})

    @app.get("/readyz", response_model=Health, tags=["server"], **refuses(503))
    async def readyz(request: Request) -> Response:
        """Return whether the server accepts requests."""
        if service.stopping or not service.batcher.alive:
            raise Refusal(503, "the server is stopping")
        return json_response({"status": "ready"})

    @app.get(
        "/metrics",
        response_class=Response,
        tags=["server"],
        **refuses(
            described={
                200: {
                    "description": "Prometheus' text format",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                }
            }
        ),
    )
    async def metrics(request: Request) -> Response:
        """Return the metrics in Prometheus' format: requests, verdicts, queue, learning."""
        service.metrics.waiting.set(service.batcher.waiting)
        service.metrics.turns.set(service.batcher.turns)
        service.metrics.batched.set(service.batcher.texts)
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return json_response(described(request))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        policy = (
            f"default-src 'none'; style-src '{STYLE_HASH}'; script-src 'self'; connect-src "
            "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return Response(
            docs_page(described(request), str(request.base_url)),
            headers={"Content-Type": _TYPES[".html"], "Content-Security-Policy": policy, **_KEEP},
        )

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        if INDEX not in files:
            return RedirectResponse("docs")
        return _file(INDEX)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        return _file(name)

    def described(request: Request) -> dict[str, Any]:
        known = service.keys.accept(request.headers.get("authorization", "").encode("latin-1"))
        return document(app, service, protected, names=known or not service.keys)

    def _file(name: str) -> Response:
        if name not in files:
            raise Refusal(404, "there is no such file")
        content, kind = files[name]
        return Response(content, headers={"Content-Type": kind, **_KEEP})


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the page's files by name: bytes and content type.

    They are read once, so no path from a client ever reaches the disk.
    """
    folder = resources.files("tamis.serving") / "static"
    if not folder.is_dir():
        return {}
    found = {}
    for file in folder.iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind and file.is_file():
            found[file.name] = (file.read_bytes(), kind)
    return found


def _model(served: Served, *, default: bool) -> dict[str, Any]:
    rule, outcome = served.loaded.classifier.rule_, served.outcome
    band = None if rule.low is None or rule.high is None else [rule.low, rule.high]
    return {
        "name": served.name,
        "default": default,
        "labels": served.labels,
        "positive": rule.positive,
        "threshold": rule.threshold,
        "unsure": band,
        "confidence_floor": rule.confidence_floor,
        "loaded": served.loaded.at,
        "stale": served.stale,
        "learning": None
        if outcome is None
        else {"learned": outcome.learned, "reason": outcome.reason},
    }
