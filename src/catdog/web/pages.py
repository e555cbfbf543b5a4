"""The page for people: upload a picture, see the answer; and the description of the API. No script is needed."""

from flask import Blueprint, current_app, render_template, request

from catdog.errors import CatdogError
from catdog.web.api import service
from catdog.web.problems import describe
from catdog.web.uploads import read_one

pages = Blueprint("pages", __name__)


@pages.get("/")
def index() -> str:
    """Show the form."""
    return render_template("index.html", is_ready=service().is_ready)


@pages.post("/")
def answer() -> tuple[str, int]:
    """Answer for the picture of the form, or say on the page why there is no answer."""
    status, error, prediction = 200, None, None
    try:
        prediction, _ = service().predict(read_one(request, service().settings))
    except CatdogError as raised:
        status, error = describe(raised, service().settings)
    page = render_template("index.html", is_ready=service().is_ready, prediction=prediction, error=error)
    return page, status


@pages.get("/api/docs")
def docs() -> str:
    """Show the routes of the API, from its OpenAPI document."""
    spec = current_app.spec  # type: ignore[attr-defined]  # APIFlask's
    return render_template("docs.html", spec=spec)
