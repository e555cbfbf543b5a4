"""The web page with its four tabs, and the API docs.

The server renders the requested tab, so the page works without scripts. Scripts fetch the contents of other tabs from
`/tabs/<name>`, rendered from the same templates.
"""

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, current_app, render_template, request
from werkzeug.exceptions import NotFound

from catdog.errors import CatdogError
from catdog.prediction.predictor import NEITHER, UNSURE
from catdog.text import counted
from catdog.web.pages.status import status_context
from catdog.web.problems import PAGE_SENTENCES, page_sentence, request_id
from catdog.web.requests.images import read_one
from catdog.web.routes import Body, Lane, handled_in, takes
from catdog.web.security import sessions
from catdog.web.security.access import may_change, why_not
from catdog.web.security.permissions import open_to_all
from catdog.web.service import condition, current_settings, live_model

pages = Blueprint("pages", __name__)
pages.add_app_template_global(counted)

TABS: Final = {"predict": "Predict", "visualizations": "Visualizations", "retrain": "Retrain", "status": "Model status"}
"""Names and titles of the tabs, in order."""

CONTEXTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "predict": lambda: {"unsure_below": current_settings().unsure_below},
    "status": status_context,
}
"""The context of each tab's template in addition to the common one; built when the tab is rendered."""


@pages.get("/")
@open_to_all
def index() -> str:
    """Return the page with the tab in `?tab=`."""
    tab = request.args.get("tab", "")
    return show_tab(tab if tab in TABS else "predict")


@pages.post("/")
@open_to_all
@takes(Body.IMAGES)
@handled_in(Lane.PREDICTING)
def predict() -> tuple[str, int]:
    """Return the page with the prediction for the form's image, or with an error."""
    status, error, prediction, milliseconds = 200, None, None, 0.0
    try:
        prediction, milliseconds = live_model().predict(read_one(request, current_settings()))
    except CatdogError as raised:
        status, error = page_sentence(raised, current_settings())
    return show_tab("predict", prediction=prediction, milliseconds=milliseconds, error=error), status


@pages.get("/tabs/<name>")
@open_to_all
def tab(name: str) -> str:
    """Return the contents of a tab, for the page's script."""
    if name not in TABS:
        raise NotFound
    return render_template(f"tabs/{name}.html", **_context(name))


@pages.get("/api/docs")
@open_to_all
def docs() -> str:
    """Return the API docs, from the OpenAPI document."""
    spec = current_app.spec  # type: ignore[attr-defined]  # APIFlask's
    return render_template("docs.html", spec=spec)


def show_tab(tab: str, **more: Any) -> str:
    """Return the page with a tab; `more` is added to the template's context."""
    return render_template("page.html", **_context(tab), **more)


def show_problem(tab: str, problem: dict[str, Any]) -> str:
    """Return a problem as a page with a link back to a tab."""
    return render_template("page.html", **_frame(tab), problem=problem)


def _context(tab: str) -> dict[str, Any]:
    """Return the context of a tab's template."""
    return {**_frame(tab), **(CONTEXTS[tab]() if tab in CONTEXTS else {})}


def _frame(tab: str) -> dict[str, Any]:
    """Return the context of all pages: the tab, the model in use, and the user's permissions."""
    settings = current_settings()
    predictor = live_model().predictor if live_model().is_ready else None
    return {
        "tab": tab,
        "tabs": TABS,
        "version": predictor.version.number if predictor else None,
        "classes": dict(zip(predictor.keys, predictor.names, strict=True)) if predictor else {},
        "sign_in": sessions.session_state(),
        "may_change": may_change(settings),
        "why_locked": None if settings.api_key else why_not(settings),
        "request_id": request_id(),
        "sentences": PAGE_SENTENCES,
        "faults": condition().faults,
        "verdicts": {"neither": NEITHER, "unsure": UNSURE},
    }
