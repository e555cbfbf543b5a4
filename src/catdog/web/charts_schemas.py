"""What the routes of the charts give, for the OpenAPI document."""

from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String


def _about(text: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "metadata": {"description": text, **more}}


class ListedChart(Schema):
    """A chart."""

    name = String(**_about("in /api/charts/{name} and /api/charts/{name}.csv", example="roc"))
    title = String(**_about("what it shows"))
    about = String(**_about("how to read it"))
    rows = Integer(**_about("how many rows its data has; 0 where there is nothing to show"))
    empty = String(**_about("what to do where there is nothing to show"))


class Insight(Schema):
    """A sentence that was computed from the numbers."""

    topic = String(**_about("what it is about"))
    text = String(**_about("a sentence or two"))
    needs_attention = Boolean(**_about("whether something should be done"))


class Charts(Schema):
    """The charts of the version that answers, and what the numbers say."""

    version = Integer(**_about("the version that answers"))
    charts = List(Nested(ListedChart), **_about("in the order of the page"))
    insights = List(Nested(Insight), **_about("what stands out"))


class TestPicture(Schema):
    """A picture that the version was tested on."""

    name = String(**_about("name of its file; empty where that is not known"))
    sha256 = String(**_about("hash of its bytes"))
    true = String(**_about("what it shows, as shown to people"))
    answered = String(**_about("what was answered, as shown to people"))
    confidence = Float(**_about("probability of the answered class"))
    probabilities = Dict(keys=String(), values=Float(), **_about("one for each class, by key"))
    file = String(allow_none=True, **_about("where the picture can be seen; null where it is not any more"))


class Pictures(Schema):
    """Pictures of a cell of the confusion matrix, or all mistakes."""

    pictures = List(Nested(TestPicture), **_about("mistakes the surest first, right answers the least sure first"))


SPECIFICATION: Final = {
    "description": "A Vega-Lite specification, with its data",
    "content": {"application/json": {"schema": {"type": "object", "additionalProperties": True}}},
}
CSV: Final = {"description": "The rows", "content": {"text/csv": {"schema": {"type": "string"}}}}


def add_queries(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add to an OpenAPI document what these routes take."""
    if isinstance(spec, str):  # YAML, which is not asked for
        return spec
    texts = {"true": "class that the pictures show", "answered": "class that was answered"}
    spec["paths"]["/api/charts/pictures"]["get"]["parameters"] = [
        {"name": name, "in": "query", "schema": {"type": "string"}, "description": text} for name, text in texts.items()
    ]
    return spec
