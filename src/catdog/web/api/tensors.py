"""The Open Inference Protocol V2 between bytes and pictures, and between predictions and tensors.

A request is JSON, or JSON with binary tensors behind it (the extension `binary_tensor_data`): there each element of
BYTES stands behind its length, 4 bytes little-endian. In JSON a picture is base64, because JSON holds no bytes.

Sources: https://github.com/kserve/open-inference-protocol (REST), and for the extension
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import base64
import re
import reprlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from catdog.errors import RequestError, UploadTooLargeError
from catdog.prediction.predictor import Prediction
from catdog.settings import Settings
from catdog.storage.json_reader import count_values
from catdog.web.requests.bodies import parse_document
from catdog.web.requests.images import numbered, too_large
from catdog.web.requests.limits import HEADER_LENGTH, json_bytes

T = TypeVar("T")
Document = dict[str, Any]

INPUT: Final = "image"
EXTENSIONS: Final = ("binary_tensor_data",)

MOST_VALUES: Final = 200_000
"""Most values in the JSON of a request. Python needs some 60 bytes for `[]`, so that without a bound a request would
cost twenty times its size. A tensor of pixels, 224 x 224 x 3, stays under it, and is told what is wrong with it."""


_LENGTH_BYTES: Final = 4
_FOREIGN_PARAMETERS: Final = ("classification", "shared_memory_region")
_KINDS: Final = {dict: "an object", list: "an array", str: "a string", int: "an integer", bool: "true or false"}


@dataclass(frozen=True)
class Output:
    """An output tensor: its datatype, and what one prediction adds to it; `by_class` where that is a row `(C,)`."""

    datatype: str
    values: Callable[[Prediction], list[Any]]
    by_class: bool = False


OUTPUTS: Final[Mapping[str, Output]] = {
    "class": Output("BYTES", lambda prediction: [prediction.class_name]),
    "class_id": Output("INT64", lambda prediction: [prediction.class_id]),
    "confidence": Output("FP32", lambda prediction: [prediction.confidence]),
    "probabilities": Output("FP32", lambda prediction: list(prediction.probabilities.values()), by_class=True),
    "verdict": Output("BYTES", lambda prediction: [prediction.verdict]),
    "novelty": Output("FP32", lambda prediction: [prediction.novelty]),
}


@dataclass(frozen=True)
class InferRequest:
    """What is asked: pictures, the outputs by name with whether each is to be binary, and the name of the request."""

    pictures: Sequence[bytes]
    outputs: Mapping[str, bool]
    request_id: str | None


def parse(body: bytes, header_length: str | None, settings: Settings) -> InferRequest:
    """Read a request.

    Args:
        body: JSON, and binary tensors behind it.
        header_length: bytes of the JSON, as the header says; all of them where there is no such header.
        settings: how large and how many pictures may be.

    Raises:
        RequestError: it is not what the protocol and the model need; says what.
        UploadTooLargeError: over a limit; names it.
    """
    text, binary = _split(body, header_length, json_bytes(settings))
    document = _load(text)
    request_id = _take(document, "id", str) if "id" in document else None
    outputs = _outputs(document)
    return InferRequest(_pictures(document, binary, settings), outputs, request_id)


def render(asked: InferRequest, predictions: Sequence[Prediction]) -> tuple[Document, bytes]:
    """Give the JSON document of an answer, and the binary tensors that stand behind it."""
    tensors, binary = [], b""
    for name, is_binary in asked.outputs.items():
        output = OUTPUTS[name]
        rows = [output.values(prediction) for prediction in predictions]
        values = [value for row in rows for value in row]
        shape = [len(rows), len(rows[0])] if output.by_class else [len(rows)]
        tensor: Document = {"name": name, "datatype": output.datatype, "shape": shape}
        if is_binary:
            data = _pack(output.datatype, values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            tensor["data"] = values
        tensors.append(tensor)
    named = {} if asked.request_id is None else {"id": asked.request_id}
    version = str(predictions[0].model_version)
    return {"model_name": "catdog", "model_version": version, **named, "outputs": tensors}, binary


def _split(body: bytes, header_length: str | None, most: int) -> tuple[bytes, memoryview]:
    """Part the JSON, of at most `most` bytes, from the binary tensors behind it, which are not copied."""
    if header_length is None:
        length = len(body)
    elif re.fullmatch("[0-9]{1,12}", header_length) and int(header_length) <= len(body):
        length = int(header_length)
    else:
        raise RequestError(
            f"{HEADER_LENGTH} must be the bytes of the JSON, at most those of the body, {len(body):,}. "
            f"Received: {header_length[:100]}"
        )
    if length > most:
        raise UploadTooLargeError(
            f"The JSON of a request may have at most {most:,} bytes, not {length:,}; send pictures as a binary tensor."
        )
    return body if length == len(body) else body[:length], memoryview(body)[length:]


def _load(text: bytes) -> Document:
    if count_values(text) > MOST_VALUES:
        raise UploadTooLargeError(f"The JSON of a request may have at most {MOST_VALUES:,} values.")
    document = parse_document(text)
    if not isinstance(document, dict):
        raise RequestError(f"The body must be a JSON object. Received: {reprlib.repr(document)}")
    return document


def _take(holder: Document, key: str, kind: type[T], default: T | None = None) -> T:
    """Take a value of one kind, exactly: JSON's true is no integer, and 1.0 is none."""
    value = holder.get(key, default)
    if type(value) is not kind:
        received = "nothing" if value is None else reprlib.repr(value)
        raise RequestError(f"`{key}` must be {_KINDS[kind]}. Received: {received}")
    return value


