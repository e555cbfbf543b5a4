"""The tab "retrain": what its template is given, and its forms for readers without a script."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, redirect, url_for
from werkzeug.wrappers import Response

from catdog.errors import CatdogError
from catdog.web import collect, retrain
from catdog.web.api import service
from catdog.web.pages import CONTEXTS, show_tab
from catdog.web.permissions import needs_permission
from catdog.web.problems import describe
from catdog.web.routes import Body, Lane, answered_in, takes

retrain_page = Blueprint("retrain_page", __name__, url_prefix="/retrain")


@retrain_page.post("/upload")
@needs_permission
@takes(Body.UPLOAD)
@answered_in(Lane.UPLOADS)
def upload() -> tuple[str, int]:
    """Keep the pictures of the form, and say on the page what became of them."""
    try:
        return show_tab("retrain", sent=collect.upload()), 200
    except CatdogError as raised:
        return _refuse(raised)


@retrain_page.post("/start")
@needs_permission
def start() -> Response | tuple[str, int]:
    """Start a retraining, and go on to the tab, which says how it goes."""
    return _do(retrain.trigger)


@retrain_page.post("/cancel")
@needs_permission
def cancel() -> Response | tuple[str, int]:
    """Cancel the retraining under way, and go on to the tab."""
    return _do(retrain.cancel)


def _do(action: Callable[[], object]) -> Response | tuple[str, int]:
    try:
        action()
    except CatdogError as raised:
        return _refuse(raised)
    return redirect(url_for("pages.index", tab="retrain"), 303)


def _refuse(raised: CatdogError) -> tuple[str, int]:
    status, error = describe(raised, service().settings)
    return show_tab("retrain", error=error), status


def _context() -> dict[str, Any]:
    """Give the tab's template the classes, how the last retraining goes, and what one picture may weigh."""
    folders: tuple[str, ...] = service().predictor.version.classes if service().is_ready else ()
    try:
        status = retrain.status() if folders else None
    except CatdogError:
        status = None
    return {"folders": folders, "status": status, "most_bytes": service().settings.max_upload_bytes}


CONTEXTS["retrain"] = _context
