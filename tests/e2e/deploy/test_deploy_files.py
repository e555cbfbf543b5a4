"""Deployment files are valid by their schemas and match catdog."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
import yaml
from drawing import draw, encode
from flask.testing import FlaskClient

from catdog.settings import Settings, variable_name

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OLDEST_KUBERNETES = "1.30"
"""The first version with a sleep action in preStop hooks, enabled by default."""

SETTINGS = {variable_name(name) for name in Settings.model_fields}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
RENDER = yaml.safe_load((ROOT / "render.yaml").read_text(encoding="utf-8"))

# The schemas that check-jsonschema carries, so that no network is needed. It has none of Render's.
SCHEMAS = [
    ("vendor.compose-spec", "docker-compose.yml"),
    ("vendor.github-workflows", ".github/workflows/*.yml"),
    ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
]


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every Kubernetes object with its file."""
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                yield path.name, document


def containers() -> list[dict[str, Any]]:
    return [c for _, d in documents() if d["kind"] == "Deployment" for c in d["spec"]["template"]["spec"]["containers"]]


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import importlib

    monkeypatch.syspath_prepend(ROOT / "deploy")
    return importlib.import_module("pins")


@pytest.mark.parametrize(("schema", "pattern"), SCHEMAS, ids=[pattern for _, pattern in SCHEMAS])
def test_files_of_others_are_as_their_schemas_say(schema: str, pattern: str) -> None:
    paths = sorted(map(str, ROOT.glob(pattern)))
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_reads_its_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` here; the schema is checked all the same")
    filled = re.sub(r"=$", "=0123456789abcdef", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "env").write_text(filled, encoding="utf-8")
    command = [docker, "compose", "--env-file", str(tmp_path / "env"), "config", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)


def test_compose_names_what_is_there() -> None:
    services, text = COMPOSE["services"], (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    assert needed == set(re.findall(r"^(\w+)=$", example, re.MULTILINE)), "what has no default must be filled in"
    mounted = re.findall(r"^ +- (\./[^:]+):", text, re.MULTILINE)
    assert mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    stages = re.findall(r"^FROM .* AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {services[name]["build"]["target"] for name in ("web", "worker")} <= set(stages)
    for name in ("web", "worker"):
        catdogs = {key for key in services[name]["environment"] if key.startswith("CATDOG_")}
        assert catdogs <= SETTINGS
        assert services[name]["environment"]["CATDOG_WORKER"] == "external"
    assert "ports" not in services["web"], "only nginx is reached from outside, so that any number of them can be"


@pytest.mark.parametrize(("name", "document"), list(documents()), ids=lambda part: str(part)[:30])
def test_kubernetes_objects_are_as_the_schema_says(name: str, document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, OLDEST_KUBERNETES, strict=True)
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert name in listed


def test_kubernetes_objects_fit_together() -> None:
    found = {(d["kind"], d["metadata"]["name"]): d for _, d in documents()}
    scaled = found["HorizontalPodAutoscaler", "web"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) in found
    assert "replicas" not in found["Deployment", "web"]["spec"], "that would undo what the autoscaler does"
    labels = found["Deployment", "web"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service", "web"]["spec"]["selector"] == labels
    assert found["Deployment", "worker"]["spec"]["replicas"] == 1
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    assert {c["image"] for c in containers()} == {image["name"] for image in kustomization["images"]}
    literals = {line.partition("=")[0] for line in kustomization["configMapGenerator"][0]["literals"]}
    own = {variable["name"] for c in containers() for variable in c["env"]}
    assert literals | own <= SETTINGS


def test_probes_use_existing_routes(trained_client: FlaskClient) -> None:
    web = next(c for c in containers() if c["name"] == "web")
    paths = [web[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    for path in [*paths, RENDER["services"][0]["healthCheckPath"]]:
        assert trained_client.get(path).status_code == 200, path


def test_kustomize_puts_it_together() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here; each object is checked by itself all the same")
    built = subprocess.run([kubectl, "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=True)
    objects = list(yaml.safe_load_all(built.stdout))
    for one in objects:
        kubernetes_validate.validate(one, OLDEST_KUBERNETES, strict=True)
    maps = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"}
    for deployment in (one for one in objects if one["kind"] == "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"][0]["configMapRef"]["name"] in maps
        assert container["image"].startswith("registry.example.com/")


def test_render_starts_what_is_there() -> None:
    (service,) = RENDER["services"]  # Render's own schema isn't to be had offline: these are the keys that it documents
    assert service.keys() <= {
        "type", "name", "runtime", "plan", "buildCommand", "startCommand", "healthCheckPath", "maxShutdownDelaySeconds",
        "disk", "envVars",
    }  # fmt: skip
    assert (service["type"], service["runtime"]) == ("web", "python")
    assert service["buildCommand"] == "pip install -r requirements.txt"
    assert service["startCommand"] == "gunicorn app:app"
    variables = {variable["key"]: variable for variable in service["envVars"]}
    assert variables.keys() - {"PYTHON_VERSION"} <= SETTINGS
    assert variables["CATDOG_API_KEY"] == {"key": "CATDOG_API_KEY", "generateValue": True}
    assert variables["CATDOG_HOME"]["value"] == service["disk"]["mountPath"]
    assert "PORT" not in variables, "Render sets it"


def test_the_dashboard_shows_metrics_that_are_there(trained_client: FlaskClient) -> None:
    document = json.loads((ROOT / "deploy" / "grafana" / "catdog.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    trained_client.post("/api/predict", data=encode(draw("cat", 1)), content_type="image/jpeg")
    exposed = trained_client.get("/metrics").text
    names = {re.sub(r"\{.*| .*", "", line) for line in exposed.splitlines() if not line.startswith("#")}
    # There once 50 images were answered, and once something was retrained.
    names |= {"catdog_drift_score", "catdog_drift_warning", "catdog_retrain_total"}
    used = {name for query in queries for name in re.findall(r"catdog_\w+", query)}
    assert used - names == set()
    labels = {
        label for query in queries for found in re.findall(r"by \(([\w, ]+)\)", query) for label in found.split(", ")
    }
    labels |= {label for query in queries for label in re.findall(r"(\w+)=~?\"", query)}
    assert labels - set(re.findall(r"(\w+)=\"", exposed)) - {"job"} <= {"result"}, "catdog_retrain_total has `result`"
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in document["panels"]]
    assert len(set(places)) == len(places)
    source = yaml.safe_load((ROOT / "deploy" / "grafana" / "datasources.yml").read_text(encoding="utf-8"))
    assert {panel["datasource"]["uid"] for panel in document["panels"]} == {source["datasources"][0]["uid"]}


def test_an_image_gets_what_it_needs_and_no_more(pins: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    web = " ".join(pins.select(project, ["postgres"]))
    assert "openvino" in web
    assert "psycopg" in web
    assert "tensorflow" not in web
    assert "tensorflow" in " ".join(pins.select(project, ["train"]))
    with pytest.raises(SystemExit, match="Received: tests"):
        pins.select(project, ["tests"])


def test_a_package_that_is_not_locked_is_named(pins: ModuleType, tmp_path: Path) -> None:
    for name, version in (("Flask_Cors", "6.0"), ("numpy", "2.4"), ("catdog", "0.1.0"), ("stray", "1.0")):
        folder = tmp_path / "lib/python3.11/site-packages" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lock = "# comment with ==\n-e .\nflask-cors==6.0\nnumpy==2.5 ; python_full_version < '3.12'\n"
    assert pins.unlocked(tmp_path, lock) == ["numpy==2.4", "stray==1.0"]
    assert pins.lock(lock) == ["flask-cors==6.0", "numpy==2.5 ; python_full_version < '3.12'"]
    with pytest.raises(SystemExit, match="virtual environment is needed"):
        pins.unlocked(tmp_path / "nothing", lock)
