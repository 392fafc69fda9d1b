"""`POST /v1/predict` and `POST /v1/explain`."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from tamis.classifier.explain import explain
from tamis.serving.errors import Refusal, json_response
from tamis.serving.middleware import NOTES
from tamis.serving.model_registry import Served
from tamis.serving.openapi import takes
from tamis.serving.request_body import unless_gone
from tamis.serving.schemas import Explanations, Predictions, TextsBody
from tamis.serving.service import Service

_WATCHED_CHARS = 4_000
"""Fewest characters of a request that is cancelled when its client disconnects; a smaller one
finishes before the disconnection is noticed."""


def add_prediction_routes(app: FastAPI, service: Service) -> None:
    """Add the two routes."""

    async def asked(request: Request) -> tuple[TextsBody, Served]:
        body = await service.bodies.read(request, TextsBody)
        service.bodies.check_texts(body.texts)
        served = service.models.named(body.model)
        notes: dict[str, Any] = request.scope[NOTES]
        notes |= {"model": served.name, "texts": len(body.texts)}
        if service.log_texts:
            notes["said"] = body.texts
        return body, served

    @app.post(
        "/v1/predict",
        response_model=Predictions,
        tags=["texts"],
        **takes(TextsBody, refuses=(404, 429)),
    )
    async def predict(request: Request) -> Response:
        """Classify texts: label, verdict (the label, or unsure) and probabilities, in order."""
        body, served = await asked(request)
        classifier = served.classifier(body.user or "")
        work = service.batcher.probabilities(classifier, body.texts)
        probabilities = await (
            unless_gone(request, work) if sum(map(len, body.texts)) > _WATCHED_CHARS else work
        )
        verdicts = classifier.rule_.verdicts(
            body.texts, probabilities, [str(label) for label in classifier.classes_]
        )
        service.metrics.predicted(served.name, [name for v in verdicts for name in v.counted()])
        service.drift.offer(served.name, served.loaded.classifier, body.texts)
        return json_response(
            {
                "results": [
                    {key: value for key, value in v.to_dict().items() if key != "text"}
                    for v in verdicts
                ]
            }
        )

    @app.post(
        "/v1/explain",
        response_model=Explanations,
        tags=["texts"],
        **takes(TextsBody, refuses=(404, 429)),
    )
    async def explain_(request: Request) -> Response:
        """Explain texts: P(label) after every token and each word's contribution, with character
        offsets. Slower than a prediction.
        """
        body, served = await asked(request)
        if service.explanations >= service.limits.explanations:
            raise Refusal(
                429, "too many explanations are in progress; try again later", retry_after_s=2
            )
        classifier = served.classifier(body.user or "")
        service.explanations += 1
        begun = time.monotonic()
        try:
            results = []
            # Text by text: requests take turns, and one whose client disconnected ends early.
            for number, text in enumerate(body.texts):
                work = service.explaining(
                    partial(
                        _explained,
                        classifier,
                        text,
                        begun + service.limits.wait_s if not number else None,
                    )
                )
                results.append(await unless_gone(request, work))
        finally:
            service.explanations -= 1
        return json_response({"results": results})


def _explained(classifier: Any, text: str, latest: float | None) -> dict[str, Any]:
    """Compute one explanation, unless its turn comes too late."""
    if latest is not None and time.monotonic() > latest:
        raise Refusal(
            429, "too many explanations are in progress; try again later", retry_after_s=5
        )
    return explain(classifier, text).to_dict()
