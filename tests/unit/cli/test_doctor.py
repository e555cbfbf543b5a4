from pathlib import Path

from catdog.cli.doctor import diagnose
from catdog.settings import Settings, load_settings


def test_a_healthy_home_has_no_problems(trained: Settings) -> None:
    diagnosis = diagnose(trained)
    assert diagnosis.problems == ()
    assert diagnosis.facts["model"]["champion"] == 1
    assert diagnosis.facts["engine"]["precision"] in ("bf16", "f32")
    assert diagnosis.facts["cores"] >= 1
    assert diagnosis.facts["packages"]["tensorflow"]


def test_missing_packages_come_with_a_remedy(tmp_path: Path, monkeypatch) -> None:
    diagnosis = diagnose(load_settings(home=tmp_path / "absent"))
    assert any("mkdir -p" in problem for problem in diagnosis.problems)
    assert "bundled" in diagnosis.facts["model"]["champion"]
    assert not (tmp_path / "absent").exists()
    monkeypatch.setattr("catdog.cli.doctor._version", lambda _: None)
    missing = diagnose(load_settings(home=tmp_path)).problems
    assert any("pip install 'catdog[train]'" in problem for problem in missing)


def test_a_damaged_champion_is_reported(home: Settings) -> None:
    (home.models_dir / "1" / "head.npz").write_bytes(b"")
    assert any("head.npz" in problem for problem in diagnose(home).problems)


def test_the_database_is_checked_without_changes(home: Settings) -> None:
    def found(url: str | None = None) -> tuple[str, str]:
        diagnosis = diagnose(load_settings(home=home.home, database_url=url))
        return diagnosis.facts["paths"]["database"], " ".join(diagnosis.problems)

    at = home.home / "other.db"
    place, problem = found()
    assert place.endswith("catdog.db")
    assert problem == ""
    assert found(f"sqlite:///{at}")[0].endswith("other.db (not created yet)")
    assert not at.exists()
    at.touch()
    assert "older tables" in found(f"sqlite:///{at}")[0]
    at.write_bytes(b"no database" * 1000)
    place, problem = found(f"sqlite:///{at}")
    assert place.endswith("other.db")
    assert "file is not a database" in problem
    place, problem = found("postgresql+psycopg://someone:secret@127.0.0.1:1/pets")
    assert place == "127.0.0.1:1/pets"
    assert "127.0.0.1:1/pets can't be used" in problem
    assert "secret" not in problem
