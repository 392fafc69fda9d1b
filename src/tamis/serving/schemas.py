"""Request and response bodies of the HTTP API, as shown in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tamis.data.files.cells import shown_cell
from tamis.serving.errors import shown

ModelName = Annotated[str | None, Field(description="name of a model; default: the first model")]
User = Annotated[
    str | None,
    Field(
        max_length=200,
        description="user whose own corrections count in addition to the shared ones",
    ),
]


def _spelled(value: object) -> object:
    """Return a label as a table spells it; numbers and truth values of JSON may be labels."""
    return shown_cell(value) if isinstance(value, int | float) else value


Label = Annotated[
    str,
    BeforeValidator(_spelled),
    WithJsonSchema({"anyOf": [{"type": name} for name in ("string", "number", "boolean")]}),
    Field(
        description="one of the model's labels; numbers are compared as numbers: 1, 1.0 and the "
        "string 1 are equal"
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
Probabilities = Annotated[dict[str, Share], Field(description="P(label) of every label")]


class Body(BaseModel):
    """Base of all request bodies: types are strict, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        """Report the first unknown field; pydantic would list all of them, even a million."""
        if (
            isinstance(value, dict)
            and (unknown := next((name for name in value if name not in cls.model_fields), None))
            is not None
        ):
            known = ", ".join(cls.model_fields)
            raise PydanticCustomError(
                "unknown_field",
                "unknown field {name}; known: {known}",
                {"name": shown(unknown), "known": known},
            )
        return value


class TextsBody(Body):
    """Texts to classify or explain."""

    texts: Annotated[list[str], FailFast()]
    model: ModelName = None
    user: User = None


class FeedbackItem(Body):
    """A text and its correct label."""

    text: str
    label: Label
    user: Annotated[
        str | None,
        Field(max_length=200, description="user whose model learns it; default: the shared model"),
    ] = None
    force: Annotated[bool, Field(description="learn it even if the model is already confident")] = (
        False
    )
    model: ModelName = None


class FeedbackBody(Body):
    """Corrections."""

    items: Annotated[list[FeedbackItem], FailFast()]


class Prediction(BaseModel):
    """The prediction for one text."""

    label: Annotated[str, Field(description="label by the threshold; never unsure")]
    verdict: Annotated[
        str,
        Field(
            description="the label, or unsure; of a multi-label model all labels that apply, "
            "joined by commas, or none"
        ),
    ]
    probabilities: Probabilities
    labels: Annotated[
        list[str] | None,
        Field(description="labels that apply; only of a multi-label model"),
    ] = None


class Predictions(BaseModel):
    """One result per text, in the order of the texts."""

    results: list[Prediction]


class TokenPoint(BaseModel):
    """A token, and the probability if the text ended after it."""

    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int
    token: str
    probability: Share


class WordAttribution(BaseModel):
    """A word and its contribution to the log-odds of the explained label."""

    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int
    word: str
    attribution: float


class Window(BaseModel):
    """The window of a long text that decided its verdict."""

    number: Annotated[int, Field(description="from 0")]
    of: int
    first_token: int
    stop_token: int
    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int


class ExplainedText(Prediction):
    """The explanation of one text."""

    text: str
    explained: Annotated[
        str, Field(description="the label that probabilities and log-odds refer to")
    ]
    threshold: Annotated[float | None, Field(description="P(explained) at which the label changes")]
    tokens: list[TokenPoint]
    turn: Annotated[
        int, Field(description="number of the token from which on the label stayed the final one")
    ]
    words: list[WordAttribution]
    log_odds: float
    empty_log_odds: Annotated[float, Field(description="log-odds of an empty text")]
    remainder: Annotated[
        float, Field(description="log-odds that the contributions of the words do not explain")
    ]
    notes: list[str]
    window: Annotated[
        Window | None,
        Field(
            description="the window that decided, if the text is longer than the model's context"
        ),
    ] = None


class Explanations(BaseModel):
    """One explanation per text, in the order of the texts."""

    results: list[ExplainedText]


class FeedbackStatus(BaseModel):
    """Whether the requested change has been learned."""

    learned: bool
    reason: str


class StoredFeedback(FeedbackStatus):
    """The ids of stored corrections."""

    ids: Annotated[list[int], Field(description="in the order of the items")]


class RemovedFeedback(FeedbackStatus):
    """The number of corrections that were deleted with their texts."""

    removed: int


class StoredItem(BaseModel):
    """One correction."""

    id: int
    label: str
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    in_effect: Annotated[
        bool,
        Field(description="whether it counts in the answers; otherwise it waits or is held back"),
    ]
    user: Annotated[str | None, Field(description="of a correction that is a user's own")] = None
    model: Annotated[str | None, Field(description="if several models are served")] = None
    excerpt: Annotated[
        str | None,
        Field(description="beginning of the text; missing if the server hides texts"),
    ] = None


class StoredItems(BaseModel):
    """All corrections, sorted by id."""

    items: list[StoredItem]


class Example(BaseModel):
    """A text to try, and the verdict of the model on it."""

    text: str
    verdict: str


class Examples(BaseModel):
    """Texts to try; none if there are no suitable ones."""

    examples: list[Example]


class ServedModel(BaseModel):
    """A model of this server."""

    name: str
    default: Annotated[bool, Field(description="whether it answers requests that name no model")]
    labels: list[str]
    positive: str | None
    threshold: Annotated[
        float | None, Field(description="P(positive) from which on the label is the positive one")
    ]
    unsure: Annotated[
        list[float] | None,
        Field(
            description="both ends of the interval of P(positive) in which the verdict is unsure"
        ),
    ]
    confidence_floor: Annotated[
        float | None,
        Field(
            description="for more than two labels: the verdict is unsure if the highest "
            "probability is below this"
        ),
    ]
    loaded: Annotated[str, Field(description="UTC, ISO 8601")]
    stale: Annotated[
        bool,
        Field(
            description="its folder was replaced by one that cannot be loaded; the previous model "
            "answers"
        ),
    ]
    learning: Annotated[
        FeedbackStatus | None,
        Field(description="result of the last refit on corrections; null before the first"),
    ]
    pending: Annotated[
        int | None,
        Field(
            description="number of stored corrections that are not in effect; null if the store "
            "cannot be read"
        ),
    ]


class RequestLimits(BaseModel):
    """Limits of a request; a larger one gets 413."""

    body_bytes: int
    texts: Annotated[int, Field(description="texts, or items of feedback")]
    text_chars: Annotated[int, Field(description="characters of one text")]


class ServedModels(BaseModel):
    """All models, the default one first."""

    models: list[ServedModel]
    limits: RequestLimits


class Health(BaseModel):
    """Whether the server is alive or ready."""

    status: str


class ErrorDetail(BaseModel):
    """The error."""

    code: str
    message: str
    field: Annotated[str | None, Field(description="path in the body, such as items.3.label")]


class ErrorAnswer(BaseModel):
    """The body of every response with status 400 or above."""

    error: ErrorDetail
