import os
import subprocess
import sys
from pathlib import Path

import pytest

from catdog.errors import MissingDependencyError
from catdog.features.frameworks import import_keras


@pytest.mark.slow
@pytest.mark.parametrize("function", ["import_openvino", "import_keras"])
def test_a_framework_writes_nothing_to_the_users_home(function: str, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    without = {name: value for name, value in os.environ.items() if name not in ("KERAS_HOME", "CI")}
    finished = subprocess.run(
        [sys.executable, "-c", f"from catdog.features.frameworks import {function}; print({function}().__name__)"],
        env={**without, "HOME": str(tmp_path / "user"), "CATDOG_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() in ("openvino", "keras")
    assert list((tmp_path / "user").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"user", "home"}
    assert "oneDNN" not in finished.stderr


def test_a_missing_framework_is_reported_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'catdog\[train\]'"):
        import_keras()
