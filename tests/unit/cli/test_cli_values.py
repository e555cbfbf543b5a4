"""Any value of a setting or an option is accepted, or rejected in one line that names it."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from drawing import write_dataset
from rich.console import Console

from catdog.cli.app import app, main
from catdog.env_file import warn_once
from catdog.errors import SettingsError
from catdog.settings import Settings, load_settings, variable_name

NUMBERS = ["", "-1", "0", "1.5", "nan", "inf", "1e400", "9" * 30, "9" * 5000, "abc"]
TEXTS = ["", " ", "-1", "x" * 5000, "猫 🐶", "a\nb", "\udcff", "[bold]", "~nobody-of-this-name", "9" * 5000, "://"]


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_is_taken_or_refused_in_a_line(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    name = variable_name(field)
    for value in [*NUMBERS, *TEXTS]:
        monkeypatch.setenv(name, value)
        error = refusal()
        if error:
            assert error.startswith(f"{name}: "), value[:50]
            assert (len(error.splitlines()), len(error) < 600, value != "") == (1, True, True), value[:50]


def refusal() -> str:
    """Read the settings; return the error."""
    try:
        load_settings(serving=True)
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_an_empty_setting_counts_as_unset(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    unset = load_settings()
    monkeypatch.setenv(variable_name(field), "")
    assert load_settings() == unset


def is_number(annotation: object) -> bool:
    return annotation in (int, float, int | None, float | None)


@pytest.mark.parametrize(
    "field", sorted(name for name, field in Settings.model_fields.items() if is_number(field.annotation))
)
def test_every_number_has_its_bounds(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    for value in ("-1", "9" * 30, "nan", "inf"):
        monkeypatch.setenv(variable_name(field), value)
        with pytest.raises(SettingsError, match=variable_name(field)):
            load_settings(serving=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("REMOVED_DAYS", "36500"), ("MAX_KEPT_PICTURES", "1"), ("MIN_FREE_BYTES", "0"), ("THREADS", "1")],
)
def test_the_bounds_themselves_work(
    bundled: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(f"CATDOG_{name}", value)
    assert run(bundled, monkeypatch, ["uploads", "purge"]) == 0
    capsys.readouterr()


# .env


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("CATDOG_THREADS=2\n".encode("utf-16"), "UTF-16"),
        ("CATDOG_THREADS=2\n".encode("utf-16-be"), "UTF-16"),
        ("CATDOG_THREADS=2\n".encode("utf-16-le"), "UTF-16"),
        ("# café\nCATDOG_THREADS=2\n".encode("latin-1"), "UTF-8"),
        (b"CATDOG_THREADS=2\n" + bytes(2**20), "too large"),
        (b"\xef\xbb\xbfCATDOG_THREADS=-2\n", "CATDOG_THREADS"),
    ],
)
def test_an_unreadable_env_file_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=reason):
        load_settings()


def test_a_byte_order_mark_and_other_kinds_of_env_files_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfCATDOG_THREADS=2\r\nCATDOG_WORKER=\r\nnonsense\r\n")
    assert load_settings().threads == 2
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()  # as `python -m venv .env` makes it
    assert load_settings().threads == 0
    (tmp_path / ".env").rmdir()
    os.mkfifo(tmp_path / ".env")
    assert load_settings().threads == 0


def test_an_env_file_without_read_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CATDOG_THREADS=2")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SettingsError, match=r"\.env: can.t read the file: Permission denied"):
        load_settings()


def test_an_invalid_port_is_overridden_by_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")
    assert load_settings(serving=True, overridden={"port"}).resolved_host == "127.0.0.1"
    with pytest.raises(SettingsError, match="PORT"):
        load_settings(serving=True)
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    assert load_settings(serving=True, overridden={"port"}, workers=2).workers == 2


@pytest.mark.parametrize("content", [b'CATDOG_HOME="x\nCATDOG_THREADS=2\n', b"A=1\n\nB='open\n"])
def test_an_open_quote_in_an_env_file_is_one_sentence_that_shows_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    line = 1 if content.startswith(b"CATDOG") else 3
    with pytest.raises(SettingsError, match=rf"\.env: can.t read line {line}. .* quotes") as refused:
        load_settings()
    assert "open\n" not in str(refused.value)


def test_a_blank_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unset = load_settings()
    (tmp_path / ".env").write_text('CATDOG_THREADS="  "\n')
    for field in Settings.model_fields.keys() - {"api_key"}:  # of blanks it is a mistake, and no open door
        monkeypatch.setenv(variable_name(field), "  ")
    assert load_settings() == unset


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_an_unknown_variable_is_reported_with_the_nearest_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    warn_once.cache_clear()
    usual = {"CATDOG_SHARED": "x", "CATDOG_SERVICE_HOST": "10.0.0.1", "CATDOG_PORT": "tcp://10.0.0.1:80"}
    given = {"CATDOG_THREDS": "3", "catdog_api_kye": "x", **usual}
    if where == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    else:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
    for _ in range(2):
        load_settings()
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == [
        "Unknown setting CATDOG_THREDS. Did you mean CATDOG_THREADS?",
        "Unknown setting catdog_api_kye. Did you mean CATDOG_API_KEY?",
    ]


def test_an_env_file_that_is_a_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    warn_once.cache_clear()
    (tmp_path / ".env").mkdir()
    load_settings()
    assert [record.getMessage() for record in caplog.records] == [".env is a folder, so it is ignored."]


# Options

WRONG = {
    "a report that is a folder": ["evaluate", "--data", "absent", "--report", "."],
    "a report in no folder": ["evaluate", "--data", "absent", "--report", "absent/x.html"],
    "a table in no folder": ["predict", "--csv", "absent/x.csv", "absent"],
    "a table that is a folder": ["predict", "--csv", ".", "absent"],
    "no number of blocks": ["train", "--fine-tune", "nope", "absent"],
    "too many blocks": ["train", "--fine-tune", "999", "absent"],
    "no backbone": ["train", "--backbone", "nope", "pets"],
    "no such split": ["data", "check", "--split-names", "train=zzz", "pets"],
    "no name of a data set": ["data", "download", "kaggle:"],
    "half a name of a data set": ["data", "download", "kaggle:/"],
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_a_sentence_and_exit_code_2(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    write_dataset(tmp_path / "pets", 3, 2)
    monkeypatch.chdir(tmp_path)
    assert run(settings, monkeypatch, WRONG[case]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("home", ["file", "file/home"])
def test_doctor_reports_a_home_that_is_not_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: str
) -> None:
    (tmp_path / "file").write_text("x")
    assert run(load_settings(home=tmp_path / home), monkeypatch, ["doctor", "--json"]) == 1
    found = capsys.readouterr().out
    assert "isn't a folder" in found
    assert "mkdir" not in found


def test_an_empty_list_of_jobs_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.home.mkdir(exist_ok=True)
    assert run(settings, monkeypatch, ["jobs", "list"]) == 0
    assert capsys.readouterr().out == "No jobs yet.\n"


def test_an_upload_without_new_images_names_no_batch(
    bundled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    assert run(bundled, monkeypatch, ["uploads", "add", str(tmp_path / "x.jpg"), "--category", "cats"]) == 1
    assert "batch" not in capsys.readouterr().out


def test_an_empty_host_is_refused_in_plain_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, monkeypatch, ["serve", "--host", ""]) == 2
    assert "CATDOG_HOST: The value is empty" in capsys.readouterr().err


LEFT_OUT = {("serve",), ("worker",)}
"""Commands that don't end; `test_invalid_server_options…` tests their options."""

