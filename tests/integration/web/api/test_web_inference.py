"""The Open Inference Protocol V2: with Triton's own client against a real server, and with broken requests."""

import base64
import json
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import CAT, DOG, form, require_problem, require_schema
from apiflask import APIFlask
from drawing import draw, encode
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from catdog.settings import Settings, load_settings
from catdog.web.api.tensors import MOST_VALUES
from catdog.web.app import create_app
from catdog.web.service import Service

INFER = "/v2/models/catdog/infer"
HEADER = "Inference-Header-Content-Length"
PAGE = (Path(__file__).parents[4] / "docs" / "serving.md").read_text(encoding="utf-8")
NAMES = ["class", "class_id", "confidence", "probabilities", "verdict", "novelty"]


def base64_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def asking(*pictures: bytes, **more: Any) -> dict[str, Any]:
    """Make a request with its pictures in JSON."""
    data = [base64_of(picture) for picture in pictures]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}], **more}


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def send_binary(client: FlaskClient, tail: bytes, count: Any, size: Any = None, header: Any = None, **more: Any) -> Any:
    """Send a binary tensor; whatever is not given is right."""
    parameters = {"binary_data_size": len(tail) if size is None else size}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [count], "parameters": parameters}
    text = json.dumps({"inputs": [tensor | more]}).encode()
    headers = {HEADER: len(text) if header is None else header}
    return client.post(INFER, data=text + tail, content_type="application/octet-stream", headers=headers)


@pytest.fixture(scope="module")
def served(trained_client: FlaskClient) -> Iterator[str]:
    """Host and port of a server on which `trained_client`'s application answers."""
    server = make_server("127.0.0.1", 0, trained_client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def triton(served: str) -> Iterator[Any]:
    """Triton's client of that server."""
    from tritonclient.http import InferenceServerClient  # it brings gevent, which only these tests need

    with InferenceServerClient(served) as client:
        yield client


def triton_input(*pictures: bytes, binary: bool) -> Any:
    from tritonclient.http import InferInput

    elements = list(pictures) if binary else [base64_of(picture) for picture in pictures]
    tensor = InferInput("image", [len(elements)], "BYTES")
    return tensor.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=binary)


def test_tritons_client_finds_server_and_model(triton: Any) -> None:
    from gevent import monkey

    assert not monkey.is_anything_patched()  # or the other tests would run on other sockets and threads
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("catdog")
    assert triton.is_model_ready("catdog", "1")
    assert not triton.is_model_ready("catdog", "2")
    assert not triton.is_model_ready("other")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton.get_model_metadata("catdog", "1")
    assert metadata == triton.get_model_metadata("catdog")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert [output["name"] for output in metadata["outputs"]] == NAMES
    assert metadata["outputs"][3]["shape"] == [-1, 2]
    assert metadata["outputs"][3]["parameters"] == {"0": "cat", "1": "dog"}


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
def test_tritons_client_gets_the_predictions_of_predict(
    triton: Any, trained_client: FlaskClient, binary_input: bool, binary_output: bool | None
) -> None:
    from tritonclient.http import InferRequestedOutput

    pictures = [CAT, DOG, encode(draw("cat", 7), "PNG")]
    expected = [trained_client.post("/api/predict", data=form(picture)).json for picture in pictures]
    assert len({answer["class"] for answer in expected}) == 2
    outputs = None if binary_output is None else [InferRequestedOutput(name, binary_output) for name in NAMES]
    inputs = [triton_input(*pictures, binary=binary_input)]
    result = triton.infer("catdog", inputs, outputs=outputs, request_id="seven")
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("seven", "catdog", "1")
    assert all(("data" in output) == (binary_output is False) for output in response["outputs"])
    for name in ("class", "verdict"):
        texts = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy(name)]
        assert texts == [answer[name] for answer in expected]
    assert result.as_numpy("class_id").tolist() == [answer["class_id"] for answer in expected]
    probabilities = np.array([list(answer["probabilities"].values()) for answer in expected], np.float32)
    assert np.array_equal(result.as_numpy("probabilities"), probabilities)
    for name in ("confidence", "novelty"):
        assert np.array_equal(result.as_numpy(name), np.array([answer[name] for answer in expected], np.float32))


