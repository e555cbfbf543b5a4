"""A real Postgres, as docker-compose.yml has it: several servers start on it at once, and cache the same features."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from processes import free_port

from catdog.database import open_database
from catdog.features import FeatureCache
from catdog.settings import Settings, load_settings

OPEN = """
from catdog.database import open_database
from catdog.settings import load_settings
open_database(load_settings())
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URL of an empty database on a server that ends with the tests."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "")]
    if not programs[-1].is_file():
        pytest.skip("no Postgres here")
    folder, port = Path(tempfile.mkdtemp(prefix="catdog-postgres-")), free_port()
    as_user: list[str] = []
    if os.geteuid() == 0:  # it does not run as root
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    control = [*as_user, str(programs[-1]), "--pgdata", str(folder / "data"), "--wait", "--silent"]
    where = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def run(*command: str) -> None:
        # Not into a pipe: the server would keep it open.
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    try:
        run(*control, "init", "--options=--username=catdog --auth=trust --no-sync")
        run(*control, "start", "--options", where, "--log", str(folder / "log"))
        yield f"postgresql+psycopg://catdog@127.0.0.1:{port}/postgres"
        run(*control, "stop", "--mode", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(postgres: str, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", database_url=postgres)


def test_four_servers_make_the_tables_at_once(postgres: str) -> None:
    environment = os.environ | {"CATDOG_DATABASE_URL": postgres}
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert [process.returncode for process in started] == [0] * 4


def test_features_that_another_process_added_meanwhile_stay(settings: Settings) -> None:
    engine = open_database(settings)
    rows = [(f"{number:064x}", 0, np.full(4, number, np.float16)) for number in range(50)]
    caches = [FeatureCache(engine, "backbone") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(cache.write, rows) for cache in caches * 5]:
            done.result()
    found = caches[0].read([sha256 for sha256, _, _ in rows], 0)
    assert {sha256: vector.tolist() for sha256, vector in found.items()} == {s: v.tolist() for s, _, v in rows}
    engine.dispose()
