"""The OpenAPI document: bodies, responses and errors, with this server's limits and names."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tamis.data.labels import number_of
from tamis.serving.schemas import ErrorAnswer, FeedbackBody, TextsBody
from tamis.serving.service import Service

_SAID = {
    401: "An API key is required",
    404: "Not found",
    405: "This path does not support that method",
    408: "The body arrived too slowly",
    413: "Too large: the body, a text, or the number of texts",
    415: "The body must be JSON",
    421: "The server does not accept that host name",
    422: "The body or a parameter is invalid",
    429: "Too busy; Retry-After says when to try again",
    500: "Internal server error",
    503: "Stopping, or not ready",
    507: "The store cannot be written; nothing was stored",
}
_ALWAYS = (401, 405, 421, 422, 500, 503)
_WITH_BODY = (408, 413, 415, 429)
_REF = "#/components/schemas/{model}"


def refuses(
    *statuses: int, described: dict[int | str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return keyword arguments of a route: its errors, in addition to those of all routes."""
    responses: dict[int | str, dict[str, Any]] = dict(described or {})
    for status in sorted({*_ALWAYS, *statuses}):
        responses[status] = {"model": ErrorAnswer, "description": _SAID[status]}
        if status == 429:
            responses[status]["headers"] = {
                "Retry-After": {
                    "description": "seconds",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
    return {"responses": responses}


def takes(body: type[BaseModel], *, refuses: tuple[int, ...]) -> dict[str, Any]:
    """Return keyword arguments of a route: its JSON body, which it reads itself, and its errors."""
    schema = {"$ref": _REF.format(model=body.__name__)}
    extra = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {"openapi_extra": extra, **_refuses((*_WITH_BODY, *refuses))}


def _refuses(statuses: tuple[int, ...]) -> dict[str, Any]:
    return refuses(*statuses)


def document(
    app: FastAPI, service: Service, protected: tuple[str, ...], *, names: bool
) -> dict[str, Any]:
    """Return the current document; labels change when a model is replaced.

    Models and labels are listed by name only if `names`.
    """
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    _, bodies = models_json_schema(
        [(TextsBody, "validation"), (FeedbackBody, "validation")], ref_template=_REF
    )
    schemas |= bodies["$defs"]
    limits = service.limits
    # As a description, not a constraint: a text that is too long gets 413, not 422.
    text = {"description": f"up to {limits.text_chars:,} characters"}
    texts, items = (
        schemas["TextsBody"]["properties"]["texts"],
        schemas["FeedbackBody"]["properties"]["items"],
    )
    texts |= {"description": f"up to {limits.texts:,}", "items": texts["items"] | text}
    items["description"] = f"up to {limits.texts:,}"
    item = schemas["FeedbackItem"]["properties"]
    item["text"] |= text
    undo = found["paths"]["/v1/feedback/{id}"]["delete"]["operationId"]
    first = {
        "operationId": undo,
        "parameters": {"id": "$response.body#/ids/0"},
        "description": "undoes the first of the corrections",
    }
    found["paths"]["/v1/feedback"]["post"]["responses"]["200"]["links"] = {"undo": first}
    if names:
        labels = sorted({label for served in service.models for label in served.labels})
        # A number is equal to its other spellings, which no list of strings has.
        if not any(number_of(label) is not None for label in labels):
            item["label"] = {
                "type": "string",
                "enum": labels,
                "description": item["label"]["description"],
            }
        for model in (item["model"], schemas["TextsBody"]["properties"]["model"]):
            model["anyOf"] = [
                {"type": "string", "enum": [served.name for served in service.models]},
                {"type": "null"},
            ]
    if service.keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, calls in found["paths"].items():
        for call in calls.values():
            if path.startswith(protected) and service.keys:
                call["security"] = [{"key": []}]
    return found
