"""The routes of the REST API."""

import base64
from typing import Any, Final

from apiflask import APIBlueprint
from flask import request

from catdog.data.images.pixels import decode_upright
from catdog.data.labels import match_class
from catdog.errors import NoModelError, PictureError, RequestError
from catdog.prediction.explanation import render_heat_map
from catdog.web import schemas
from catdog.web.api import status_schemas
from catdog.web.memory import server_memory
from catdog.web.problems import describe, problem, without_paths
from catdog.web.requests.images import read_many, read_one, too_large
from catdog.web.routes import Body, Lane, answered_in, takes, unlimited
from catdog.web.schemas import answers
from catdog.web.security.access import may_change
from catdog.web.security.permissions import needs_permission, open_to_all
from catdog.web.service import condition, counts, current_settings, live_model, server_status

HEAT_MAP_SIDE: Final = 512

api = APIBlueprint("api", __name__, tag="API", url_prefix="/api")
probes = APIBlueprint("probes", __name__, tag="Probes")

Document = dict[str, Any]


@api.post("/predict")
@api.doc(responses=answers(schemas.Prediction, 400, 413, 415, 422, 503))
@open_to_all
@takes(Body.IMAGES)
@answered_in(Lane.PREDICTING)
def predict() -> Document:
    """Say what a picture shows.

    The picture is the field `image` (or `file`) of multipart/form-data, or the body itself with its Content-Type.
    """
    prediction, milliseconds = live_model().predict(read_one(request, current_settings()))
    return {**prediction.as_dict(), "latency_ms": round(milliseconds, 2)}


@api.post("/predict/batch")
@api.doc(responses=answers(schemas.Batch, 400, 413, 415, 503))
@open_to_all
@takes(Body.IMAGES)
@answered_in(Lane.LISTS)
def predict_batch() -> Document:
    """Say what each of several pictures shows, in order; one that cannot be used has a problem in its place."""
    pictures = read_many(request, current_settings())
    if not live_model().is_ready:
        raise NoModelError("There is no model to answer with.")
    return {"results": [_one_of_many(picture) for picture in pictures]}


@api.post("/explain")
@api.doc(responses=answers(schemas.Explanation, 400, 413, 415, 422, 503))
@open_to_all
@takes(Body.IMAGES)
@answered_in(Lane.EXPLAINING)
def explain() -> Document:
    """Say why a picture gets its answer: a heat map to lay over it, and the training pictures most like it.

    `?class=` names the class to explain, where it is not to be the answered one.
    """
    picture = read_one(request, current_settings())
    predictor = live_model().predictor
    wanted = request.args.get("class")
    class_id = None if wanted is None else match_class(wanted, predictor.version.classes)
    if wanted is not None and class_id is None:
        raise RequestError(f"`class` must be one of {', '.join(predictor.keys)}. Received: {wanted[:100]}")
    found = live_model().explain(picture, class_id)
    height, width, _ = decode_upright(picture, HEAT_MAP_SIDE, predictor.limits).shape
    image = base64.b64encode(render_heat_map(found.heat_map, (width, height))).decode()
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
        "heat_map": f"data:image/png;base64,{image}",
        "heat_map_width": width,
        "heat_map_height": height,
        "contributions": document["heat_map"],
        "similar": similar,
    }


@api.get("/health")
@api.doc(responses=answers(schemas.Health))
@open_to_all
@unlimited
def health() -> Document:
    """Say whether the server works, since when, and how much it answered."""
    return {
        "status": "healthy" if live_model().is_ready else "unhealthy",
        "model_status": "loaded" if live_model().is_ready else "not_loaded",
        "uptime_seconds": round(server_status().uptime_seconds, 1),
        "total_predictions": counts().totals().total,
    }


@api.get("/model/status")
@api.doc(responses=answers(status_schemas.ModelStatus))
@open_to_all
def model_status() -> Document:
    """Say which version answers, how good it is, how fast, and which could not be loaded."""
    document = server_status().model()
    if document["refused"]:
        error = without_paths(document["refused"]["error"], current_settings())
        document["refused"] = {**document["refused"], "error": error}
    return {**document, "memory_bytes": server_memory(), "faults": list(condition().faults)}


@api.get("/stats")
@api.doc(responses=answers(status_schemas.Stats))
@open_to_all
def stats() -> Document:
    """Count the pictures of the data set and the predictions, over all processes and restarts."""
    return server_status().statistics()


@api.get("/models")
@api.doc(responses=answers(schemas.Models, 409))
@open_to_all
def models() -> Document:
    """List all versions; the champion is the one that answers."""
    rows = live_model().store.summaries()
    for row in rows:
        if "error" in row:
            row["error"] = without_paths(row["error"], current_settings())
    return {"champion": live_model().store.champion(), "versions": rows}


@api.post("/models/<int:version>/promote")
@api.doc(responses=answers(schemas.Promoted, 401, 403, 404, 409), security=schemas.KEYS)
@needs_permission
def promote(version: int) -> Document:
    """Make a version the champion; it answers within a second or two in every process."""
    live_model().store.promote(version, "promoted by hand", backbone=live_model().backbone)
    live_model().refresh()
    return {"champion": version}


@api.post("/models/rollback")
@api.doc(responses=answers(schemas.Promoted, 401, 403, 409), security=schemas.KEYS)
@needs_permission
def rollback() -> Document:
    """Go back to the version that was champion before."""
    version = live_model().store.rollback(backbone=live_model().backbone)
    live_model().refresh()
    return {"champion": version}


@probes.get("/livez")
@probes.doc(responses=answers(schemas.Probe))
@open_to_all
@unlimited
@answered_in(Lane.LIVENESS)
def livez() -> Document:
    """Answer, as long as the process can."""
    return {"status": "alive"}


@probes.get("/readyz")
@probes.doc(responses=answers(schemas.Probe, 503))
@open_to_all
@unlimited
@answered_in(Lane.READINESS)
def readyz() -> Document:
    """Answer 200 when a model is loaded and was tried, else 503.

    The status is `degraded` while predictions work but something else does not; `faults` says what and why.
    """
    version = live_model().predictor.version.number
    faults = [*condition().faults]
    if refusal := live_model().refusal:
        faults.append(without_paths(refusal.error, current_settings()))
    if not faults:
        return {"status": "ready", "version": version}
    return {"status": "degraded", "version": version, "faults": faults}


def _one_of_many(picture: bytes) -> Document:
    settings = current_settings()
    try:
        if not picture:
            raise RequestError("There is no picture. Received: 0 bytes.")
        if error := too_large(picture, settings):
            raise error
        prediction, milliseconds = live_model().predict(picture, listed=True)
        return {**prediction.as_dict(), "latency_ms": round(milliseconds, 2)}
    except (PictureError, RequestError) as error:
        return problem(*describe(error, settings), error)
