"""Schemas of the routes of charts."""

from typing import Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.web.inputs import Input
from catdog.web.schemas import described


class ListedChart(Schema):
    """A chart."""

    name = String(**described("name in /api/charts/{name} and /api/charts/{name}.csv", example="roc"))
    title = String(**described("what it shows"))
    about = String(**described("how to read it"))
    rows = Integer(**described("number of rows of its data; 0 if there is nothing to show"))
    empty = String(**described("what to do if there is nothing to show"))


class Insight(Schema):
    """A key finding."""

    topic = String(**described("subject"))
    text = String(**described("one or two sentences"))
    needs_attention = Boolean(**described("whether it calls for action"))


class Charts(Schema):
    """The charts of the model in use, and its key findings."""

    version = Integer(**described("version in use"))
    charts = List(Nested(ListedChart), **described("in the order of the page"))
    insights = List(Nested(Insight), **described("key findings"))


class Cell(Input):
    """A cell of the confusion matrix."""

    true = String(metadata={"description": "true class"})
    answered = String(metadata={"description": "predicted class"})


class TestPicture(Schema):
    """An image that the version was tested on."""

    name = String(**described("file name; empty if it isn't known"))
    sha256 = String(**described("SHA-256 of the file"))
    true = String(**described("display name of the true class"))
    answered = String(**described("display name of the predicted class"))
    confidence = Float(**described("probability of the predicted class"))
    probabilities = Dict(keys=String(), values=Float(), **described("probability of each class, by key"))
    file = String(allow_none=True, **described("URL of the image; null if its file is gone"))


class Pictures(Schema):
    """Test images in a cell of the confusion matrix, or all mistakes."""

    pictures = List(
        Nested(TestPicture), **described("mistakes: most confident first; correct predictions: least confident first")
    )


SPECIFICATION: Final = {
    "description": "A Vega-Lite specification with its data",
    "content": {"application/json": {"schema": {"type": "object", "additionalProperties": True}}},
}
CSV: Final = {"description": "The rows", "content": {"text/csv": {"schema": {"type": "string"}}}}
