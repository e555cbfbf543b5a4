"""The page for people: four tabs, each with an address of its own; and the description of the API.

The server renders the tab that is asked for, so that it can be read without a script. Where scripts run, they fetch the
inside of another tab from `/tabs/<name>`: there is one template for both.
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
from catdog.web.routes import Body, Lane, answered_in, takes
from catdog.web.security import sessions
from catdog.web.security.access import may_change, why_not
from catdog.web.security.permissions import open_to_all
from catdog.web.service import condition, current_settings, live_model

pages = Blueprint("pages", __name__)
pages.add_app_template_global(counted)

TABS: Final = {"predict": "Predict", "visualizations": "Visualizations", "retrain": "Retrain", "status": "Model status"}
"""Names and titles of the tabs, in the order in which they stand."""

CONTEXTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "predict": lambda: {"unsure_below": current_settings().unsure_below},
    "status": status_context,
}
"""What a tab's template is given beside what all are given; made only when that tab is rendered."""


@pages.get("/")
@open_to_all
def index() -> str:
    """Show the page with the tab that `?tab=` names."""
    tab = request.args.get("tab", "")
    return show_tab(tab if tab in TABS else "predict")


@pages.post("/")
@open_to_all
@takes(Body.IMAGES)
@answered_in(Lane.PREDICTING)
def answer() -> tuple[str, int]:
    """Answer for the picture of the form, or say on the page why there is no answer."""
    status, error, prediction, milliseconds = 200, None, None, 0.0
    try:
        prediction, milliseconds = live_model().predict(read_one(request, current_settings()))
    except CatdogError as raised:
        status, error = page_sentence(raised, current_settings())
    return show_tab("predict", prediction=prediction, milliseconds=milliseconds, error=error), status


@pages.get("/tabs/<name>")
@open_to_all
def tab(name: str) -> str:
    """Show the inside of a tab alone, for the page's script."""
    if name not in TABS:
        raise NotFound
    return render_template(f"tabs/{name}.html", **_context(name))


@pages.get("/api/docs")
@open_to_all
def docs() -> str:
    """Show the routes of the API, from its OpenAPI document."""
    spec = current_app.spec  # type: ignore[attr-defined]  # APIFlask's
    return render_template("docs.html", spec=spec)


def show_tab(tab: str, **more: Any) -> str:
    """Render the page with a tab, whose template is given `more`."""
    return render_template("page.html", **_context(tab), **more)


def show_problem(tab: str, problem: dict[str, Any]) -> str:
    """Render a problem as a page, with the way back to a tab; needs nothing that may be what is wrong."""
    return render_template("page.html", **_frame(tab), problem=problem)


def _context(tab: str) -> dict[str, Any]:
    """Give what a tab's template is rendered with."""
    return {**_frame(tab), **(CONTEXTS[tab]() if tab in CONTEXTS else {})}


def _frame(tab: str) -> dict[str, Any]:
    """Give what all pages are rendered with: the tab, the version that answers, and what the reader may do."""
    settings = current_settings()
    predictor = live_model().predictor if live_model().is_ready else None
    return {
        "tab": tab,
        "tabs": TABS,
        "version": predictor.version.number if predictor else None,
        "classes": dict(zip(predictor.keys, predictor.names, strict=True)) if predictor else {},
        "sign_in": sessions.state(),
        "may_change": may_change(settings),
        "why_locked": None if settings.api_key else why_not(settings),
        "request_id": request_id(),
        "sentences": PAGE_SENTENCES,
        "faults": condition().faults,
        "verdicts": {"neither": NEITHER, "unsure": UNSURE},
    }
