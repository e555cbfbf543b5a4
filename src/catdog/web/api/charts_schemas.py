"""What the routes of the charts give, for the OpenAPI document."""

from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.web.schemas import described


class ListedChart(Schema):
    """A chart."""

    name = String(**described("in /api/charts/{name} and /api/charts/{name}.csv", example="roc"))
    title = String(**described("what it shows"))
    about = String(**described("how to read it"))
    rows = Integer(**described("how many rows its data has; 0 where there is nothing to show"))
    empty = String(**described("what to do where there is nothing to show"))


class Insight(Schema):
    """A sentence that was computed from the numbers."""

    topic = String(**described("what it is about"))
    text = String(**described("a sentence or two"))
    needs_attention = Boolean(**described("whether something should be done"))


class Charts(Schema):
    """The charts of the version that answers, and what the numbers say."""

    version = Integer(**described("the version that answers"))
    charts = List(Nested(ListedChart), **described("in the order of the page"))
    insights = List(Nested(Insight), **described("what stands out"))


class TestPicture(Schema):
    """A picture that the version was tested on."""

    name = String(**described("name of its file; empty where that is not known"))
    sha256 = String(**described("hash of its bytes"))
    true = String(**described("what it shows, as shown to people"))
    answered = String(**described("what was answered, as shown to people"))
    confidence = Float(**described("probability of the answered class"))
    probabilities = Dict(keys=String(), values=Float(), **described("one for each class, by key"))
    file = String(allow_none=True, **described("where the picture can be seen; null where it is not any more"))


class Pictures(Schema):
    """Pictures of a cell of the confusion matrix, or all mistakes."""

    pictures = List(Nested(TestPicture), **described("mistakes the surest first, right answers the least sure first"))


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
