"""The routes of the Open Inference Protocol V2, for clients that speak it, on the model that the other routes have."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from catdog import __version__
from catdog.errors import MediaTypeError
from catdog.prediction.predictor import Predictor
from catdog.storage import strict_json
from catdog.web.api import inference_schemas as schemas
from catdog.web.api.tensors import EXTENSIONS, INPUT, OUTPUTS, parse, render
from catdog.web.requests.bodies import read_body
from catdog.web.requests.limits import HEADER_LENGTH
from catdog.web.routes import Body, Lane, answered_in, takes, unlimited
from catdog.web.schemas import answers
from catdog.web.security.permissions import open_to_all
from catdog.web.service import current_settings, live_model

inference = APIBlueprint("inference", __name__, tag="Inference", url_prefix="/v2")

Document = dict[str, Any]


@inference.get("")
@inference.doc(responses=answers(schemas.ServerMetadata))
@open_to_all
def server() -> Document:
    """Name the server, its version, and the extensions of the protocol that it has."""
    return {"name": "catdog", "version": __version__, "extensions": list(EXTENSIONS)}


@inference.get("/health/live")
@inference.doc(responses=answers(schemas.Live))
@open_to_all
@unlimited
def live() -> Document:
    """Answer, as long as the process can."""
    return {"live": True}


@inference.get("/health/ready")
@inference.doc(responses=answers(schemas.Ready, 503))
@open_to_all
@unlimited
def ready() -> Document:
    """Answer 200 when a model is loaded and was tried, else 503."""
    live_model().in_use()
    return {"ready": True}


@inference.get("/models/catdog")
@inference.doc(responses=answers(schemas.ModelMetadata, 503))
@open_to_all
def model() -> Document:
    """Describe the model that answers: its version, its input, its outputs."""
    return _describe(live_model().in_use())


@inference.get("/models/catdog/versions/<int:version>")
@inference.doc(responses=answers(schemas.ModelMetadata, 404, 503))
@open_to_all
def model_version(version: int) -> Document:
    """Describe a version, if it is the one that answers."""
    return _describe(live_model().in_use(version))


@inference.get("/models/catdog/ready")
@inference.doc(responses=answers(schemas.ModelReady, 503))
@open_to_all
def model_ready() -> Document:
    """Answer 200 when a model is loaded and was tried, else 503."""
    live_model().in_use()
    return {"name": "catdog", "ready": True}


@inference.get("/models/catdog/versions/<int:version>/ready")
@inference.doc(responses=answers(schemas.ModelReady, 404, 503))
@open_to_all
def model_version_ready(version: int) -> Document:
    """Answer 200 when a version is the one that answers, else 404."""
    live_model().in_use(version)
    return {"name": "catdog", "ready": True}


@inference.post("/models/catdog/infer")
@inference.doc(responses=schemas.inferred(400, 413, 415, 422, 503))
@open_to_all
@takes(Body.TENSORS)
@answered_in(Lane.INFERENCE)
def infer() -> Response:
    """Say what pictures show.

    The input `image` is of datatype BYTES and shape [n]: base64 in JSON, or the bytes themselves as a binary tensor.
    """
    return _infer(None)


@inference.post("/models/catdog/versions/<int:version>/infer")
@inference.doc(responses=schemas.inferred(400, 404, 413, 415, 422, 503))
@open_to_all
@takes(Body.TENSORS)
@answered_in(Lane.INFERENCE)
def infer_version(version: int) -> Response:
    """Say what pictures show, if the version is the one that answers."""
    return _infer(version)


def _infer(version: int | None) -> Response:
    body = _read_body()
    predictor = live_model().in_use(version)
    asked = parse(body, request.headers.get(HEADER_LENGTH), current_settings())
    del body  # its pictures are copies, and it may have 32 MB
    document, binary = render(asked, live_model().predict_many(asked.pictures, predictor))
    text = strict_json.dumps(document).encode()
    if not binary:
        return Response(text, content_type="application/json")
    return Response(text + binary, content_type="application/octet-stream", headers={HEADER_LENGTH: str(len(text))})


def _read_body() -> bytes:
    """Read the body of the request.

    Raises:
        MediaTypeError: it is compressed, or of another kind.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise MediaTypeError(f"A body must not be compressed; pictures are already. Received: {encoding[:100]}.")
    if request.mimetype not in ("", *schemas.KINDS):  # a client of Triton sends none
        raise MediaTypeError(f"A body must be {' or '.join(schemas.KINDS)}. Received: {request.mimetype[:100]}.")
    return read_body(request)


def _describe(predictor: Predictor) -> Document:
    """Make the metadata of a model; the shape of a tensor has -1 where the number of pictures goes."""
    outputs: list[Document] = []
    for name, output in OUTPUTS.items():
        shape = [-1, len(predictor.keys)] if output.by_class else [-1]
        # The protocol has no word for which column is which class; parameters may say anything in strings.
        columns = {"parameters": {str(i): key for i, key in enumerate(predictor.keys)}} if output.by_class else {}
        outputs.append({"name": name, "datatype": output.datatype, "shape": shape, **columns})
    return {
        "name": "catdog",
        "versions": [str(predictor.version.number)],
        "platform": "openvino_ir",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
    }
