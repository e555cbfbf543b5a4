"""A problem as a page in words, for a form that a browser without scripts has sent; programs get the JSON."""

import json
import logging
from typing import Any, Final

from flask import Flask, Response, request

from catdog.web import problems
from catdog.web.pages.pages import show_problem
from catdog.web.security.origins import is_same_site

FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
TABS: Final = {
    "pages.answer": "predict",
    "retrain_page.cancel": "retrain",
    "retrain_page.start": "retrain",
    "retrain_page.upload": "retrain",
    "sessions.sign_in": "predict",
    "sessions.sign_out": "predict",
}
"""Where the page's own forms go, by endpoint, and the tab that leads back from there."""

_log = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Let an app answer its page's forms with pages, also where something refused them before their route."""

    def in_words(response: Response) -> Response:
        if response.mimetype == problems.MEDIA_TYPE and _is_form_of_the_page():
            try:
                page = show_problem(TABS[str(request.endpoint)], _for_readers(json.loads(response.get_data())))
            except Exception:  # what was wrong must not be hidden by what is wrong with the page
                _log.exception("The page of a problem could not be made; request %s", problems.request_id())
                return response
            response.set_data(page)
            response.content_type = "text/html; charset=utf-8"
        return response

    app.after_request(in_words)


def _for_readers(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem with the page's message instead of the API's; a wrong key keeps its own."""
    if request.endpoint == "sessions.sign_in":
        return problem
    return {**problem, "error": problems.PAGE_SENTENCES.get(problem["type"], problem["error"])}


def _is_form_of_the_page() -> bool:
    if request.endpoint not in TABS or request.mimetype not in FORM_TYPES or not is_same_site(request):
        return False
    offered = (problems.MEDIA_TYPE, "application/json", "text/html")  # who takes anything gets the first
    return request.accept_mimetypes.best_match(offered) == "text/html"