MINUTES = {("models", "export", "pictures"), ("data", "sample", "folder")}
"""Parameters with valid values that make a command slow."""

REQUIRED = {
    "data": "absent", "paths": "absent", "path": "absent", "folder": "out", "source": "absent", "name": "x",
    "job_id": "x", "version": "1", "kind": "keras", "target": "out/x.keras", "category": "cats",
}  # fmt: skip


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """List every command with its name."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    elif path not in LEFT_OUT:
        yield path, command


CASES = [
    pytest.param(path, command, parameter, id=" ".join((*path, parameter.name)))
    for path, command in commands(typer.main.get_command(app))
    for parameter in command.params
    if (*path, parameter.name) not in MINUTES
    and parameter.name not in ("help", "as_json", "shared")
    and not getattr(parameter, "is_flag", False)
]


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    """Run a command in this process; return its exit code."""
    monkeypatch.setenv("CATDOG_HOME", str(settings.home))
    monkeypatch.setattr("sys.argv", ["catdog", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command", "parameter"), CASES)
def test_every_option_is_taken_or_refused_in_a_line(
    bundled: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: tuple[str, ...],
    command: Any,
    parameter: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    is_numeric = is_number(parameter.type_descriptor.annotation)
    for value in NUMBERS if is_numeric else TEXTS:
        given = [word for other in command.params for word in _given(other, parameter, value)]
        code = run(bundled, monkeypatch, [*path, *given])
        errors = capsys.readouterr().err
        assert code in (0, 1, 2), (value[:50], errors)
        if code and not any(other.name == "paths" for other in command.params):  # of those each has a line of its own
            assert errors.splitlines()[-1].startswith("Error: "), (value[:50], errors)
        if is_numeric and value not in ("0", "1.5"):
            assert (code, parameter.opts[0].lstrip("-") in errors or "'V'" in errors) == (2, True), (value, errors)


PATHS = [
    pytest.param(path, command, parameter, id=" ".join((*path, parameter.name)))
    for path, command in commands(typer.main.get_command(app))
    for parameter in command.params
    if hasattr(parameter, "type_descriptor") and "Path" in str(parameter.type_descriptor.annotation)
]


@pytest.mark.parametrize(("path", "command", "parameter"), PATHS)
def test_an_empty_path_is_refused(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: tuple[str, ...],
    command: Any,
    parameter: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [word for other in command.params for word in _given(other, parameter, "")]
    assert run(settings, monkeypatch, [*path, *given]) == 2
    assert "The path is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_home_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, monkeypatch, ["--home", "", "models", "list"]) == 2
    assert "The path is empty" in capsys.readouterr().err


def _given(other: Any, parameter: Any, value: str) -> list[str]:
    """Return the arguments that set one parameter, with other required ones."""
    is_argument = not other.opts[0].startswith("-")
    if other is not parameter and not other.required:
        return []
    word = value if other is parameter else REQUIRED[other.name]
    return (["--", word] if word.startswith("-") else [word]) if is_argument else [f"{max(other.opts, key=len)}={word}"]


def test_invalid_server_options_are_refused_before_it_starts(
    bundled: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("it started"))
    wrong = [("--port", value) for value in ("0", "-1", "70000", "abc", "", "9" * 30)]
    wrong += [("--workers", value) for value in ("0", "-1", "257", "abc", "", "9" * 30)]
    wrong += [("--host", value) for value in (" ", "256.1.1.1", "a\nb", "x" * 300, "猫" * 100, "no such host", "1:2:3")]
    for option, value in wrong:
        assert run(bundled, monkeypatch, ["serve", f"{option}={value}"]) == 2, value
        assert capsys.readouterr().err.startswith("Error: ")


@pytest.mark.parametrize("count", [2, 26])
def test_a_version_takes_one_row_of_80_columns(count: int) -> None:
    from catdog.cli import console, models

    names = ["cats", "dogs", *(f"a long name of class {i}" for i in range(24))][:count]
    row = {"version": 12, "champion": True, "created_at": "2026-11-24T21:52:03.123Z", "classes": names}
    cells = models._cells({**row, "accuracy": 0.9939, "backbone": "mobilenetv2-256-2f52614f82f1"})
    screen = Console(width=80, file=io.StringIO())
    screen.print(console.table("", ("Version", "Made", "Classes", "Accuracy", "Backbone"), [cells]))
    assert isinstance(screen.file, io.StringIO)
    (line,) = [line for line in screen.file.getvalue().splitlines() if "champion" in line]
    assert all(text in line for text in ("12 (champion)", "2026-11-24 21:52", "99.39 %", "256-2f52614f82f1"))
