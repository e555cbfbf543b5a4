"""Schemas of the Open Inference Protocol V2."""

from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Integer, List, Nested, Raw, String

from catdog.web.api.tensor_requests import INPUT, request_schema
from catdog.web.requests.limits import HEADER_LENGTH
from catdog.web.schemas import described

KINDS: Final = ("application/json", "application/octet-stream")
_BINARY: Final = {"type": "string", "format": "binary"}
_GREY_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="


class ServerMetadata(Schema):
    """Server metadata."""

    name = String(**described("catdog"))
    version = String(**described("catdog's version"))
    extensions = List(String(), **described("supported protocol extensions"))


class Live(Schema):
    """Whether the process is alive."""

    live = Boolean(**described("true"))


class Ready(Schema):
    """Whether a model is loaded."""

    ready = Boolean(**described("true"))


class ModelReady(Schema):
    """Whether the model, or one version of it, is in use."""

    name = String(**described("catdog"))
    ready = Boolean(**described("true"))


class TensorMetadata(Schema):
    """An input or output of the model."""

    name = String(**described("name"))
    datatype = String(**described("BYTES, INT64 or FP32"))
    shape = List(Integer(), **described("dimensions; -1 stands for the number of images"))
    parameters = Dict(metadata={"description": "class key by column of `probabilities`"})


class ModelMetadata(Schema):
    """Model metadata."""

    name = String(**described("catdog"))
    versions = List(String(), **described("version in use"))
    platform = String(**described("inference runtime"))
    inputs = List(Nested(TensorMetadata), **described("one input, `image`: each element is an image file"))
    outputs = List(Nested(TensorMetadata), **described("outputs, with one element or row per image"))


class Tensor(Schema):
    """An output tensor."""

    name = String(**described("name"))
    datatype = String(**described("BYTES, INT64 or FP32"))
    shape = List(Integer(), **described("dimensions; the first is the number of images"))
    data = List(Raw(), metadata={"description": "values in row-major order, unless they are binary"})
    parameters = Dict(metadata={"description": "`binary_data_size`, if the values follow the JSON"})


class Inferred(Schema):
    """Predictions for the images of a request, all by one version."""

    model_name = String(**described("catdog"))
    model_version = String(**described("version that predicted"))
    id = String(metadata={"description": "id of the request, if it had one"})
    outputs = List(Nested(Tensor), **described("requested outputs, or all"))


BINARY_RESPONSE: Final = {200: {"content": {"application/octet-stream": {"schema": _BINARY}}}}
"""The other response of an infer route: JSON followed by binary tensors."""


_HEADER: Final = {
    "name": HEADER_LENGTH,
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 0},
    "description": "length of the JSON in bytes, if binary tensors follow it",
}


def tensor_body() -> dict[str, Any]:
    """Return the `extensions` of an infer route, since APIFlask's `input` has no body that only begins with JSON."""
    image = {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [_GREY_PIXEL]}
    in_json = {"schema": request_schema(), "example": {"inputs": [image]}}
    content = dict(zip(KINDS, (in_json, {"schema": _BINARY}), strict=True))
    return {"requestBody": {"required": True, "content": content}, "parameters": [_HEADER]}
