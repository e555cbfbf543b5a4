"""What the API is sent, and the shapes of its answers."""

import io
import json
from typing import Any

from apiflask import APIFlask
from drawing import draw, encode

CAT = encode(draw("cat", 4032))
DOG = encode(draw("dog", 4032))
PROBLEM = {"type", "title", "status", "error", "request_id"}


def form(*pictures: bytes, field: str = "image") -> dict[str, Any]:
    return {field: [(io.BytesIO(data), "picture.jpg") for data in pictures]}


def require_problem(response: Any, status: int, *words: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    document = json.loads(response.text)
    assert document.keys() == PROBLEM
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-ID"]
    for word in words:
        assert word in document["error"]
    return dict(document)


def require_schema(app: APIFlask, path: str, document: dict[str, Any], method: str = "get") -> None:
    """Check that a document has the keys that the OpenAPI document requires and no others."""
    spec = app.spec
    content = spec["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    schema = spec["components"]["schemas"][content["schema"]["$ref"].split("/")[-1]]
    assert set(schema.get("required", [])) <= document.keys() <= schema["properties"].keys()
