"""The WSGI application."""

from typing import Any

from apiflask import APIFlask
from flask import Response
from flask.json.provider import DefaultJSONProvider
from werkzeug.middleware.proxy_fix import ProxyFix

from catdog import __version__
from catdog.monitoring.logs import configure_log
from catdog.monitoring.tracing import Tracing, open_tracing
from catdog.prediction.predictor import Predictor
from catdog.settings import Settings, load_settings
from catdog.storage import strict_json
from catdog.web import problems, routes, schemas
from catdog.web.api import charts
from catdog.web.api.downloads import downloads
from catdog.web.api.inference import inference
from catdog.web.api.predict import api, probes
from catdog.web.api.retraining import retrain
from catdog.web.api.uploads import collect
from catdog.web.pages import assets
from catdog.web.pages import problems as problem_page
from catdog.web.pages.pages import pages
from catdog.web.pages.retraining import retrain_page
from catdog.web.pages.visualizations import visualizations
from catdog.web.requests import limits
from catdog.web.requests.images import ImageRequest
from catdog.web.routing import NumberConverter
from catdog.web.security import access, cors, rate_limits
from catdog.web.security.permissions import open_to_all
from catdog.web.security.sessions import sessions
from catdog.web.service import Service
from catdog.web.telemetry import requests, tracing


class _StrictJson(DefaultJSONProvider):
    """Flask's JSON without NaN and infinity."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        options = {"default": self.default, "ensure_ascii": self.ensure_ascii, "sort_keys": self.sort_keys}
        return strict_json.dumps(obj, **{**options, **kwargs})


def create_app(settings: Settings | None = None) -> APIFlask:
    """Return an application with its model loaded and its threads running.

    The threads stop when the process ends, or with `app.extensions["catdog"].stop()`.

    Args:
        settings: read from the environment by default.
    """
    settings = settings or load_settings(serving=True)
    configure_log(settings)
    app = APIFlask(
        __name__,
        title="catdog",
        version=__version__,
        spec_path=None,
        docs_path=None,
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]  # as in Flask; `assets` serves the files
    )
    app.request_class = ImageRequest
    app.url_map.converters["int"] = NumberConverter
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        SECURITY_SCHEMES=schemas.SECURITY_SCHEMES,
        AUTO_404_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        SUCCESS_DESCRIPTION="Done",
    )
    app.json = _StrictJson(app)
    app.json.sort_keys = False
    app.spec_processor(_require_bodies)

    documents: dict[tuple[str, ...], bytes] = {}

    @open_to_all
    def spec() -> Response:
        """Return this OpenAPI document."""
        # Building it takes 25 ms of Python, and anybody may ask, so it is built once for the classes of a version.
        classes = tuple(service.model.predictor.version.classes) if service.model.is_ready else ()
        if (made := documents.get(classes)) is None:
            made = app.json.dumps(app.spec).encode()
            documents.clear()
            documents[classes] = made
        return Response(made, content_type="application/json")

    traces = open_tracing()
    service = Service(settings, tracing.TimedPredictor if traces else Predictor)
    service.install(app)
    _install(app, service, traces)
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]
    pages_of_tabs = (pages, retrain_page, visualizations)
    for blueprint in (api, collect, downloads, inference, probes, retrain, sessions, requests.metrics, *pages_of_tabs):
        app.register_blueprint(blueprint)
    charts.install(app)
    app.add_url_rule("/api/openapi.json", "spec", spec)
    routes.seal(app)
    service.start()
    return app


def _install(app: APIFlask, service: Service, traces: Tracing | None) -> None:
    """Register what runs before and after every route."""
    settings = service.settings
    requests.install(app, service)
    tracing.install(app, service, traces)
    problems.install(app, settings)
    problem_page.install(app)
    assets.install(app)
    # These may refuse a request, in this order.
    limits.install(app, settings)
    rate_limits.install(app, settings)
    access.install(app, settings)
    cors.install(app, settings)


def _require_bodies(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Mark bodies with required fields as required, which APIFlask leaves out."""
    if isinstance(spec, str):  # YAML, which isn't used
        return spec
    for operation in (operation for path in spec["paths"].values() for operation in path.values()):
        body = operation.get("requestBody", {"required": True})
        for media in () if "required" in body else body["content"].values():
            schema = spec["components"]["schemas"][media["schema"]["$ref"].rpartition("/")[2]]
            body["required"] = "required" in schema
    return spec
