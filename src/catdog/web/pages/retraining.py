"""The tab "retrain": its template's context, and its forms for browsers without scripts."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from catdog.data.labels import display_name
from catdog.errors import CatdogError
from catdog.web.api import retraining, uploads
from catdog.web.api.uploads_schemas import UploadForm
from catdog.web.inputs import read
from catdog.web.pages.pages import CONTEXTS, show_tab
from catdog.web.problems import page_sentence
from catdog.web.routes import Body, Lane, handled_in, takes
from catdog.web.schemas import RetrainingOptions
from catdog.web.security.permissions import needs_permission
from catdog.web.service import current_settings, live_model

retrain_page = Blueprint("retrain_page", __name__, url_prefix="/retrain")


@retrain_page.post("/upload")
@needs_permission
@takes(Body.UPLOAD)
@handled_in(Lane.UPLOADS)
def upload() -> tuple[str, int]:
    """Store the images of the form, and show the result on the page."""
    try:
        return show_tab("retrain", sent=uploads.add_uploads(read(UploadForm, "form_and_files"))), 200
    except CatdogError as raised:
        return _refuse(raised)


@retrain_page.post("/start")
@needs_permission
def start() -> Response | tuple[str, int]:
    """Start a retraining, and redirect to the tab, which shows its progress."""
    return _do(lambda: retraining.start(read(RetrainingOptions, "json_or_form")))


@retrain_page.post("/cancel")
@needs_permission
def cancel() -> Response | tuple[str, int]:
    """Cancel the current retraining, and redirect to the tab."""
    return _do(lambda: retraining.cancel_job(request.args.get("job")))


def _do(action: Callable[[], object]) -> Response | tuple[str, int]:
    try:
        action()
    except CatdogError as raised:
        return _refuse(raised)
    return redirect(url_for("pages.index", tab="retrain"), 303)


def _refuse(raised: CatdogError) -> tuple[str, int]:
    status, error = page_sentence(raised, current_settings())
    return show_tab("retrain", error=error), status


def _context() -> dict[str, Any]:
    """Return the template's context: classes by folder, the last retraining, and the largest image."""
    folders: tuple[str, ...] = live_model().predictor.version.classes if live_model().is_ready else ()
    try:
        status = retraining.find_status() if folders else None
    except CatdogError:
        status = None
    names = {folder: display_name(folder) for folder in folders}
    return {"folders": names, "status": status, "most_bytes": current_settings().max_upload_bytes}


CONTEXTS["retrain"] = _context
