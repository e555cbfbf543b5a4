"""The JSON of an Open Inference Protocol V2 request, as strict pydantic models, which OpenAPI shows too."""

import re
import reprlib
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from catdog.errors import RequestError

INPUT: Final = "image"
EXTENSIONS: Final = ("binary_tensor_data",)
OutputName = Literal["class", "class_id", "confidence", "probabilities", "verdict", "novelty"]

_FOREIGN_PARAMETERS: Final = ("classification", "shared_memory_region")
_KINDS: Final = {
    "model_type": "a JSON object",
    "list_type": "an array",
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
}


class _Strict(BaseModel):
    """Part of a request: neither `true` nor 1.0 is an integer, null stands for nothing, and other fields are free."""

    model_config = ConfigDict(strict=True)


class _Parameters(_Strict):
    @model_validator(mode="before")
    @classmethod
    def _refuse_other_extensions(cls, given: Any) -> Any:
        for name in _FOREIGN_PARAMETERS:
            if isinstance(given, dict) and name in given:
                sentence = f"The parameter `{name}` isn't supported; the only extension is {', '.join(EXTENSIONS)}."
                raise PydanticCustomError("sentence", sentence)
        return given


# An absent field has the factory's value and isn't in `model_fields_set`; a default of None would allow null.
class _InputParameters(_Parameters):
    binary_data_size: int = Field(default_factory=int)


class _OutputParameters(_Parameters):
    binary_data: bool = Field(default_factory=bool)


class _RequestParameters(_Parameters):
    binary_data_output: bool = Field(default_factory=bool)


class InputTensor(_Strict):
    """The images: base64 in `data`, or bytes in a binary tensor after the JSON."""

    # `data` is missing from a request only if it has a binary tensor, so the JSON alone needs it.
    model_config = ConfigDict(json_schema_extra={"required": ["name", "datatype", "shape", "data"]})

    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=1)
    data: Annotated[list[Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]], FailFast()] = Field(
        default_factory=list, json_schema_extra={"minItems": 1}
    )
    parameters: _InputParameters = Field(default_factory=_InputParameters)


class RequestedOutput(_Strict):
    """An output to return."""

    name: OutputName
    parameters: _OutputParameters = Field(default_factory=_OutputParameters)


class TensorRequest(_Strict):
    """A request; all outputs are returned if it names none."""

    id: str = Field(default_factory=str)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] = Field(default_factory=list, max_length=len(get_args(OutputName)))
    parameters: _RequestParameters = Field(default_factory=_RequestParameters)

    @model_validator(mode="after")
    def _refuse_repeated_outputs(self) -> Self:
        names = [output.name for output in self.outputs]
        if len(set(names)) < len(names):
            raise PydanticCustomError("sentence", "`outputs` must name each output once.")
        return self


def parse_tensors(document: Any) -> TensorRequest:
    """Return the request in a JSON document.

    Raises:
        RequestError: it isn't valid; names the field and what is allowed.
    """
    try:
        return TensorRequest.model_validate(document)
    except ValidationError as error:
        raise RequestError(_sentence(error)) from None


def request_schema() -> dict[str, Any]:
    """Return the JSON schema of a request, without references."""
    schema = TensorRequest.model_json_schema()
    plain: dict[str, Any] = _inline(schema, schema["$defs"])
    return plain


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(definitions[node["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in node.items() if key not in ("title", "$defs")}


def _sentence(error: ValidationError) -> str:
    """Return what is wrong first: the field, and what it must be."""
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "sentence":
        return first["msg"]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    where = f"`{''.join(steps)[1:]}`" if first["loc"] else "The body"
    if first["type"] == "missing":
        return f"{where} is missing."
    if (kind := _KINDS.get(first["type"])) is None:
        must = re.sub("^(Input|List) should", "must", first["msg"]).replace(" after validation", "")
    else:
        must = f"must be {kind}"
    return f"{where} {must}; it is {reprlib.repr(first['input'])}."
