"""The WSGI application."""

import logging

from apiflask import APIFlask

from catdog import __version__
from catdog.settings import Settings, load_settings
from catdog.web import access, problems, schemas
from catdog.web.api import api, probes
from catdog.web.pages import pages
from catdog.web.retrain import retrain
from catdog.web.service import Service
from catdog.web.uploads import PictureRequest


def create_app(settings: Settings | None = None) -> APIFlask:
    """Make an application that answers: its model is loaded, its threads run until the process ends.

    `app.extensions["catdog"].stop()` ends them before.

    Args:
        settings: from the environment where not given.
    """
    settings = settings or load_settings()
    # Loggers say something only where the program that serves has set up none.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = APIFlask(
        __name__,
        title="catdog",
        version=__version__,
        spec_path=None,
        docs_path=None,
        json_errors=False,
    )
    app.request_class = PictureRequest
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_request_bytes,
        OPENAPI_VERSION="3.1.0",
        SECURITY_SCHEMES=schemas.SECURITY_SCHEMES,
        AUTO_404_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider
    app.spec_processor(schemas.add_bodies)
    problems.install(app, settings)
    access.install(app, settings)
    for blueprint in (api, probes, pages, retrain):
        app.register_blueprint(blueprint)
    app.add_url_rule("/api/openapi.json", "spec", lambda: app.json.response(app.spec))
    app.extensions["catdog"] = service = Service(settings)
    service.start()
    return app
