"""Responses and output contain no NaN or infinity, even for a version of odd images."""

import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import jsonify
from PIL import Image, PngImagePlugin

from catdog.settings import Settings, load_settings
from catdog.storage.strict_json import dumps
from catdog.training.pipeline import TrainOptions, train
from catdog.web.app import create_app
from catdog.web.routes import seal
from catdog.web.security.permissions import open_to_all


def strict(text: str | bytes) -> Any:
    """Parse standard JSON."""

    def refuse(said: str) -> None:
        raise AssertionError(f"{said} is no JSON")

    return json.loads(text, parse_constant=refuse)


def flat(colour: tuple[int, int, int], text: str) -> bytes:
    """Encode an image of one colour; a comment makes its bytes unique."""
    info = PngImagePlugin.PngInfo()
    info.add_text("n", text)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


SETS: dict[str, dict[str, tuple[tuple[int, int, int], ...]]] = {
    "all images alike": {"train/a": ((9, 9, 9),) * 10, "train/b": ((9, 9, 9),) * 10},
    "all images black": {"train/a": ((0, 0, 0),) * 10, "train/b": ((0, 0, 0),) * 10},
    "images of a class alike": {"train/a": ((0, 0, 0),) * 10, "train/b": ((255, 255, 255),) * 10},
    "a test split of one class": {
        "train/a": ((0, 0, 0),) * 10, "train/b": ((255, 255, 255),) * 10, "test/a": ((0, 0, 0),) * 3,
    },
    "a test image, and a wrong one": {
        "train/a": ((0, 0, 0),) * 10, "train/b": ((255, 255, 255),) * 10, "test/a": ((255, 255, 255),),
        "test/b": ((0, 0, 0),),
    },
}  # fmt: skip


def write(folder: Path, images: dict[str, tuple[tuple[int, int, int], ...]]) -> Path:
    for name, colours in images.items():
        (folder / name).mkdir(parents=True)
        for number, colour in enumerate(colours):
            (folder / name / f"{number}.png").write_bytes(flat(colour, f"{name}-{number}"))
    return folder


@pytest.fixture(scope="module", params=SETS)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Settings of a home with a version trained on an odd data set, and that data set."""
    folder = tmp_path_factory.mktemp("odd")
    data = write(folder / "data set", SETS[request.param])
    settings = load_settings(home=folder / "home", tracking=False)
    train(data, settings, TrainOptions(views=1, epochs=2, batch=4, promote=True))
    return settings, data


def test_no_route_returns_nan_for_a_version_of_odd_images(odd: tuple[Settings, Path]) -> None:
    app = create_app(odd[0])
    client, answers = app.test_client(), 0
    image = next(odd[1].glob("train/a/*.png")).read_bytes()
    predicted = strict(client.post("/api/predict", data=image, content_type="image/png").data)
    assert 0 <= predicted["novelty"] < 0.5  # it's one of those that it was trained on
    assert math.isclose(sum(predicted["probabilities"].values()), 1, abs_tol=1e-3)
    for colour in ((9, 9, 9), (250, 0, 0), (0, 0, 0)):
        for path in ("/api/predict", "/api/explain"):
            found = client.post(path, data=flat(colour, "x"), content_type="image/png")
            assert found.status_code == 200
            strict(found.data)
    app.extensions["catdog"].counts.flush()
    paths = {
        re.sub("<int:[^>]*>", "1", rule.rule) for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())
    }
    charts = client.get("/api/charts").json["charts"]
    for path in {p for p in paths if "<" not in p} | {f"/api/charts/{chart['name']}" for chart in charts}:
        response = client.get(path)
        assert response.status_code in (200, 404), (path, response.text)
        if response.mimetype.endswith("json"):
            strict(response.data)
            answers += 1
        elif response.mimetype in ("text/html", "text/csv"):
            assert not re.search(r"\b(nan|inf|infinity)\b", response.text, re.IGNORECASE), path
    assert answers > 15
    app.extensions["catdog"].stop()


@pytest.mark.slow
@pytest.mark.parametrize("odd", ["all images alike", "a test split of one class"], indirect=True)
def test_no_command_prints_nan_for_a_version_of_odd_images(odd: tuple[Settings, Path]) -> None:
    settings, data = odd
    image = str(next(data.glob("train/a/*.png")))
    for arguments in (["models", "show", "1"], ["evaluate", str(data)], ["predict", image], ["explain", image],
                      ["data", "check", str(data)], ["models", "list"]):  # fmt: skip
        command = [sys.executable, "-m", "catdog", "--home", str(settings.home), *arguments, "--json"]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert "Traceback" not in finished.stderr, finished.stderr
        assert finished.stdout, (arguments, finished.stderr)
        strict(finished.stdout)


@pytest.mark.writes_nan
def test_nan_is_written_as_null_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    document = {"a": [math.nan, {"b": -math.inf}, (np.float64("inf"), 1)], math.inf: 1.5, "c": "NaN"}
    found = {"a": [None, {"b": None}, [None, 1]], "inf": 1.5, "c": "NaN"}
    assert strict(dumps(document)) == found
    assert "was written as null" in caplog.text
    assert dumps({"a": [1.5, None]}) == json.dumps({"a": [1.5, None]})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"[Cc]ircular"):
        dumps(loop)


@pytest.mark.writes_nan
def test_a_route_with_nan_returns_null(bundled: Settings) -> None:
    app = create_app(bundled)
    app.extensions["catdog"].stop()
    app.add_url_rule("/odd", "odd", open_to_all(lambda: {"x": math.nan}))
    app.add_url_rule("/odd2", "odd2", open_to_all(lambda: jsonify([math.inf])))
    seal(app)
    assert [strict(app.test_client().get(path).data) for path in ("/odd", "/odd2")] == [{"x": None}, [None]]
