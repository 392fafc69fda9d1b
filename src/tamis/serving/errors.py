"""Error responses: every error has the form {"error": {"code", "message", "field"}}, and none
contains a text, a key or a path of the server.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from tamis.errors import TamisError

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
    422: "invalid",
    429: "too_busy",
    500: "internal",
    503: "not_ready",
    507: "not_stored",
}
"""HTTP status to error code."""
_SAID = {
    "missing": "is missing",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
    "dict_type": "must be an object",
}
_NAME = re.compile(r"\w{1,40}", flags=re.ASCII)


class Refusal(TamisError):
    """An error response to a request."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Create the error; `field` is the path in the body, such as `items.3.label`.

        `retry_after_s` is sent in the header Retry-After, in whole seconds.
        """
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after_s = (
            status,
            message,
            field,
            retry_after_s,
        )

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """Return the response."""
        given = dict(headers or {})
        if self.retry_after_s is not None:
            given["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            given["WWW-Authenticate"] = "Bearer"
        if self.status == 408:
            given["Connection"] = "close"  # further bytes belong to no request
        error = {
            "code": CODES.get(self.status, "refused"),
            "message": self.message,
            "field": self.field,
        }
        return json_response({"error": error}, status=self.status, headers=given)


def json_response(
    value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a value as compact UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def invalid(error: ValidationError) -> Refusal:
    """Return the first validation error of a body or a parameter."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(map(str, found["loc"])) or None
    said = _SAID.get(found["type"]) or found["msg"][:1].lower() + found["msg"][1:]
    return Refusal(
        422,
        f"{field or 'the body'} {said}"
        if found["type"] in _SAID
        else f"{field or 'the body'}: {said}",
        field=field,
    )


def plain_name(name: object) -> bool:
    """Return whether a value from a client looks like a name; anything longer could be a text."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def shown(name: object) -> str:
    """Return a name from a client if it looks like a name."""
    return repr(name) if plain_name(name) else "a value that is not a plain name"
