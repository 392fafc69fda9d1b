"""`GET /v1/examples`: texts to try, whose verdicts hold.

A model of spam gets short messages written for this project, any other model test rows of its run.
Only texts that the model judges as expected now are given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from tamis.classifier.training_features import PREDICTIONS
from tamis.decision.verdict import Verdict
from tamis.serving.errors import json_response
from tamis.serving.model_registry import Served
from tamis.serving.openapi import refuses
from tamis.serving.routes.feedback import OfModel
from tamis.serving.schemas import Examples
from tamis.serving.service import Service

A_CLASS = 2
"""Examples of each class."""
MOST_EXAMPLES = 6
SHORTEST, LONGEST = 12, 160
"""Characters of a test row that can be an example."""
_MOST_LINES, _MOST_OF_A_CLASS = 5_000, 20
"""Lines of a run that are read, and rows of a class that are judged."""
SPAM = (
    "FREE entry! Text WIN to 80085 now to claim your \u00a31,000 prize. 150p/msg, 18+",
    "URGENT: you have won a \u00a3500 voucher. Call 09061 701 461 from a landline to claim now",
    "Your parcel is held at our depot. Pay the \u00a31.99 fee within 24 hours: parcel-fee.example",
    "Congratulations! You have been selected for a free holiday for 2. Reply YES to claim",
    "Your bank account is locked. Verify your details now at secure-bank.example/login",
    "Win cash every week! Txt PLAY to 81010. Cost 1.50 per text, STOP to end",
)
HAM = (
    "Are you coming to lunch at one?",
    "Running ten minutes late, sorry. Start without me",
    "Can you pick up some milk on your way home?",
    "Thanks for dinner last night, it was lovely to see you",
    "I will call you after the lecture",
)


@dataclass(frozen=True)
class Candidate:
    """A text that may be an example, and the verdict that it should have."""

    text: str
    verdict: str


def add_example_routes(app: FastAPI, service: Service) -> None:
    """Add the route."""
    known: dict[str, tuple[object, list[dict[str, str]]]] = {}

    @app.get("/v1/examples", response_model=Examples, tags=["texts"], **refuses(404, 429))
    async def examples(request: Request, model: OfModel = None) -> Response:
        """List texts to try with the verdicts that the model gives them now.

        Test rows of a run are left out if the server hides stored texts.
        """
        served = service.models.named(model)
        classifier = served.classifier()
        before = known.get(served.name)
        if before is None or before[0] is not classifier:
            candidates = candidates_for(served, show_texts=service.show_texts)
            texts = [candidate.text for candidate in candidates]
            found: list[dict[str, str]] = []
            if texts:
                probabilities = await service.batcher.probabilities(classifier, texts)
                names = [str(label) for label in classifier.classes_]
                found = chosen(candidates, classifier.rule_.verdicts(texts, probabilities, names))
            known[served.name] = (classifier, found)
        return json_response({"examples": known[served.name][1]})


def candidates_for(served: Served, *, show_texts: bool) -> list[Candidate]:
    """Return texts that may be examples of a model, by their expected verdicts."""
    positive, labels = served.loaded.classifier.rule_.positive, served.labels
    if positive is not None and len(labels) == 2 and positive.casefold() == "spam":
        negative = next(label for label in labels if label != positive)
        return [
            *(Candidate(text, positive) for text in SPAM),
            *(Candidate(text, negative) for text in HAM),
        ]
    return _of_run(served.run, set(labels)) if show_texts else []


def chosen(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """Return the candidates with the verdict that is expected, a few of each class."""
    found: list[dict[str, str]] = []
    of_class: dict[str, int] = {}
    for candidate, verdict in zip(candidates, verdicts, strict=True):
        if verdict.verdict != candidate.verdict or of_class.get(candidate.verdict, 0) >= A_CLASS:
            continue
        of_class[candidate.verdict] = of_class.get(candidate.verdict, 0) + 1
        found.append({"text": candidate.text, "verdict": candidate.verdict})
    return found[:MOST_EXAMPLES]


def _of_run(run: Path, labels: set[str]) -> list[Candidate]:
    """Return short test rows of a run that it judged rightly; none if the run keeps no texts."""
    path = next((p for p in (run / PREDICTIONS, run.parent / PREDICTIONS) if p.is_file()), None)
    found: dict[str, list[Candidate]] = {}
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8") as file:
            for _, line in zip(range(_MOST_LINES), file, strict=False):
                row: dict[str, Any] = json.loads(line)
                text, label = str(row.get("text", "")), str(row["label"])
                rightly = row["part"] == "test" and row.get("verdict") == label and label in labels
                if not rightly or not SHORTEST <= len(text) <= LONGEST or not text.isprintable():
                    continue
                own = found.setdefault(label, [])
                if len(own) < _MOST_OF_A_CLASS and all(text != one.text for one in own):
                    own.append(Candidate(text, label))
    except (OSError, ValueError, KeyError, TypeError):
        return []  # examples are an extra: a damaged file of the run is reported elsewhere
    return [candidate for label in sorted(found) for candidate in found[label]]
