"""The Open Inference Protocol V2: from a request's bytes to images, and from predictions to tensors.

A request is JSON, or JSON followed by binary tensors (the extension `binary_tensor_data`). In a binary tensor each
element of BYTES follows its length, 4 bytes little-endian; in JSON it is base64.

Sources: https://github.com/kserve/open-inference-protocol (REST), and for the extension
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import base64
import re
import reprlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from catdog.errors import RequestError, UploadTooLargeError
from catdog.prediction.predictor import Prediction
from catdog.settings import Settings
from catdog.storage.json_reader import count_values
from catdog.text import counted
from catdog.web.api.tensor_requests import InputTensor, OutputName, TensorRequest, parse_tensors
from catdog.web.requests.bodies import parse_document
from catdog.web.requests.images import numbered, too_large, too_many
from catdog.web.requests.limits import HEADER_LENGTH, json_bytes

Document = dict[str, Any]

MOST_VALUES: Final = 200_000
"""Maximum values in the JSON of a request, since Python needs some 60 bytes for `[]`. A tensor of 224 x 224 x 3 pixels
stays below, so its error can name the right input."""

_LENGTH_BYTES: Final = 4


@dataclass(frozen=True)
class Output:
    """An output tensor: its datatype, and the values of one prediction, a row `(C,)` if `by_class`."""

    datatype: str
    values: Callable[[Prediction], list[Any]]
    by_class: bool = False


OUTPUTS: Final[Mapping[OutputName, Output]] = {
    "class": Output("BYTES", lambda prediction: [prediction.class_name]),
    "class_id": Output("INT64", lambda prediction: [prediction.class_id]),
    "confidence": Output("FP32", lambda prediction: [prediction.confidence]),
    "probabilities": Output("FP32", lambda prediction: list(prediction.probabilities.values()), by_class=True),
    "verdict": Output("BYTES", lambda prediction: [prediction.verdict]),
    "novelty": Output("FP32", lambda prediction: [prediction.novelty]),
}


@dataclass(frozen=True)
class InferRequest:
    """The images of a request, the outputs it asks for (True: as a binary tensor), and its id."""

    images: Sequence[bytes]
    outputs: Mapping[OutputName, bool]
    request_id: str | None


def parse(body: bytes, header_length: str | None, settings: Settings) -> InferRequest:
    """Return a parsed request.

    Args:
        body: JSON, and binary tensors after it.
        header_length: the header with the length of the JSON; None means all of the body.
        settings: the limits on images.

    Raises:
        RequestError: the request isn't valid for the protocol or the model.
        UploadTooLargeError: it exceeds a limit.
    """
    text, binary = _split(body, header_length, json_bytes(settings))
    request = _load(text)
    request_id = request.id if "id" in request.model_fields_set else None
    return InferRequest(_images(request.inputs[0], binary, settings), _outputs(request), request_id)


def render(asked: InferRequest, predictions: Sequence[Prediction]) -> tuple[Document, bytes]:
    """Return the JSON document of a response, and the binary tensors that follow it."""
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
    """Split the body into its JSON, of at most `most` bytes, and a view of its binary tensors."""
    if header_length is None:
        length = len(body)
    elif re.fullmatch("[0-9]{1,12}", header_length) and int(header_length) <= len(body):
        length = int(header_length)
    else:
        raise RequestError(
            f"{HEADER_LENGTH} must be the length of the JSON, at most that of the body ({len(body):,} bytes), "
            f"not {header_length[:100]!r}."
        )
    if length > most:
        raise UploadTooLargeError(
            f"The JSON has {length:,} bytes; the limit is {most:,}. Send the images as a binary tensor."
        )
    return body if length == len(body) else body[:length], memoryview(body)[length:]


def _load(text: bytes) -> TensorRequest:
    if count_values(text) > MOST_VALUES:
        raise UploadTooLargeError(f"The JSON has too many values; the limit is {MOST_VALUES:,}.")
    return parse_tensors(parse_document(text))


def _images(tensor: InputTensor, binary: memoryview, settings: Settings) -> list[bytes]:
    count, data = tensor.shape[0], _data(tensor, binary)
    if data is not None and len(data) != count:
        raise RequestError(
            f"`data` has {counted(len(data), 'element')}, but `shape` says {reprlib.repr(count)}. Make them equal."
        )
    if count > settings.max_batch:
        raise too_many(count, settings)
    images = _unpack(binary, count) if data is None else _decode(data)
    for number, image in enumerate(images, start=1):
        if not image:
            raise numbered(RequestError("The image is empty."), number, count)
        if error := too_large(image, settings):
            raise numbered(error, number, count)
    return images


def _data(tensor: InputTensor, binary: memoryview) -> list[str] | None:
    """Return the elements of the input in the JSON; None if they are binary."""
    size, has_data = tensor.parameters.binary_data_size, "data" in tensor.model_fields_set
    is_binary = "binary_data_size" in tensor.parameters.model_fields_set
    if is_binary and has_data:
        raise RequestError("The input has both `data` and `binary_data_size`. Send only one of them.")
    if size != len(binary):
        given = reprlib.repr(size) if is_binary else "missing"
        raise RequestError(
            f"`binary_data_size` is {given}, but {len(binary):,} bytes follow the JSON. Check it and {HEADER_LENGTH}."
        )
    if not is_binary and not has_data:
        raise RequestError("`inputs[0].data` is missing. Send the images in it, or as a binary tensor.")
    return None if is_binary else tensor.data


def _decode(data: list[str]) -> list[bytes]:
    """Return the images given as base64 in JSON."""
    images = []
    for number, text in enumerate(data, start=1):
        try:
            images.append(base64.b64decode(text, validate=True))
        except ValueError as error:  # binascii's error is one
            reason = f"An image in JSON must be a base64 string, not {reprlib.repr(text)} ({error})."
            raise numbered(RequestError(reason), number, len(data)) from None
    return images


def _unpack(binary: memoryview, count: int) -> list[bytes]:
    """Return the elements of a binary tensor of BYTES."""
    elements, at = [], 0
    for number in range(1, count + 1):
        length = int.from_bytes(binary[at : at + _LENGTH_BYTES], "little")
        begin, end = at + _LENGTH_BYTES, at + _LENGTH_BYTES + length
        if end > len(binary):
            stated = f", which states a length of {length:,}" if begin <= len(binary) else ""
            raise RequestError(
                f"The binary tensor must have {count} elements, each after its length in {_LENGTH_BYTES} bytes "
                f"(little-endian), but {len(binary) - at:,} bytes are left for element {number}{stated}."
            )
        elements.append(bytes(binary[begin:end]))
        at = end
    if at != len(binary):
        raise RequestError(
            f"The binary tensor must end after its {count} elements, but {len(binary) - at:,} bytes follow."
        )
    return elements


def _outputs(request: TensorRequest) -> dict[OutputName, bool]:
    """Return the requested outputs, or all if none is named; True stands for a binary tensor."""
    by_default = request.parameters.binary_data_output
    wanted = {
        output.name: output.parameters.binary_data if output.parameters.model_fields_set else by_default
        for output in request.outputs
    }
    return wanted or dict.fromkeys(OUTPUTS, by_default)


def _pack(datatype: str, values: list[Any]) -> bytes:
    """Return the bytes of a tensor: little-endian, in row-major order."""
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, {"INT64": "<i8", "FP32": "<f4"}[datatype]).tobytes()
