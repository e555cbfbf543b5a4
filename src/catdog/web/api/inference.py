"""Routes of the Open Inference Protocol V2."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from catdog import __version__
from catdog.errors import MediaTypeError
from catdog.prediction.predictor import Predictor
from catdog.storage import strict_json
from catdog.web.api import inference_schemas as schemas
from catdog.web.api.tensor_requests import EXTENSIONS, INPUT
from catdog.web.api.tensors import OUTPUTS, parse, render
from catdog.web.requests.bodies import read_body
from catdog.web.requests.limits import HEADER_LENGTH
from catdog.web.routes import Body, Lane, handled_in, takes, unlimited
from catdog.web.schemas import problems
from catdog.web.security.permissions import open_to_all
from catdog.web.service import current_settings, live_model

inference = APIBlueprint("inference", __name__, tag="Inference", url_prefix="/v2")

Document = dict[str, Any]


@inference.get("")
@inference.doc(responses=problems())
@inference.output(schemas.ServerMetadata)
@open_to_all
def server() -> Document:
    """Return the name and version of the server, and the protocol extensions it supports."""
    return {"name": "catdog", "version": __version__, "extensions": list(EXTENSIONS)}


@inference.get("/health/live")
@inference.doc(responses=problems())
@inference.output(schemas.Live)
@open_to_all
@unlimited
def live() -> Document:
    """Report that the process is alive."""
    return {"live": True}


@inference.get("/health/ready")
@inference.doc(responses=problems(503))
@inference.output(schemas.Ready)
@open_to_all
@unlimited
def ready() -> Document:
    """Return 200 if a model is loaded and tested, otherwise 503."""
    live_model().in_use()
    return {"ready": True}


@inference.get("/models/catdog")
@inference.doc(responses=problems(503))
@inference.output(schemas.ModelMetadata)
@open_to_all
def model() -> Document:
    """Return the version, inputs and outputs of the model in use."""
    return _describe(live_model().in_use())


@inference.get("/models/catdog/versions/<int:version>")
@inference.doc(responses=problems(404, 503))
@inference.output(schemas.ModelMetadata)
@open_to_all
def model_version(version: int) -> Document:
    """Return the inputs and outputs of a version, if it is in use."""
    return _describe(live_model().in_use(version))


@inference.get("/models/catdog/ready")
@inference.doc(responses=problems(503))
@inference.output(schemas.ModelReady)
@open_to_all
def model_ready() -> Document:
    """Return 200 if a model is loaded and tested, otherwise 503."""
    live_model().in_use()
    return {"name": "catdog", "ready": True}


@inference.get("/models/catdog/versions/<int:version>/ready")
@inference.doc(responses=problems(404, 503))
@inference.output(schemas.ModelReady)
@open_to_all
def model_version_ready(version: int) -> Document:
    """Return 200 if a version is in use, otherwise 404."""
    live_model().in_use(version)
    return {"name": "catdog", "ready": True}


@inference.post("/models/catdog/infer")
@inference.doc(responses=problems(400, 413, 415, 422, 503) | schemas.BINARY_RESPONSE, extensions=schemas.tensor_body())
@inference.output(schemas.Inferred)
@open_to_all
@takes(Body.TENSORS)
@handled_in(Lane.INFERENCE)
def infer() -> Response:
    """Predict the classes of images.

    The input `image` has datatype BYTES and shape [n]: base64 in JSON, or bytes in a binary tensor.
    """
    return _infer(None)


@inference.post("/models/catdog/versions/<int:version>/infer")
@inference.doc(
    responses=problems(400, 404, 413, 415, 422, 503) | schemas.BINARY_RESPONSE, extensions=schemas.tensor_body()
)
@inference.output(schemas.Inferred)
@open_to_all
@takes(Body.TENSORS)
@handled_in(Lane.INFERENCE)
def infer_version(version: int) -> Response:
    """Predict the classes of images with a version, if it is in use."""
    return _infer(version)


def _infer(version: int | None) -> Response:
    body = _read_body()
    predictor = live_model().in_use(version)
    asked = parse(body, request.headers.get(HEADER_LENGTH), current_settings())
    del body  # up to 32 MB, and the images are copies
    document, binary = render(asked, live_model().predict_many(asked.images, predictor))
    text = strict_json.dumps(document).encode()
    if not binary:
        return Response(text, content_type="application/json")
    return Response(text + binary, content_type="application/octet-stream", headers={HEADER_LENGTH: str(len(text))})


def _read_body() -> bytes:
    """Return the body of the request.

    Raises:
        MediaTypeError: it is compressed or of another kind.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise MediaTypeError(f"The body must not be compressed (Content-Encoding is {encoding[:100]!r}).")
    if request.mimetype not in ("", *schemas.KINDS):  # Triton's clients send none
        raise MediaTypeError(f"The Content-Type must be {' or '.join(schemas.KINDS)}, not {request.mimetype[:100]!r}.")
    return read_body(request)


def _describe(predictor: Predictor) -> Document:
    """Return the metadata of a model; -1 in a shape stands for the number of images."""
    outputs: list[Document] = []
    for name, output in OUTPUTS.items():
        shape = [-1, len(predictor.keys)] if output.by_class else [-1]
        # The protocol has no field for the class of a column, but parameters may hold any strings.
        columns = {"parameters": {str(i): key for i, key in enumerate(predictor.keys)}} if output.by_class else {}
        outputs.append({"name": name, "datatype": output.datatype, "shape": shape, **columns})
    return {
        "name": "catdog",
        "versions": [str(predictor.version.number)],
        "platform": "openvino_ir",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
    }
