"""The reference of the API as Markdown, from the server's own OpenAPI document: nothing in it is written by hand.

Ready-made writers (essentials-openapi 1.4 was tried) spell out an example and a schema for each status of each route:
700 kB, most of it the same problem. Here a status links to its schema, which is there once.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

Document = Mapping[str, Any]

ORDER: Final = ("API", "Retraining", "Charts", "Inference", "Session", "Probes")
"""Groups of routes, the most used first; others follow."""

LIMITS: Final = {
    "minimum": "at least {:,}", "exclusiveMinimum": "over {:,}", "maximum": "at most {:,}", "pattern": "like `{}`",
    "minLength": "at least {:,} characters", "maxLength": "at most {:,} characters",
    "minItems": "at least {:,}", "maxItems": "at most {:,}", "default": "otherwise `{}`", "contentEncoding": "{}",
}  # fmt: skip


def read_document() -> Document:
    """Return the OpenAPI document of a temporary server with the bundled model."""
    from catdog.settings import load_settings
    from catdog.web.app import create_app

    with tempfile.TemporaryDirectory() as home:
        app = create_app(load_settings(home=Path(home), tracking=False))
        try:
            document: Document = app.test_client().get("/api/openapi.json").get_json()
        finally:
            app.extensions["catdog"].stop()
    return document


def render(document: Document) -> str:
    """Return all routes by group, then all schemas."""
    lines: list[str] = []
    for group, routes in _by_group(document).items():
        lines += [f"### {group}", ""]
        for path, method, operation in routes:
            lines += _operation(path, method, operation)
    lines += ["### Schemas", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"#### {name} {{#{_anchor(name)}}}", "", *_text(schema), *_fields(schema)]
    return "\n".join(lines)


def _by_group(document: Document) -> dict[str, list[tuple[str, str, Document]]]:
    found: dict[str, list[tuple[str, str, Document]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            group = operation.get("tags", ["Probes"])[0]
            found.setdefault(group, []).append((path, method.upper(), operation))
    names = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return {name: sorted(found[name]) for name in names}


def _operation(path: str, method: str, operation: Document) -> list[str]:
    permission = ["Needs the key; without one, the server's own machine.", ""] if operation.get("security") else []
    anchor = re.sub(r"\W+", "-", f"{method}{path}").strip("-").lower()
    return [
        f"#### {method} `{path}` {{#{anchor}}}",
        "",
        *_text({"description": operation.get("summary", "")}),
        *_text(operation),
        *permission,
        *_parameters(operation.get("parameters", [])),
        *_body(operation.get("requestBody")),
        *_responses(operation["responses"]),
    ]


def _parameters(parameters: list[Document]) -> list[str]:
    rows = [
        (
            f"`{given['name']}`{_needed(given.get('required', False))}",
            given["in"],
            _kind(given["schema"]),
            given.get("description", ""),
        )
        for given in parameters
    ]
    return _table(("Parameter", "In", "Type", "Meaning"), rows)


def _body(body: Document | None) -> list[str]:
    """Describe the body of a request; content types with the same schema share a table."""
    kinds: dict[str, list[str]] = {}
    for kind, content in (body or {}).get("content", {}).items():
        kinds.setdefault(json.dumps(content.get("schema", {})), []).append(f"`{kind}`")
    lines = []
    for written, names in kinds.items():
        schema = json.loads(written)
        fields = _fields(schema)
        told = "" if fields else f": {_kind(schema)}"
        lines += [f"Body, {' or '.join(names)}{told}", "", *fields]
    return lines


def _responses(responses: Document) -> list[str]:
    rows = []
    for status, response in responses.items():
        contents = [
            f"`{kind}`: {_kind(content.get('schema', {}))}" for kind, content in response.get("content", {}).items()
        ]
        name = f"{status} {HTTPStatus(int(status)).phrase}"
        rows.append((name, response["description"], "; ".join(contents)))
    return _table(("Status", "When", "Response"), sorted(rows))


def _fields(schema: Document) -> list[str]:
    return _table(("Field", "Type", "Meaning"), list(_rows(schema, "")))


def _rows(schema: Document, before: str) -> Iterator[tuple[str, ...]]:
    """Describe the fields of an object; those of inner objects as `outer.inner`, those in lists as `outer[].inner`."""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        yield f"`{before}{name}`{_needed(name in required)}", _kind(field), field.get("description", "")
        yield from _rows(field, f"{before}{name}.")
        yield from _rows(field.get("items", {}), f"{before}{name}[].")


def _anchor(schema: str) -> str:
    return f"schema-{schema.lower()}"


def _needed(is_needed: bool) -> str:
    return "" if is_needed else " (optional)"


def _kind(schema: Document) -> str:
    """Describe in a few words what a schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    for key, word in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if key in schema:
            return word.join(_kind(part) for part in schema[key])
    if "enum" in schema:
        return " or ".join(f"`{value if isinstance(value, str) else json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    return ", ".join([_name(schema), *_limits(schema)])


def _name(schema: Document) -> str:
    kinds = schema.get("type", "anything")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if "array" in names and "items" in schema:
        names[names.index("array")] = f"array of {_kind(schema['items'])}"
    if "object" in names and isinstance(schema.get("additionalProperties"), Mapping):
        names[names.index("object")] = f"object of {_kind(schema['additionalProperties'])}"
    if schema.get("format"):
        names[0] += f" ({schema['format']})"
    return " or ".join(names)


def _limits(schema: Document) -> Iterator[str]:
    for key, words in LIMITS.items():
        if key in schema:
            yield words.format(schema[key])


def _text(described: Document) -> list[str]:
    text = described.get("description", "")
    return [text, ""] if text else []


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in row)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines, ""]
