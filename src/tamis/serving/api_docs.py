"""`/docs`: the OpenAPI document as one HTML page without scripts or external resources.

The text of the page is in `templates/api_docs.html.j2`, its style in `templates/api_docs.css`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "api_docs.css").read_text(encoding="utf-8")
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""For the page's Content-Security-Policy."""


def docs_page(document: dict[str, Any]) -> bytes:
    """Return the HTML page of an OpenAPI document."""
    schemas = document["components"]["schemas"]
    calls = [
        _call(method.upper(), path, call, schemas)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    ]
    info = {"version": document["info"]["version"], "summary": document["info"].get("summary", "")}
    return _template().render(info=info, calls=calls).encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("api_docs.html.j2")


def _call(method: str, path: str, call: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """One call for the template: its description, the shapes of body and answer, its responses."""
    body = (
        call["requestBody"]["content"]["application/json"]["schema"]
        if "requestBody" in call
        else None
    )
    answer = next(
        (kind.get("schema") for kind in call["responses"]["200"].get("content", {}).values()), None
    )
    return {
        "method": method,
        "path": path,
        "description": call.get("description", ""),
        "shapes": [
            (title, json.dumps(_shape(schema, schemas), indent=2, ensure_ascii=False))
            for title, schema in (("Body", body), ("Answer", answer))
            if schema
        ],
        "responses": [
            (status, found["description"]) for status, found in call["responses"].items()
        ],
    }


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return an example of a schema's shape: each value is the name of its type."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        found = [
            _shape(option, schemas) for option in schema["anyOf"] if option.get("type") != "null"
        ]
        return f"{found[0]} or null" if isinstance(found[0], str) else found[0]
    kind = schema.get("type")
    if kind == "array":
        return [_shape(schema["items"], schemas)]
    if kind == "object" and "properties" in schema:
        shapes = {name: _shape(part, schemas) for name, part in schema["properties"].items()}
        return shapes
    if kind == "object":
        return {"...": _shape(schema.get("additionalProperties", {}), schemas)}
    words = f"one of {', '.join(schema['enum'])}" if "enum" in schema else str(kind)
    return f"{words}: {schema['description']}" if "description" in schema else words
