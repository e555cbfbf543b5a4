import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from catdog.errors import SettingsError
from catdog.settings import Settings, available_cores, load_settings, variable_name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory of its own, for a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_says_what_it_does(field: str) -> None:
    assert (Settings.model_fields[field].description or "").endswith(".")


def test_without_settings_everything_lies_in_the_working_directory(folder: Path) -> None:
    settings = load_settings()
    assert settings.home == folder
    assert settings.data_dir == folder / "data"
    assert settings.models_dir == folder / "models"
    assert settings.resolved_database_url == f"sqlite:///{folder}/catdog.db"
    assert settings.resolved_tracking_uri == f"sqlite:///{folder}/mlflow.db"
    assert list(folder.iterdir()) == []


def test_variables_set_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATDOG_HOME", str(folder / "elsewhere"))
    monkeypatch.setenv("CATDOG_PRECISION", "f32")
    monkeypatch.setenv("CATDOG_TEST_SHARE", "0.3")
    monkeypatch.setenv("CATDOG_TRACKING", "off")
    monkeypatch.setenv("CATDOG_DATABASE_URL", "postgresql://host/catdog")
    settings = load_settings()
    assert settings.home == folder / "elsewhere"
    assert (settings.precision, settings.test_share, settings.tracking) == ("f32", 0.3, False)
    assert settings.resolved_database_url == "postgresql://host/catdog"


