"""Bodies and answers of the HTTP API, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError

from tamis.serving.errors import shown

ModelName = Annotated[
    str | None, Field(description="a model by its name; the first one by default")
]
User = Annotated[
    str | None,
    Field(max_length=200, description="whose corrections count as well, beside everybody's"),
]
Label = Annotated[str, Field(description="one of the model's labels")]
Share = Annotated[float, Field(ge=0, le=1)]
Probabilities = Annotated[dict[str, Share], Field(description="P(label) of every label")]


class Body(BaseModel):
    """What all bodies share: exact types, and an unknown field is an error instead of a setting
    that silently does nothing.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        """Names the first unknown field; pydantic itself would list every one of a million."""
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
    """Texts to judge or explain."""

    texts: Annotated[list[str], FailFast()]
    model: ModelName = None
    user: User = None


class FeedbackItem(Body):
    """Which label a text should have had."""

    text: str
    label: Label
    user: Annotated[
        str | None,
        Field(max_length=200, description="whose model learns it; everybody's by default"),
    ] = None
    force: Annotated[bool, Field(description="learn it even where the model is sure already")] = (
        False
    )
    model: ModelName = None


class FeedbackBody(Body):
    """Corrections."""

    items: Annotated[list[FeedbackItem], FailFast()]


class Prediction(BaseModel):
    """What the model says of one text."""

    label: Annotated[str, Field(description="by the threshold; never unsure")]
    verdict: Annotated[str, Field(description="the label, or unsure")]
    probabilities: Probabilities


class Predictions(BaseModel):
    """One result a text, in the order of the texts."""

    results: list[Prediction]


class TokenPoint(BaseModel):
    """A token, and the probability if the text ended behind it."""

    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int
    token: str
    probability: Share


class WordAttribution(BaseModel):
    """A word, and the log-odds that it gives to the explained label."""

    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int
    word: str
    attribution: float


class Window(BaseModel):
    """The part of a long text that decided its verdict."""

    number: Annotated[int, Field(description="from 0")]
    of: int
    first_token: int
    stop_token: int
    start: Annotated[int, Field(description="first character, counted in Unicode code points")]
    end: int


class ExplainedText(Prediction):
    """Why one text got its verdict."""

    text: str
    explained: Annotated[
        str, Field(description="the label whose probability and log-odds the rest is about")
    ]
    threshold: Annotated[float | None, Field(description="P(explained) at which the label changes")]
    tokens: list[TokenPoint]
    turn: Annotated[
        int, Field(description="number of the token from which on the label was the final one")
    ]
    words: list[WordAttribution]
    log_odds: float
    empty_log_odds: Annotated[float, Field(description="of an empty text")]
    remainder: Annotated[float, Field(description="what the words' shares leave over")]
    notes: list[str]
    window: Annotated[
        Window | None,
        Field(description="what decided, where the text is longer than the model's context"),
    ] = None


class Explanations(BaseModel):
    """One explanation a text, in the order of the texts."""

    results: list[ExplainedText]


class FeedbackStatus(BaseModel):
    """Whether what was asked for has been learnt already."""

    learned: bool
    reason: str


class StoredFeedback(FeedbackStatus):
    """Corrections that are on the disk."""

    ids: Annotated[list[int], Field(description="in the order of the items")]


class RemovedFeedback(FeedbackStatus):
    """Corrections that are gone, with their texts."""

    removed: int


class StoredItem(BaseModel):
    """One correction."""

    id: int
    label: str
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    model: Annotated[str | None, Field(description="where several models are served")] = None


class StoredItems(BaseModel):
    """All corrections in the order of their ids."""

    items: list[StoredItem]


class ServedModel(BaseModel):
    """A model that can be asked."""

    name: str
    default: Annotated[bool, Field(description="whether it answers where no model is named")]
    labels: list[str]
    positive: str | None
    threshold: Annotated[
        float | None, Field(description="P(positive) from which a text is positive")
    ]
    unsure: Annotated[
        list[float] | None,
        Field(description="both ends of the band on P(positive) in which the verdict is unsure"),
    ]
    confidence_floor: Annotated[
        float | None,
        Field(description="more than two labels: a most probable label below this is unsure"),
    ]
    loaded: Annotated[str, Field(description="UTC, ISO 8601")]
    stale: Annotated[
        bool,
        Field(
            description="its folder was replaced by one that cannot be loaded; "
            "the one before answers"
        ),
    ]
    learning: Annotated[
        FeedbackStatus | None,
        Field(
            description="how learning from the corrections went last; none before the first time"
        ),
    ]
    pending: Annotated[
        int | None,
        Field(
            description="corrections that are kept and not in effect; "
            "none where the store cannot be read"
        ),
    ]


class RequestLimits(BaseModel):
    """What a request may hold; beyond it the answer is 413."""

    body_bytes: int
    texts: Annotated[int, Field(description="texts, or items of feedback")]
    text_chars: Annotated[int, Field(description="characters of one text")]


class ServedModels(BaseModel):
    """All models, the default one first."""

    models: list[ServedModel]
    limits: RequestLimits


class Health(BaseModel):
    """Whether the server lives, or is ready."""

    status: str


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    message: str
    field: Annotated[str | None, Field(description="place in the body, as in items.3.label")]


class ErrorAnswer(BaseModel):
    """Every answer from 400 on."""

    error: ErrorDetail
