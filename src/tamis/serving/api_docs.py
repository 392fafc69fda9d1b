"""`/docs`: the OpenAPI document as one HTML page without scripts or external resources."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --faint: #777 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 0.875rem/1.5 ui-monospace, monospace }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid var(--line); border-radius: 4px }
h2 { font-size: 1.1rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem }
table { border-collapse: collapse } td { padding: 0.1rem 1rem 0.1rem 0; vertical-align: top }
.faint { color: var(--faint) }
"""
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
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>tamis: HTTP API</title><style>{_STYLE}</style></head>
<body>
<h1>tamis {html.escape(document["info"]["version"])}: HTTP API</h1>
<p>{html.escape(document["info"].get("summary", ""))}
OpenAPI document: <a href="openapi.json">openapi.json</a>.</p>
<p class="faint">Every response with status 400 or above has the form
<code>{{"error": {{"code", "message", "field"}}}}</code>.</p>
{"".join(calls)}
</body>
</html>
""".encode()


def _call(method: str, path: str, call: dict[str, Any], schemas: dict[str, Any]) -> str:
    body = (
        call["requestBody"]["content"]["application/json"]["schema"]
        if "requestBody" in call
        else None
    )
    answer = next(
        (kind.get("schema") for kind in call["responses"]["200"].get("content", {}).values()), None
    )
    parts = [
        f"<h2><code>{method} "
        f"{html.escape(path)}</code></h2><p>{html.escape(call.get('description', ''))}</p>"
    ]
    for title, schema in (("Body", body), ("Answer", answer)):
        if schema:
            shape = json.dumps(_shape(schema, schemas), indent=2, ensure_ascii=False)
            parts.append(f"<p>{title}</p><pre>{html.escape(shape)}</pre>")
    rows = [
        f"<tr><td>{status}</td><td>{html.escape(found['description'])}</td></tr>"
        for status, found in call["responses"].items()
    ]
    return f'{"".join(parts)}<table class="faint">{"".join(rows)}</table>'


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