def test_an_override_wins_over_a_variable_and_that_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("CATDOG_THREADS=3\nCATDOG_MAX_SIDE=500\nOTHER=1\nCATDOG_NO_SUCH=1\n")
    assert load_settings().threads == 3
    monkeypatch.setenv("CATDOG_THREADS", "5")
    assert load_settings().threads == 5
    assert load_settings().max_side == 500
    assert load_settings(threads=7).threads == 7
    assert load_settings(threads=None).threads == 5


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("CATDOG_PRECISION", "fp8", "'auto', 'bf16' or 'f32'"),
        ("CATDOG_THREADS", "many", "integer"),
        ("CATDOG_THREADS", "-1", "greater than or equal to 0"),
        ("CATDOG_TEST_SHARE", "1", "less than 1"),
        ("CATDOG_VALIDATION_SHARE", "0", "greater than 0"),
        ("CATDOG_MAX_PIXELS", "0", "greater than or equal to 1"),
        ("CATDOG_TRACKING", "perhaps", "boolean"),
        ("CATDOG_RATE_LIMIT", "600", "600/minute"),
        ("CATDOG_RATE_LIMIT_KEYS", "0/minute", "positive number"),
        ("CATDOG_TRUSTED_PROXIES", "-1", "greater than or equal to 0"),
        ("CATDOG_CORS_ORIGINS", "https://a.example,*", "scheme://name"),
        ("CATDOG_HOME", "~nobody-of-this-name/x", "That user's home folder is unknown"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_variable_and_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert rule in str(caught.value)
    assert f"(got '{value}')." in str(caught.value)
    assert caught.value.exit_code == 2


BAD_KEYS = {
    "umlaut": "schlüssel-schlüssel",
    "emoji": "k" * 16 + "🐈",
    "another space": "k" * 16 + "\u00a0",
    "line break": "k" * 16 + "\n",
    "line break within": "k" * 8 + "\r\n" + "k" * 8,
    "tab": "k" * 16 + "\t" + "k",
    "control": "k" * 16 + "\x01" + "k",
    "delete": "k" * 16 + "\x7f",
    "space before": " " + "k" * 16,
    "space behind": "k" * 16 + " ",
    "spaces": " " * 16,
    "short": "k" * 15,
    "longer than a header": "k" * 1025,
    "no UTF-8": "k" * 16 + "\udcff",
}


@pytest.mark.slow
@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_no_header_can_bring_is_refused_and_not_shown(key: str) -> None:
    environment = os.environ | {"CATDOG_API_KEY": key}
    command = [sys.executable, "-m", "catdog", "models", "list"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2
    (line,) = finished.stderr.replace("\n ", " ").splitlines()
    assert "CATDOG_API_KEY: " in line
    assert "openssl rand -hex 32" in line
    assert "kkkk" not in line
    assert "schl" not in line


@pytest.mark.parametrize("key", ["k" * 16, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~ a b", "0" * 1024])
def test_any_key_that_a_header_can_bring_is_taken(key: str) -> None:
    taken = load_settings(api_key=key).api_key
    assert taken is not None
    assert taken.get_secret_value() == key


def test_a_bad_line_of_the_file_is_explained_as_well(folder: Path) -> None:
    (folder / ".env").write_text("CATDOG_THREADS=x\nCATDOG_MAX_SIDE=y\n")
    with pytest.raises(SettingsError, match=r"CATDOG_THREADS: .*'x'.*CATDOG_MAX_SIDE: .*'y'"):
        load_settings()


def test_a_bad_override_is_explained_as_well() -> None:
    with pytest.raises(SettingsError, match=r"CATDOG_THREADS: .*256.*got 1000"):
        load_settings(threads=1000)


def test_the_url_of_redis_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATDOG_RATE_LIMIT_STORAGE", "memcached://:secret@host")
    with pytest.raises(SettingsError, match=r"CATDOG_RATE_LIMIT_STORAGE: .*redis://") as caught:
        load_settings()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(load_settings(rate_limit_storage="redis://:secret@host"))


def test_a_port_that_is_none_stops_only_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")
    monkeypatch.setenv("WEB_CONCURRENCY", "-1")
    assert load_settings(threads=3).threads == 3
    assert (load_settings().port, load_settings().workers) == (None, 0)
    with pytest.raises(SettingsError, match=r"PORT: .*'abc'.*WEB_CONCURRENCY: .*'-1'"):
        load_settings(serving=True)
    monkeypatch.setenv("CATDOG_THREADS", "x")  # what is wrong beside it is told all the same
    with pytest.raises(SettingsError, match="CATDOG_THREADS"):
        load_settings()
    with pytest.raises(SettingsError, match="PORT"):
        load_settings(port=0, threads=1)


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        settings.threads = 2  # type: ignore[misc]
    assert settings.threads == 0


@pytest.mark.parametrize(("home", "expected"), [("~/pets", "{user}/pets"), ("pets", "{here}/pets"), ("", "{here}")])
def test_home_is_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch, home: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/users/me")
    monkeypatch.setenv("CATDOG_HOME", home)
    settings = load_settings()
    monkeypatch.chdir("/")  # whatever happens to the working directory later
    assert str(settings.home) == expected.format(user="/users/me", here=folder)


def test_mlflow_has_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert load_settings().resolved_tracking_uri == "http://tracking:5000"
    assert load_settings(tracking_uri="http://other").resolved_tracking_uri == "http://other"
    assert variable_name("tracking_uri") == "MLFLOW_TRACKING_URI"
    assert variable_name("max_side") == "CATDOG_MAX_SIDE"


def test_mlflow_can_be_set_in_the_file(folder: Path) -> None:
    (folder / ".env").write_text("MLFLOW_TRACKING_URI=http://from-file\n")
    assert load_settings().resolved_tracking_uri == "http://from-file"


def test_threads_are_those_that_this_process_may_use() -> None:
    assert load_settings(threads=3).resolved_threads == 3
    assert load_settings(threads=0).resolved_threads == available_cores()
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_importing_and_reading_settings_creates_nothing(tmp_path: Path) -> None:
    code = (
        "import catdog.settings, sys; s = catdog.settings.load_settings(); s.data_dir, s.resolved_database_url;"
        "print(sorted({'tensorflow', 'keras', 'openvino', 'mlflow', 'numpy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "CATDOG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
