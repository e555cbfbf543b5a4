"""What the Open Inference Protocol V2 takes and gives, for the OpenAPI document."""

from typing import Any, Final

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Integer, List, Nested, Raw, String

from catdog.web.api.tensors import INPUT, OUTPUTS
from catdog.web.requests.limits import HEADER_LENGTH
from catdog.web.schemas import answers, described

KINDS: Final = ("application/json", "application/octet-stream")
_BINARY: Final = {"type": "string", "format": "binary"}
_GREY_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="


class ServerMetadata(Schema):
    """The server, in the words of the protocol."""

    name = String(**described("catdog"))
    version = String(**described("the version of catdog"))
    extensions = List(String(), **described("extensions of the protocol that the server has"))


class Live(Schema):
    """Whether the process can answer."""

    live = Boolean(**described("true"))


class Ready(Schema):
    """Whether there is a model."""

    ready = Boolean(**described("true"))


class ModelReady(Schema):
    """Whether the model, or a version of it, answers."""

    name = String(**described("catdog"))
    ready = Boolean(**described("true"))


class TensorMetadata(Schema):
    """A tensor that the model takes or gives."""

    name = String(**described("its name"))
    datatype = String(**described("BYTES, INT64 or FP32"))
    shape = List(Integer(), **described("its sizes; -1 stands for the number of pictures"))
    parameters = Dict(metadata={"description": "which column of `probabilities` is which class"})


class ModelMetadata(Schema):
    """The model, in the words of the protocol."""

    name = String(**described("catdog"))
    versions = List(String(), **described("the version that answers"))
    platform = String(**described("what runs the network"))
    inputs = List(Nested(TensorMetadata), **described("one: `image`, each element the bytes of a picture"))
    outputs = List(Nested(TensorMetadata), **described("what is answered, one element or row a picture"))


class Tensor(Schema):
    """An output."""

    name = String(**described("its name"))
    datatype = String(**described("BYTES, INT64 or FP32"))
    shape = List(Integer(), **described("its sizes, pictures first"))
    data = List(Raw(), metadata={"description": "its values, row by row, where they are not binary"})
    parameters = Dict(metadata={"description": "`binary_data_size`, where the values stand behind the JSON"})


class Inferred(Schema):
    """The answer for the pictures of one request, all by one version."""

    model_name = String(**described("catdog"))
    model_version = String(**described("the version that answered"))
    id = String(metadata={"description": "the id of the request, if it had one"})
    outputs = List(Nested(Tensor), **described("the outputs that were asked for, or all"))


def inferred(*problems: int) -> dict[int, Any]:
    """Describe what an infer route answers: JSON, JSON with binary tensors behind it, or a problem."""
    described = answers(Inferred, *problems)
    described[200]["content"]["application/octet-stream"] = {"schema": _BINARY}
    return described


def add_bodies(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add to an OpenAPI document what the infer routes take."""
    if isinstance(spec, str):  # YAML, which is not asked for
        return spec
    header = {
        "name": HEADER_LENGTH,
        "in": "header",
        "schema": {"type": "integer", "minimum": 0},
        "description": "bytes of the JSON, where binary tensors stand behind it",
    }
    image = {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [_GREY_PIXEL]}
    in_json = {"schema": _request(), "example": {"inputs": [image]}}
    content = dict(zip(KINDS, (in_json, {"schema": _BINARY}), strict=True))
    for path, operations in spec["paths"].items():
        if path.startswith("/v2/") and path.endswith("/infer"):
            operations["post"]["requestBody"] = {"required": True, "content": content}
            operations["post"].setdefault("parameters", []).append(header)
    return spec


def _request() -> dict[str, Any]:
    picture = {"type": "string", "contentEncoding": "base64"}
    image = _object(
        ("name", "datatype", "shape", "data"),
        name={"const": INPUT},
        datatype={"const": "BYTES"},
        shape={"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 1},
        data={"type": "array", "items": picture, "minItems": 1},
        parameters=_object(()),
    )
    output = _object(
        ("name",),
        name={"enum": list(OUTPUTS)},
        parameters=_object((), binary_data={"type": "boolean"}),
    )
    return _object(
        ("inputs",),
        id={"type": "string"},
        inputs={"type": "array", "items": image, "minItems": 1, "maxItems": 1},
        outputs={"type": "array", "items": output},
        parameters=_object((), binary_data_output={"type": "boolean"}),
    )


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}
