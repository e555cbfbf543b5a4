"""Routes of predictions, models and probes."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from apiflask import APIBlueprint
from flask import request

from catdog.data.images.pixels import decode_upright
from catdog.data.labels import match_class
from catdog.errors import NoModelError, PictureError, RequestError
from catdog.prediction.heatmap import render_heat_map
from catdog.web import schemas
from catdog.web.api import status_schemas
from catdog.web.memory import server_memory
from catdog.web.problems import describe, problem, without_paths
from catdog.web.requests.images import read_many, read_one, too_large
from catdog.web.routes import Body, Lane, handled_in, takes, unlimited
from catdog.web.schemas import image_body, problems
from catdog.web.security.access import may_change
from catdog.web.security.permissions import needs_permission, open_to_all
from catdog.web.service import condition, counts, current_settings, live_model, server_status

HEAT_MAP_SIDE: Final = 512

api = APIBlueprint("api", __name__, tag="API", url_prefix="/api")
probes = APIBlueprint("probes", __name__, tag="Probes")

Document = dict[str, Any]


@api.post("/predict")
@api.doc(responses=problems(400, 413, 415, 422, 503), extensions=image_body(schemas.ImageForm))
@api.output(schemas.Prediction)
@open_to_all
@takes(Body.IMAGES)
@handled_in(Lane.PREDICTING)
def predict() -> Document:
    """Predict the class of an image.

    Send the image as the field `image` (or `file`) of multipart/form-data, or as the body with its Content-Type.
    """
    prediction, milliseconds = live_model().predict(read_one(request, current_settings()))
    return {**prediction.as_dict(), "latency_ms": round(milliseconds, 2)}


@api.post("/predict/batch")
@api.doc(responses=problems(400, 413, 415, 503), extensions=image_body(schemas.ImagesForm))
@api.output(schemas.Batch)
@open_to_all
@takes(Body.IMAGES)
@handled_in(Lane.LISTS)
def predict_batch() -> Document:
    """Predict the classes of several images, in order; the result for an unusable image is a problem."""
    images = read_many(request, current_settings())
    if not live_model().is_ready:
        raise NoModelError("No model in use. Train or promote one first.")
    return {"results": [_predict_one(image) for image in images]}


@api.post("/explain")
@api.doc(responses=problems(400, 413, 415, 422, 503), extensions=image_body(schemas.ImageForm))
@api.input(schemas.ExplainQuery, location="query", arg_name="query")
@api.output(schemas.Explanation)
@open_to_all
@takes(Body.IMAGES)
@handled_in(Lane.EXPLAINING)
def explain(query: Mapping[str, str]) -> Document:
    """Explain the prediction for an image: a heat map to lay over it, and the most similar training images.

    `?class=` names the class to explain; the default is the predicted one.
    """
    image = read_one(request, current_settings())
    predictor = live_model().predictor
    wanted = query.get("class")
    class_id = None if wanted is None else match_class(wanted, predictor.version.classes)
    if wanted is not None and class_id is None:
        raise RequestError(f"`class` must be one of {', '.join(predictor.keys)}, not {wanted[:100]!r}.")
    found = live_model().explain(image, class_id)
    height, width, _ = decode_upright(image, HEAT_MAP_SIDE, predictor.limits).shape
    heat_map = base64.b64encode(render_heat_map(found.heat_map, (width, height))).decode()
    document = found.as_dict()
    is_shown = may_change(current_settings())
    similar = [
        {
            **{key: one[key] for key in ("class", "distance", "sha256")},
            "file": f"/api/pictures/{one['sha256']}" if is_shown and one["path"] else None,
        }
        for one in document["similar"]
    ]
    return {
        **document["prediction"],
        "explained": document["explained"],
        "heat_map": f"data:image/png;base64,{heat_map}",
        "heat_map_width": width,
        "heat_map_height": height,
        "contributions": document["heat_map"],
        "similar": similar,
    }


@api.get("/health")
@api.doc(responses=problems())
@api.output(schemas.Health)
@open_to_all
@unlimited
def health() -> Document:
    """Report whether a model is loaded, the uptime, and the number of predictions."""
    return {
        "status": "healthy" if live_model().is_ready else "unhealthy",
        "model_status": "loaded" if live_model().is_ready else "not_loaded",
        "uptime_seconds": round(server_status().uptime_seconds, 1),
        "total_predictions": counts().totals().total,
    }


@api.get("/model/status")
@api.doc(responses=problems())
@api.output(status_schemas.ModelStatus)
@open_to_all
def model_status() -> Document:
    """Report the model in use: version, metrics, latency and drift, and a champion that couldn't be loaded."""
    document = server_status().model()
    if document["refused"]:
        error = without_paths(document["refused"]["error"], current_settings())
        document["refused"] = {**document["refused"], "error": error}
    return {**document, "memory_bytes": server_memory(), "faults": list(condition().faults)}


@api.get("/stats")
@api.doc(responses=problems())
@api.output(status_schemas.Stats)
@open_to_all
def stats() -> Document:
    """Count the images of the dataset and the predictions, over all processes and restarts."""
    return server_status().statistics()


@api.get("/models")
@api.doc(responses=problems(409))
@api.output(schemas.Models)
@open_to_all
def models() -> Document:
    """List all versions and the champion, the one to use."""
    rows = live_model().store.summaries()
    for row in rows:
        if "error" in row:
            row["error"] = without_paths(row["error"], current_settings())
    return {"champion": live_model().store.champion(), "versions": rows}


@api.post("/models/<int:version>/promote")
@api.doc(responses=problems(401, 403, 404, 409), security=schemas.KEYS)
@api.output(schemas.Promoted)
@needs_permission
def promote(version: int) -> Document:
    """Make a version the champion; all processes use it within two seconds."""
    live_model().store.promote(version, "promoted by hand", backbone=live_model().backbone)
    live_model().refresh()
    return {"champion": version}


@api.post("/models/rollback")
@api.doc(responses=problems(401, 403, 409), security=schemas.KEYS)
@api.output(schemas.Promoted)
@needs_permission
def rollback() -> Document:
    """Make the previous champion the champion again."""
    version = live_model().store.rollback(backbone=live_model().backbone)
    live_model().refresh()
    return {"champion": version}


@probes.get("/livez")
@probes.doc(responses=problems())
@probes.output(schemas.Probe)
@open_to_all
@unlimited
@handled_in(Lane.LIVENESS)
def livez() -> Document:
    """Report that the process is alive."""
    return {"status": "alive"}


@probes.get("/readyz")
@probes.doc(responses=problems(503))
@probes.output(schemas.Probe)
@open_to_all
@unlimited
@handled_in(Lane.READINESS)
def readyz() -> Document:
    """Return 200 if a model is loaded and tested, otherwise 503.

    The status is `degraded` if predictions work but something else doesn't; `faults` says what to do.
    """
    version = live_model().predictor.version.number
    faults = [*condition().faults]
    if refusal := live_model().refusal:
        faults.append(without_paths(refusal.error, current_settings()))
    if not faults:
        return {"status": "ready", "version": version}
    return {"status": "degraded", "version": version, "faults": faults}


def _predict_one(image: bytes) -> Document:
    settings = current_settings()
    try:
        if not image:
            raise RequestError("The image is empty.")
        if error := too_large(image, settings):
            raise error
        prediction, milliseconds = live_model().predict(image, listed=True)
        return {**prediction.as_dict(), "latency_ms": round(milliseconds, 2)}
    except (PictureError, RequestError) as error:
        return problem(*describe(error, settings), error)
