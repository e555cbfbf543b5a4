"""The API against its own OpenAPI document: Schemathesis sends what it allows and forbids, with all checks on."""

import io
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from drawing import draw, encode
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from werkzeug.serving import WSGIRequestHandler, make_server

from catdog.registry.starter import ensure_champion
from catdog.registry.store import ModelStore
from catdog.settings import load_settings
from catdog.web.app import create_app

KEY = "k" * 32
CAT = draw("cat", 4032)
PICTURES = {"image/jpeg": encode(CAT), "image/png": encode(CAT, "PNG"), "image/webp": encode(CAT, "WEBP")}
CHECKS = {
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "missing_required_header",
    "unsupported_method", "allow_header_conformance", "use_after_free", "ensure_resource_availability",
    "ignored_auth", "object_level_authorization",
}  # fmt: skip
CONFIG = {
    "headers": {"X-API-Key": KEY},
    "generation": {"max-examples": 8, "deterministic": True, "no-shrink": True, "database": "none"},
    "continue-on-failure": True,
    "operations": [
        # Which class is right stands in the query or in the form, as `class` or as `right`, once at least and without a
        # contradiction to the model's answer: of that, a document can say only what each of the values may be.
        {"include-path": "/api/feedback", "checks": {"positive_data_acceptance": {"enabled": False}}},
        # A document can say that a string is base64, but not that what it encodes is a picture: what Schemathesis makes
        # there is refused, rightly. A picture is sent in `tests/integration/web/api/test_web_inference.py`.
        {"include-path-regex": "^/v2/.*/infer$", "checks": {"positive_data_acceptance": {"enabled": False}}},
    ],
}


_UNNAMED = re.compile(rb'(name="files\[\]")(?=\r\nContent-Type:)')


def name_files(application: Any) -> Any:
    """Give the files of an array a file name, as all browsers do and Schemathesis does not."""

    def named(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/api/retrain/upload" and environ.get("CONTENT_LENGTH"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            body = _UNNAMED.sub(rb'\1; filename="picture"', body)
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return application(environ, start_response)

    return named


class Quiet(WSGIRequestHandler):
    """Serves without a line for each request."""

    def log(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a server with a key listens, that has two versions and a champion to go back to."""
    for kind, data in PICTURES.items():
        schemathesis.openapi.media_type(kind, st.just(data))
    # In the first form that it sends, Schemathesis leaves empty what is beside a file and of no kind with a strategy.
    schemathesis.openapi.media_type("text/plain", st.sampled_from([b"cats", b"dog"]))
    schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(list(PICTURES.values())))
    settings = load_settings(home=tmp_path, tracking=False, api_key=KEY, rate_limit_keys="off")
    ensure_champion(settings.models_dir)
    store = ModelStore(settings.models_dir)
    store.promote(store.adopt(store.get(1).path).number, "test")
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, name_files(app), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    app.extensions["catdog"].stop()


@pytest.mark.slow
def test_the_server_conforms_to_its_openapi_document(address: str) -> None:
    config = SchemathesisConfig.from_dict(CONFIG)
    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", config=config)
    checks: Counter[str] = Counter()
    statuses: defaultdict[str, set[int]] = defaultdict(set)
    failures = []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), vars(event)["info"].message
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case, check in ((case, check) for case, found in event.recorder.checks.items() for check in found):
            checks[check.name] += 1
            if check.failure_info is not None:
                failure = check.failure_info.failure
                answer = event.recorder.interactions[case].response
                said = answer.content[:500] if answer else b""
                failures.append(f"{event.recorder.label}: {check.name}\n{failure.message}\n{said!r}")
        for interaction in event.recorder.interactions.values():
            if interaction.response is not None:
                statuses[event.recorder.label].add(interaction.response.status_code)
    assert not failures, "\n\n".join(failures)
    assert set(checks) >= CHECKS
    paths: defaultdict[str, set[int]] = defaultdict(set)
    for operation in (operation.ok() for operation in schema.get_all_operations()):
        assert operation.label.endswith("/infer") or 200 in statuses[operation.label], operation.label
        paths[operation.path] |= statuses[operation.label]
    assert all(405 in answered for answered in paths.values()), paths
    assert {400, 415} <= statuses["POST /api/predict"]
    assert 401 in statuses["POST /api/models/rollback"]
    assert {401, 404} <= statuses["POST /api/models/{version}/promote"]