def _parameters(holder: Document) -> Document:
    parameters = _take(holder, "parameters", dict, {})
    if found := [name for name in _FOREIGN_PARAMETERS if name in parameters]:
        raise RequestError(f"The only extension is {', '.join(EXTENSIONS)}. Received: the parameter {found[0]}")
    return parameters


def _pictures(document: Document, binary: memoryview, settings: Settings) -> list[bytes]:
    tensor = _only_input(document)
    count, data = _count(tensor), _data(tensor, binary)
    if data is not None and len(data) != count:
        raise RequestError(
            f"`data` must hold as many pictures as `shape` says, {reprlib.repr(count)}. Received: {len(data):,}."
        )
    if count > settings.max_batch:
        raise UploadTooLargeError(
            f"There are too many pictures; at most {settings.max_batch} a request are allowed (CATDOG_MAX_BATCH). "
            f"Received: {reprlib.repr(count)}."
        )
    pictures = _unpack(binary, count) if data is None else _decode(data)
    for number, picture in enumerate(pictures, start=1):
        if not picture:
            raise numbered(RequestError("There is no picture. Received: 0 bytes."), number, count)
        if error := too_large(picture, settings):
            raise numbered(error, number, count)
    return pictures


def _data(tensor: Document, binary: memoryview) -> list[Any] | None:
    """Give the elements of the input that stand in the JSON; None where they are binary."""
    parameters = _parameters(tensor)
    size = _take(parameters, "binary_data_size", int) if "binary_data_size" in parameters else None
    if size is not None and "data" in tensor:
        raise RequestError("A tensor has `data` or `binary_data_size`. Received: both.")
    if (size or 0) != len(binary):
        raise RequestError(
            f"`binary_data_size` must be the bytes behind the JSON, {len(binary):,}; {HEADER_LENGTH} says where they "
            f"begin. Received: {'nothing' if size is None else reprlib.repr(size)}"
        )
    return _take(tensor, "data", list) if size is None else None


def _only_input(document: Document) -> Document:
    inputs = _take(document, "inputs", list)
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(f"`inputs` must hold one object, the tensor `{INPUT}`. Received: {reprlib.repr(inputs)}")
    tensor: Document = inputs[0]
    for key, wanted in {"name": INPUT, "datatype": "BYTES"}.items():
        if _take(tensor, key, str) != wanted:
            raise RequestError(f"The `{key}` of the input must be {wanted}. Received: {reprlib.repr(tensor[key])}")
    return tensor


def _count(tensor: Document) -> int:
    """Read how many pictures a tensor says that it holds."""
    shape = _take(tensor, "shape", list)
    if len(shape) != 1 or type(shape[0]) is not int or shape[0] < 1:
        raise RequestError(f"`shape` must be [n], for n pictures, at least 1. Received: {reprlib.repr(shape)}")
    return shape[0]


def _decode(data: list[Any]) -> list[bytes]:
    """Decode pictures given in JSON."""
    pictures = []
    for number, text in enumerate(data, start=1):
        try:
            if not isinstance(text, str):
                raise ValueError("it is not a string")
            pictures.append(base64.b64decode(text, validate=True))
        except ValueError as error:  # binascii's error is one
            reason = f"A picture in JSON must be a string of base64. Received: {reprlib.repr(text)}; {error}."
            raise numbered(RequestError(reason), number, len(data)) from None
    return pictures


def _unpack(binary: memoryview, count: int) -> list[bytes]:
    """Part a binary tensor of BYTES into its elements."""
    elements, at = [], 0
    for number in range(1, count + 1):
        length = int.from_bytes(binary[at : at + _LENGTH_BYTES], "little")
        begin, end = at + _LENGTH_BYTES, at + _LENGTH_BYTES + length
        if end > len(binary):
            left = f"{len(binary) - at:,} bytes" + (f", and a length of {length:,}" if begin <= len(binary) else "")
            raise RequestError(
                f"The binary tensor must hold {count} elements, each behind its length in {_LENGTH_BYTES} bytes, "
                f"little-endian. Received: for element {number}, {left}."
            )
        elements.append(bytes(binary[begin:end]))
        at = end
    if at != len(binary):
        raise RequestError(
            f"The binary tensor must end with the last of its {count} elements. "
            f"Received: {len(binary) - at:,} bytes more."
        )
    return elements


def _outputs(document: Document) -> dict[str, bool]:
    """Read which outputs are wanted, all where none is named, and which of them in binary."""
    by_default = _take(_parameters(document), "binary_data_output", bool, False)
    wanted: dict[str, bool] = {}
    for output in _take(document, "outputs", list, []):
        name = output.get("name") if isinstance(output, dict) else output
        if not isinstance(output, dict) or not isinstance(name, str) or name not in OUTPUTS or name in wanted:
            raise RequestError(
                f"`outputs` must hold objects with a `name` of {', '.join(OUTPUTS)}, each once. "
                f"Received: {reprlib.repr(name)}"
            )
        wanted[name] = _take(_parameters(output), "binary_data", bool, by_default)
    return wanted or dict.fromkeys(OUTPUTS, by_default)


def _pack(datatype: str, values: list[Any]) -> bytes:
    """Write a tensor as the extension has it: little-endian, row by row."""
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, {"INT64": "<i8", "FP32": "<f4"}[datatype]).tobytes()
