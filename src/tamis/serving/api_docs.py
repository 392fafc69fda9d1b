"""`/docs`: the OpenAPI document as one HTML page, with a form to try each call.

The text of the page is in `templates/api_docs.html.j2`, its style in `templates/api_docs.css`, its
script in `static/docs.js`. Nothing is fetched from another server, and the page can be read without
the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "api_docs.css").read_text(encoding="utf-8")
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""For the page's Content-Security-Policy."""


_EXAMPLE = "Are you coming to lunch at one?"
_BASE = re.compile(r"https?://[\w.:\[\]-]+(/[\w./~-]*)?", re.ASCII)


def docs_page(document: dict[str, Any], base: str = "") -> bytes:
    """Return the HTML page of an OpenAPI document.

    Args:
        document: the document.
        base: address of the server as the reader sees it, for the lines for a shell.
    """
    schemas = document["components"]["schemas"]
    base = base.rstrip("/") if _BASE.fullmatch(base) else "http://localhost:8000"
    calls = [
        _call(method.upper(), path, call, schemas, base)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    ]
    info = {"version": document["info"]["version"], "summary": document["info"].get("summary", "")}
    errors = {
        status: found["description"]
        for methods in document["paths"].values()
        for call in methods.values()
        for status, found in call["responses"].items()
        if int(status) >= 400
    }
    page = _template().render(
        info=info,
        calls=calls,
        errors=sorted(errors.items()),
        keys=any(call["key"] for call in calls),
    )
    return page.encode()


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


def _call(
    method: str, path: str, call: dict[str, Any], schemas: dict[str, Any], base: str
) -> dict[str, Any]:
    """One call for the template: description, line for a shell, form, shapes, errors."""
    body = (
        call["requestBody"]["content"]["application/json"]["schema"]
        if "requestBody" in call
        else None
    )
    answer = next(
        (kind.get("schema") for kind in call["responses"]["200"].get("content", {}).values()), None
    )
    example = "" if body is None else json.dumps(_example(body, schemas), ensure_ascii=False)
    parameters = [_parameter(parameter) for parameter in call.get("parameters", [])]
    key = "security" in call
    return {
        "id": re.sub(r"\W+", "-", f"{method} {path}".lower()).strip("-"),
        "method": method,
        "path": path,
        "key": key,
        "description": call.get("description", ""),
        "curl": _curl(method, base + path, parameters, example, key=key),
        "parameters": parameters,
        "example": example,
        "rows": 2 + len(example) // 80,
        "shapes": [
            (title, json.dumps(_shape(schema, schemas), indent=2, ensure_ascii=False))
            for title, schema in (("Fields of the body", body), ("Fields of the answer", answer))
            if schema
        ],
        "errors": [status for status in call["responses"] if int(status) >= 400],
    }


def _parameter(parameter: dict[str, Any]) -> tuple[str, str, str, str]:
    """Name, place (`path` or `query`), description, and a value for the form."""
    where = parameter["in"]
    described = parameter.get("description") or parameter["schema"].get("description", "")
    return parameter["name"], where, described, "1" if where == "path" else ""


def _curl(
    method: str,
    address: str,
    parameters: list[tuple[str, str, str, str]],
    example: str,
    *,
    key: bool,
) -> str:
    """The call as one line for a shell."""
    for name, where, _, value in parameters:
        if where == "path":
            address = address.replace(f"{{{name}}}", value)
    words = ["curl", "-s"]
    if method != ("POST" if example else "GET"):
        words += ["-X", method]
    line = " ".join([*words, shlex.quote(address)])
    if key:
        line += ' -H "Authorization: Bearer $TAMIS_API_KEY"'
    if example:
        line += f" -H 'Content-Type: application/json' -d {shlex.quote(example)}"
    return line


def _example(schema: dict[str, Any], schemas: dict[str, Any], name: str = "") -> Any:
    """Return a body that the server accepts: required fields, with a text and a known label."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    if schema.get("type") == "object":
        required = schema.get("required", [])
        fields = schema.get("properties", {})
        return {field: _example(fields[field], schemas, field) for field in required}
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas, name)]
    if "enum" in schema:
        return schema["enum"][0]
    return "LABEL" if name == "label" else _EXAMPLE


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return an example of a schema's shape: each value is the name of its type."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        found = [_shape(option, schemas) for option in schema["anyOf"]]
        if not all(isinstance(option, str) for option in found):
            return found[0]
        described = f": {schema['description']}" if "description" in schema else ""
        return " or ".join(found) + described
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
