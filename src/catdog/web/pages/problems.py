"""Problems as pages, for forms sent by a browser without scripts; API clients get JSON."""

import json
import logging
from typing import Any, Final

from flask import Flask, Response, request

from catdog.web import problems
from catdog.web.pages.pages import show_problem
from catdog.web.security.origins import is_same_site

FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
TABS: Final = {
    "pages.predict": "predict",
    "retrain_page.cancel": "retrain",
    "retrain_page.start": "retrain",
    "retrain_page.upload": "retrain",
    "sessions.sign_in": "predict",
    "sessions.sign_out": "predict",
}
"""Endpoints of the page's forms, and the tab that each returns to."""

_log = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Turn problem responses to the page's forms into pages, even if the route was never reached."""

    def as_page(response: Response) -> Response:
        if response.mimetype == problems.MEDIA_TYPE and _is_page_form():
            try:
                page = show_problem(TABS[str(request.endpoint)], _with_page_sentence(json.loads(response.get_data())))
            except Exception:  # the JSON must not be lost to an error of the page
                _log.exception("The page for a problem couldn't be rendered; request %s", problems.request_id())
                return response
            response.set_data(page)
            response.content_type = "text/html; charset=utf-8"
        return response

    app.after_request(as_page)


def _with_page_sentence(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem with the page's message instead of the API's; a wrong key keeps its own."""
    if request.endpoint == "sessions.sign_in":
        return problem
    return {**problem, "error": problems.PAGE_SENTENCES.get(problem["type"], problem["error"])}


def _is_page_form() -> bool:
    if request.endpoint not in TABS or request.mimetype not in FORM_TYPES or not is_same_site(request):
        return False
    offered = (problems.MEDIA_TYPE, "application/json", "text/html")  # clients that accept anything get the first
    return request.accept_mimetypes.best_match(offered) == "text/html"
