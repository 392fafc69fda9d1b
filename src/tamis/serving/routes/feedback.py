"""`/v1/feedback`: corrections are stored before the response; learning follows later."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from starlette.responses import Response

from tamis.data.labels import known_labels, matching_label
from tamis.errors import ConfigError, DataError
from tamis.feedback.excerpts import excerpts
from tamis.feedback.store import Correction, NewCorrection
from tamis.serving.errors import Refusal, json_response, shown
from tamis.serving.middleware import NOTES
from tamis.serving.model_registry import Served
from tamis.serving.openapi import refuses, takes
from tamis.serving.schemas import (
    FeedbackBody,
    FeedbackItem,
    RemovedFeedback,
    StoredFeedback,
    StoredItems,
)
from tamis.serving.service import Service

OfModel = Annotated[str | None, Query(description="only corrections of this model")]
OfUser = Annotated[
    str | None,
    Query(max_length=200, description="only corrections of this user; empty: the shared ones"),
]
_QUEUED = {"learned": False, "reason": "queued"}
LARGEST_ID = 2**63 - 1
EXCERPT = 120
"""Most characters of a text in the list of corrections."""


def add_feedback_routes(app: FastAPI, service: Service) -> None:
    """Add the four routes."""

    @app.post(
        "/v1/feedback",
        response_model=StoredFeedback,
        tags=["feedback"],
        **takes(FeedbackBody, refuses=(404, 429, 507)),
    )
    async def add(request: Request) -> Response:
        """Store corrections: the right labels of texts. The same text again replaces its label."""
        body = await service.bodies.read(request, FeedbackBody)
        service.bodies.check_texts(
            [item.text for item in body.items], what="items", each="items.{}.text"
        )
        by_model: dict[str, list[int]] = {}
        for number, item in enumerate(body.items):
            by_model.setdefault(_checked(service, number, item).name, []).append(number)
        ids = [0] * len(body.items)
        for name, numbers in by_model.items():
            served = service.models.named(name)
            try:
                served.loaded.classifier.rule_.require_one_label("learning from corrections")
            except ConfigError as error:
                raise Refusal(422, str(error), field="items") from None
            try:
                new = [_correction(body.items[number]) for number in numbers]
                kept = await service.in_store(partial(served.learning.add, new))
            except (
                DataError
            ):  # the labels were valid before: the model was replaced by one with other labels
                raise Refusal(
                    422, f"an item does not match the labels of model {shown(name)}", field="items"
                ) from None
            for number, id in zip(numbers, kept, strict=True):
                ids[number] = id
            service.metrics.corrected(name, len(numbers))
            service.learner.learn(served)
        request.scope[NOTES]["items"] = len(ids)
        return json_response({"ids": ids, **_QUEUED})

    @app.get(
        "/v1/feedback",
        response_model=StoredItems,
        response_model_exclude_none=True,
        tags=["feedback"],
        **refuses(404, 507),
    )
    async def items(request: Request, model: OfModel = None, user: OfUser = None) -> Response:
        """List all corrections, each with the beginning of its text.

        The texts are left out if the server hides them: `--hide-texts`, or no API key although
        other machines can reach it.
        """
        several = len(service.models) > 1
        found: list[dict[str, Any]] = []
        for served in _asked(service, request, model):
            kept, effective = await service.in_store(partial(_kept, served))
            kept = [item for item in kept if user is None or item.user == user]
            shown = excerpts([item.text for item in kept], EXCERPT) if service.show_texts else []
            for place, item in enumerate(kept):
                entry = {"id": item.id, "label": item.label, "created": item.created}
                entry |= {"in_effect": item.id in effective}
                entry |= {"user": item.user} if item.user else {}
                entry |= {"model": served.name} if several else {}
                found.append(entry | ({"excerpt": shown[place]} if shown else {}))
        return json_response({"items": sorted(found, key=lambda item: int(item["id"]))})

    @app.delete(
        "/v1/feedback/{id}", response_model=RemovedFeedback, tags=["feedback"], **refuses(404, 507)
    )
    async def remove(request: Request, id: Annotated[int, Path(ge=1, le=LARGEST_ID)]) -> Response:
        """Undo one correction: its text is deleted from the store, and its effect is removed."""
        for served in service.models:
            if await service.undoing(partial(_remove, served, id)):
                service.learner.learn(served)
                return json_response({"removed": 1, **_QUEUED})
        raise Refusal(404, "there is no such correction", field="id")

    @app.delete(
        "/v1/feedback", response_model=RemovedFeedback, tags=["feedback"], **refuses(404, 507)
    )
    async def remove_all(request: Request, model: OfModel = None, user: OfUser = None) -> Response:
        """Undo all corrections: their texts are deleted, and their effects are removed."""
        removed, asked = 0, _asked(service, request, model)
        for served in asked:
            removed += await service.undoing(partial(served.learning.remove_all, user))
        for served in asked:
            service.learner.learn(served)
        return json_response({"removed": removed, **_QUEUED})


def _asked(service: Service, request: Request, model: str | None) -> list[Served]:
    """Return the models that a request is about.

    An unknown parameter is an error, because a misspelt one must not delete more than intended.
    """
    unknown = next((name for name in request.query_params if name not in ("model", "user")), None)
    if unknown is not None:
        raise Refusal(422, f"unknown parameter {shown(unknown)}; known: model, user")
    return list(service.models) if model is None else [service.models.named(model)]


def _kept(served: Served) -> tuple[list[Correction], set[int]]:
    return served.learning.items(), served.learning.ids_in_effect()


def _remove(served: Served, id: int) -> bool:
    """Delete the correction if it belongs to this model: all models share a store."""
    return any(item.id == id for item in served.learning.items()) and served.learning.remove(id)


def _checked(service: Service, number: int, item: FeedbackItem) -> Served:
    """Return the item's model; nothing is stored unless every item has a known model and label."""
    try:
        served = service.models.named(item.model)
    except Refusal as refusal:
        raise Refusal(refusal.status, refusal.message, field=f"items.{number}.model") from None
    if matching_label(item.label, known_labels(served.labels)) is None:
        field = f"items.{number}.label"
        raise Refusal(
            422,
            f"{field}: expected one of {', '.join(served.labels)}; got {shown(item.label)}",
            field=field,
        )
    return served


def _correction(item: FeedbackItem) -> NewCorrection:
    return NewCorrection(item.text, item.label, user=item.user or "", force=item.force)