def test_tritons_client_gets_errors(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(
        InferenceServerException, match=r"Image 2 of 2: The file is not a JPEG, PNG, WebP or AVIF"
    ) as raised:
        triton.infer("catdog", [triton_input(CAT, b"not a picture", binary=True)])
    assert raised.value.status() == "415"
    with pytest.raises(InferenceServerException, match=r"Version 2 isn't in use. Only version 1 is served"):
        triton.infer("catdog", [triton_input(CAT, binary=True)], model_version="2")
    with pytest.raises(InferenceServerException, match="must not be compressed"):
        triton.infer("catdog", [triton_input(CAT, binary=True)], request_compression_algorithm="gzip")


def test_only_requested_outputs_are_returned_in_their_order(client: FlaskClient) -> None:
    wanted = [{"name": "novelty", "parameters": {"binary_data": False}}, {"name": "class_id"}, {"name": "verdict"}]
    more = {"outputs": wanted, "parameters": {"binary_data_output": True, "priority": 1}}
    response = client.post(INFER, json=asking(CAT, DOG, **more))
    length = int(response.headers[HEADER])
    assert response.content_type == "application/octet-stream"
    document, binary = json.loads(response.data[:length]), response.data[length:]
    assert "id" not in document
    novelty, number, verdict = document["outputs"]
    assert (novelty["name"], novelty["shape"], len(novelty["data"])) == ("novelty", [2], 2)
    assert number == {"name": "class_id", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert binary[:16] == struct.pack("<qq", 0, 1)
    assert verdict["parameters"]["binary_data_size"] == len(binary) - 16
    assert HEADER not in client.post(INFER, json=asking(CAT)).headers


def test_predictions_are_counted_after_all_have_succeeded(client: FlaskClient) -> None:
    assert client.post(INFER, json=asking(CAT, DOG)).status_code == 200
    require_problem(client.post(INFER, json=asking(CAT, b"no picture")), 415, "Image 2 of 2")
    status = client.get("/api/model/status").json
    assert (status["total_predictions"], status["latency_ms"]["n"]) == (2, 2)


def test_predictions_of_one_request_come_from_one_version(
    app: APIFlask, client: FlaskClient, add_constant: Callable[[Settings, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    service: Service = app.extensions["catdog"]
    versions = [add_constant(service.settings, 0), add_constant(service.settings, 1)]
    client.post(f"/api/models/{versions[0]}/promote")
    original = type(service.model.predictor).embed

    def run_and_swap(*args: Any) -> Any:
        features = original(*args)
        service.model.store.promote(versions[1], "in the middle of a request")
        service.model.refresh()
        return features

    monkeypatch.setattr(type(service.model.predictor), "embed", run_and_swap)
    document = client.post(f"/v2/models/catdog/versions/{versions[0]}/infer", json=asking(CAT, DOG, CAT)).json
    assert document["model_version"] == str(versions[0])
    assert document["outputs"][0]["data"] == ["Cat"] * 3
    assert client.get("/v2/models/catdog").json["versions"] == [str(versions[1])]
    for path, method in {"": "GET", "/ready": "GET", "/infer": "POST"}.items():
        url = f"/v2/models/catdog/versions/{versions[0]}{path}"
        require_problem(client.open(url, method=method, json=asking(CAT)), 404, f"version {versions[1]} is served")


def test_without_a_model_nothing_is_ready(app: APIFlask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.extensions["catdog"].model, "_predictor", None)
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/catdog", "/v2/models/catdog/ready", "/v2/models/catdog/versions/1"):
        require_problem(client.get(path), 503, "No model in use")
    require_problem(client.post(INFER, json=asking(CAT)), 503)


def test_responses_match_the_openapi_document(app: APIFlask, client: FlaskClient) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/catdog", "/v2/models/catdog/ready"):
        require_schema(app, path, client.get(path).json)
    for path in ("/v2/models/catdog/versions/{version}", "/v2/models/catdog/versions/{version}/ready"):
        require_schema(app, path, client.get(path.replace("{version}", "1")).json)
    for path in (INFER, "/v2/models/catdog/versions/{version}/infer"):
        document = client.post(path.replace("{version}", "1"), json=asking(CAT, id="")).json
        require_schema(app, path, document, "post")
        operation = app.spec["paths"][path]["post"]
        content = operation["requestBody"]["content"]
        assert content.keys() == {"application/json", "application/octet-stream"}
        assert client.post(INFER, json=content["application/json"]["example"]).status_code == 200
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert names == (["version"] if "{version}" in path else []) + [HEADER]
        assert operation["tags"] == ["Inference"]


IMAGE = asking(CAT)["inputs"][0]
BROKEN: dict[str, tuple[Any, str]] = {
    "no object": ([], "JSON object"),
    "a number": (7, "JSON object"),
    "no inputs": ({}, "`inputs` is missing"),
    "null": ({"inputs": None}, "`inputs` must be an array"),
    "inputs is no array": ({"inputs": IMAGE}, "`inputs` must be an array"),
    "empty inputs": ({"inputs": []}, "`inputs` must have at least 1 item"),
    "two inputs": ({"inputs": [IMAGE, IMAGE]}, "`inputs` must have at most 1 item"),
    "no tensor": ({"inputs": ["image"]}, "`inputs[0]` must be a JSON object"),
    "wrong name": ({"inputs": [IMAGE | {"name": "picture"}]}, "`inputs[0].name` must be 'image'; it is 'picture'"),
    "no name": ({"inputs": [{"datatype": "BYTES", "shape": [1], "data": []}]}, "`inputs[0].name` is missing"),
    "wrong datatype": (
        {"inputs": [IMAGE | {"datatype": "FP32"}]},
        "`inputs[0].datatype` must be 'BYTES'; it is 'FP32'",
    ),
    "pixels": ({"inputs": [IMAGE | {"datatype": "UINT8", "data": [0] * 150_528}]}, "must be 'BYTES'"),
    **{
        f"shape {shape}": ({"inputs": [IMAGE | {"shape": shape}]}, "`inputs[0].shape")
        for shape in ([], [0], [-1], [1, 1], ["1"], [1.0], [True], [None], 1, None, "1", {}, [[1]])
    },
    "shape and data differ": ({"inputs": [IMAGE | {"shape": [2]}]}, "`data` has 1 element, but `shape` says 2"),
    "shape of 4,000 digits": ({"inputs": [IMAGE | {"shape": [10**4000]}]}, "`data` has 1 element"),
    "no data": ({"inputs": [{k: v for k, v in IMAGE.items() if k != "data"}]}, "`inputs[0].data` is missing"),
    "data is no array": ({"inputs": [IMAGE | {"data": base64_of(CAT)}]}, "`inputs[0].data` must be an array"),
    "bad base64": ({"inputs": [IMAGE | {"data": ["abc$"]}]}, "a base64 string, not 'abc$'"),
    "base64 cut": ({"inputs": [IMAGE | {"data": ["abcde"]}]}, "base64"),
    "base64 of another script": ({"inputs": [IMAGE | {"data": ["äöü="]}]}, "base64"),
    "half a character": ({"inputs": [IMAGE | {"data": ["\ud800"]}]}, "surrogate"),
    "a number as picture": ({"inputs": [IMAGE | {"data": [5]}]}, "`inputs[0].data[0]` must be a string"),
    "an empty picture": (asking(CAT, b""), "Image 2 of 2: The image is empty"),
    "parameters is no object": (
        {"inputs": [IMAGE | {"parameters": []}]},
        "`inputs[0].parameters` must be a JSON object",
    ),
    "size without a binary part": ({"inputs": [IMAGE | {"parameters": {"binary_data_size": 5}}]}, "both"),
    "shared memory": ({"inputs": [IMAGE | {"parameters": {"shared_memory_region": "x"}}]}, "binary_tensor_data"),
    "id": (asking(CAT, id=5), "`id` must be a string; it is 5"),
    "request parameters": (asking(CAT, parameters="x"), "`parameters` must be a JSON object"),
    "binary_data_output": (asking(CAT, parameters={"binary_data_output": 1}), "must be true or false"),
    "outputs": (asking(CAT, outputs={"name": "class"}), "`outputs` must be an array"),
    "unknown output": (asking(CAT, outputs=[{"name": "color"}]), "'verdict' or 'novelty'; it is 'color'"),
    "output twice": (asking(CAT, outputs=[{"name": "class"}] * 2), "each output once"),
    "output without name": (asking(CAT, outputs=[{}]), "`outputs[0].name` is missing"),
    "output of a list": (asking(CAT, outputs=[{"name": ["class"]}]), "`outputs[0].name` must be"),
    "output as string": (asking(CAT, outputs=["class"]), "`outputs[0]` must be a JSON object"),
    "binary_data": (asking(CAT, outputs=[{"name": "class", "parameters": {"binary_data": "no"}}]), "true or false"),
    "top classes": (asking(CAT, outputs=[{"name": "class", "parameters": {"classification": 2}}]), "classification"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_refused_with_its_reason(trained_client: FlaskClient, name: str) -> None:
    document, words = BROKEN[name]
    response = trained_client.post(INFER, data=json.dumps(document), content_type="application/json")
    problem = require_problem(response, 400, words)
    assert len(problem["error"]) < 500


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{}{}", b"\xff\xfe", b'{"inputs": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 100_000, CAT],
    ids=["empty", "cut", "two", "no text", "number of 5,000 digits", "100,000 deep", "objects 100,000 deep", "picture"],
)
def test_invalid_json_is_refused(trained_client: FlaskClient, body: bytes) -> None:
    require_problem(trained_client.post(INFER, data=body, content_type="application/json"), 400, "JSON object")


@pytest.mark.parametrize(
    ("tail", "count", "change", "words"),
    [
        (packed(CAT), 1, {"header": 0}, "JSON object"),
        (packed(CAT), 1, {"header": 5}, "JSON object"),
        (packed(CAT), 1, {"header": -1}, "the length of the JSON"),
        (packed(CAT), 1, {"header": 10**9}, "at most that of the body"),
        (packed(CAT), 1, {"header": "9" * 5000}, "the length of the JSON"),
        (packed(CAT), 1, {"header": "1e3"}, "the length of the JSON"),
        (packed(CAT), 1, {"header": "²"}, "the length of the JSON"),
        (packed(CAT), 1, {"header": ""}, "the length of the JSON"),
        (packed(CAT), 1, {"size": 10}, "bytes follow the JSON"),
        (packed(CAT), 1, {"size": -1}, "bytes follow the JSON"),
        (packed(CAT), 1, {"size": 10**4000}, "bytes follow the JSON"),
        (packed(CAT), 1, {"size": 7.5}, "binary_data_size` must be an integer"),
        (packed(CAT), 1, {"size": True}, "binary_data_size` must be an integer"),
        (packed(CAT), 1, {"data": []}, "both"),
        (packed(CAT), 1, {"parameters": {}}, "`binary_data_size` is missing"),
        (packed(CAT), 2, {}, "0 bytes are left for element 2"),
        (packed(CAT, DOG), 1, {}, "bytes follow"),
        (packed(CAT) + b"\0\0", 2, {}, "2 bytes are left for element 2"),
        (struct.pack("<I", 2**32 - 1) + CAT, 1, {}, "a length of 4,294,967,295"),
        (struct.pack("<i", -1) + CAT, 1, {}, "a length of 4,294,967,295"),
        (struct.pack("<I", len(CAT) + 1) + CAT, 1, {}, "a length of"),
        (struct.pack(">I", len(CAT)) + CAT, 1, {}, "little-endian"),
        (b"", 1, {}, "0 bytes are left for element 1"),
        (packed(b""), 1, {}, "The image is empty"),
        (packed(CAT, b""), 2, {}, "Image 2 of 2: The image is empty"),
    ],
)
def test_a_broken_binary_part_is_refused(
    trained_client: FlaskClient, tail: bytes, count: int, change: dict[str, Any], words: str
) -> None:
    assert send_binary(trained_client, packed(CAT), 1).status_code == 200
    require_problem(send_binary(trained_client, tail, count, **change), 400, words)


@pytest.mark.parametrize(
    ("picture", "status"), [(b"text", 415), (CAT[: len(CAT) // 2], 422), (encode(draw("cat", 1), "GIF"), 415)]
)
def test_an_unusable_image_gets_the_status_and_error_of_predict(
    trained_client: FlaskClient, picture: bytes, status: int
) -> None:
    expected = require_problem(trained_client.post("/api/predict", data=form(picture)), status)["error"]
    for response in (
        trained_client.post(INFER, json=asking(picture)),
        send_binary(trained_client, packed(picture), 1),
    ):
        assert require_problem(response, status)["error"] == expected


def test_bodies_of_other_kinds_are_refused(trained_client: FlaskClient) -> None:
    text = json.dumps(asking(CAT))
    for kind in ("image/jpeg", "multipart/form-data; boundary=X", "application/x-www-form-urlencoded", "text/plain"):
        require_problem(trained_client.post(INFER, data=text, content_type=kind), 415, kind.partition(";")[0])
    for encoding in ("gzip", "deflate", "br, gzip"):
        headers = {"Content-Encoding": encoding}
        require_problem(
            trained_client.post(INFER, data=text, content_type="application/json", headers=headers), 415, encoding
        )
    assert trained_client.post(INFER, data=text).status_code == 200  # some clients name no kind


def test_limits_are_named(home: Settings) -> None:
    app = create_app(load_settings(home=home.home, max_upload_bytes=1000, max_request_bytes=2_000_000, max_batch=2))
    client = app.test_client()
    for response in (client.post(INFER, json=asking(b"x", CAT)), send_binary(client, packed(b"x", CAT), 2)):
        require_problem(response, 413, "Image 2 of 2", "1,000", "CATDOG_MAX_UPLOAD_BYTES")
    require_problem(client.post(INFER, json=asking(*[b"x"] * 3)), 413, "CATDOG_MAX_BATCH")
    for count in (3, 10**30):
        require_problem(send_binary(client, packed(*[b"x"] * 3), count), 413, "CATDOG_MAX_BATCH")
    require_problem(client.post(INFER, json=asking(b"x" * 2_000_000)), 413, "CATDOG_MAX_REQUEST_BYTES")
    many = b"[" + b"{}," * MOST_VALUES + b"{}]"
    require_problem(client.post(INFER, data=many, content_type="application/json"), 413, f"limit is {MOST_VALUES:,}")
    app.extensions["catdog"].stop()


def test_inference_is_open_to_all(home: Settings) -> None:
    app = create_app(load_settings(home=home.home, host="0.0.0.0", api_key="k" * 16))
    client = app.test_client()
    for path in (INFER, "/v2/models/catdog/versions/1/infer"):
        assert client.post(path, json=asking(CAT), environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 200
    app.extensions["catdog"].stop()


def example(language: str, served: str) -> str:
    """Return the example of a language in the section of docs/serving.md, for the server under test."""
    section = PAGE.split("## Open Inference Protocol")[1].split("\n## ")[0]
    found = re.search(rf"^```{language}$\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found
    assert "127.0.0.1:5000" in found[1]
    return found[1].replace("127.0.0.1:5000", served)


def test_the_python_example_runs(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.jpg").write_bytes(CAT)
    Path("dog.jpg").write_bytes(DOG)
    names: dict[str, Any] = {}
    exec(compile(example("python", served), "serving.md", "exec"), names)
    assert names["answer"].as_numpy("class").tolist() == [b"Cat", b"Dog"]


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_the_curl_example_runs(served: str, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(CAT)
    command = ["sh", "-c", example("sh", served)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    outputs = {output["name"]: output["data"] for output in json.loads(finished.stdout)["outputs"]}
    assert outputs["class"] == ["Cat"]
    assert outputs.keys() == {"class", "confidence"}
