"""The built Docker image. It takes minutes and gigabytes, so it runs only with CATDOG_TEST_IMAGES=1."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from drawing import draw, encode

ROOT = Path(__file__).parents[3]
WANTED = os.environ.get("CATDOG_TEST_IMAGES") == "1"  # before the tests' own environment is cleared
MOUNTS = os.environ.get("MOUNTS", "")
MINUTES = 25


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60)
@pytest.mark.parametrize(
    ("target", "name", "tensorflow"), [("web", "catdog-web", "without"), ("full", "catdog", "with")]
)
def test_an_image_is_built_and_serves(target: str, name: str, tensorflow: str, tmp_path: Path) -> None:
    if not WANTED:
        pytest.skip("building images takes minutes: set CATDOG_TEST_IMAGES=1")
    if missing := [tool for tool in ("podman", "buildah", "debootstrap", "curl") if shutil.which(tool) is None]:
        pytest.skip(f"missing: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root can build without Docker")
    (tmp_path / "cat.jpg").write_bytes(encode(draw("cat", 4032)))
    variables = os.environ | {"PICTURE": str(tmp_path / "cat.jpg"), "MOUNTS": MOUNTS}
    command = [str(ROOT / "deploy" / "build_without_docker.sh"), target]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: runs as catdog, {tensorflow} TensorFlow" in done.stdout
    assert '"model_version":1' in done.stdout
