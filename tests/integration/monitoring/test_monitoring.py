import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from catdog.errors import DatabaseBusyError
from catdog.monitoring import counts as monitoring
from catdog.monitoring.counts import Counts, current_hour
from catdog.monitoring.summary import activity, latency, retrainings
from catdog.settings import Settings, load_settings
from catdog.storage import database

pytestmark = pytest.mark.databases


def add(counts: Counts, version: int = 1, class_name: str = "Cat", verdict: str = "cat", **more: float) -> None:
    counts.add(version, class_name, verdict, **{"confidence": 0.97, "novelty": 0.3, "milliseconds": 12.0} | more)


@contextmanager
def at_hour(monkeypatch: pytest.MonkeyPatch, hour: int) -> Iterator[None]:
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: hour * 3600.0 + 1)
        yield


def test_counts_are_correct_over_processes_and_restarts(settings: Settings) -> None:
    for _ in range(2):
        one, other = Counts(settings), Counts(settings)
        add(one)
        add(other, verdict="neither")
        add(other, 2, "Dog", "dog")
        one.close()
        other.close()
    totals = Counts(settings).totals().as_dict()
    assert totals == {
        "total": 6,
        "by_class": {"Cat": 4, "Dog": 2},
        "by_verdict": {"cat": 2, "dog": 2, "neither": 2},
        "by_version": {"1": 4, "2": 2},
    }


def test_unflushed_counts_are_included(settings: Settings) -> None:
    counts = Counts(settings)
    add(counts)
    assert counts.totals().total == 1
    assert activity(counts)["hours"][0]["total"] == 1
    assert database.database_exists(settings) is (settings.database_url is not None)  # asking makes no file
    counts.flush()
    counts.flush()
    add(counts)
    assert counts.totals().total == activity(counts)["hours"][0]["total"] == 2


def test_many_threads_lose_nothing(settings: Settings) -> None:
    counts = [Counts(settings) for _ in range(4)]

    def work(own: Counts) -> None:
        for _ in range(25):
            add(own)
            own.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, counts))
    assert counts[0].totals().total == latency(counts[0])["n"] == 100


def test_an_unavailable_database_loses_no_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts(settings)
    with monkeypatch.context() as broken:
        broken.setattr(database, "open_database", lambda _: 1 / 0)
        for _ in range(3):
            add(counts)
            counts.add_error(415, "PictureFormatError")
            counts.flush()
        assert counts.totals().total == 3
    assert len(caplog.records) == 1
    counts.close()
    found = activity(Counts(load_settings(home=settings.home)))
    assert found["predictions"]["total"] == 3
    assert found["errors"] == [{"status": 415, "kind": "PictureFormatError", "count": 3}]


def test_a_hanging_database_stops_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(settings)
    add(counts)
    counts.flush()
    hangs, goes_on = threading.Event(), threading.Event()
    write = counts._write

    def hang(*arguments: Any) -> None:
        hangs.set()
        goes_on.wait(30)
        write(*arguments)

    monkeypatch.setattr(counts, "_write", hang)
    assert counts.totals().total == 1
    add(counts)
    flush = threading.Thread(target=counts.flush)
    flush.start()
    assert hangs.wait(30)
    add(counts)
    assert counts.totals().total == 3  # known, under way, waiting
    goes_on.set()
    flush.join()
    assert counts.totals().total == 3


def test_memory_is_bounded_while_the_database_is_out_of_reach(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "MAX_PENDING", 40)
    monkeypatch.setattr(monitoring, "MAX_UNSORTED", 5)
    counts = Counts(settings)
    with monkeypatch.context() as broken:
        broken.setattr(database, "open_database", lambda _: 1 / 0)
        for hour in range(current_hour() - 50, current_hour() + 1):
            with at_hour(monkeypatch, hour):
                add(counts)
                counts.flush()
        assert len(counts._pending) <= 40 + 4
    counts.flush()
    found = activity(counts)
    assert found["predictions"]["total"] == sum(found["confidence"]["all_time"]["counts"]) == 51
    assert found["hours"][-1]["total"] == 1


def test_hours_kinds_and_histograms(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = Counts(settings), current_hour()
    with at_hour(monkeypatch, now - 30):
        add(counts, confidence=0.0, novelty=1.0)
        counts.add_error(404, "NotFound")
    with at_hour(monkeypatch, now - 2):
        add(counts, confidence=1.0, novelty=0.0)
        add(counts, class_name="Dog", verdict="unsure", confidence=0.52, novelty=0.5)
    counts.flush()
    counts.add_error(404, "NotFound")
    counts.add_error(415, "PictureFormatError")
    counts.add_retraining("promoted")
    found = activity(counts)
    assert [hour["total"] for hour in found["hours"]] == [1, 2, 0]
    assert found["hours"][1]["by_class"] == {"Cat": 1, "Dog": 1}
    assert found["hours"][1]["by_verdict"] == {"cat": 1, "unsure": 1}
    assert found["hours"][0]["hour"].endswith(":00:00+00:00")
    confidence, novelty = found["confidence"], found["novelty"]
    assert confidence["recent"]["edges"][:2] == [0.0, 0.05]
    assert np.flatnonzero(confidence["recent"]["counts"]).tolist() == [10, 19]
    assert np.flatnonzero(confidence["all_time"]["counts"]).tolist() == [0, 10, 19]
    assert np.flatnonzero(novelty["recent"]["counts"]).tolist() == [0, 10]
    assert [(row["kind"], row["count"]) for row in found["errors"]] == [("NotFound", 2), ("PictureFormatError", 1)]
    assert retrainings(counts) == {"promoted": 1}


def test_percentiles_are_correct_within_a_few_percent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    old, recent = rng.lognormal(5, 0.5, 1000), rng.lognormal(2.5, 0.6, 4000)
    one, other = Counts(settings), Counts(settings)
    with at_hour(monkeypatch, current_hour() - 25):
        for value in old:
            add(one, milliseconds=float(value))
    for i, value in enumerate(recent):
        add((one, other)[i % 2], milliseconds=float(value))
    one.flush()
    other.flush()
    found = latency(Counts(settings))
    for name, values in ((found, recent), (found["all_time"], np.concatenate([old, recent]))):
        assert name["n"] == len(values)
        for percent in (50, 95, 99):
            assert name[f"p{percent}"] == pytest.approx(np.percentile(values, percent), rel=0.05)


def test_without_responses_there_are_no_percentiles(settings: Settings) -> None:
    assert latency(Counts(settings)) == {"n": 0, "all_time": {"n": 0}}


def test_old_hours_go_and_totals_stay(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    few = load_settings(home=settings.home, history_days=2)
    now = current_hour()
    for hour in (now - 49, now - 47):
        with at_hour(monkeypatch, hour):
            counts = Counts(few)
            add(counts)
            counts.close()
    counts = Counts(few)
    add(counts)
    counts.flush()
    assert {key.hour for key in counts.since(0)} == {now - 47, now}
    assert counts.totals().total == 3


def test_a_hanging_database_blocks_two_threads_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []
    opener = database.open_database
    monkeypatch.setattr(database, "open_database", lambda *its, **more: attempts.append("one") or opener(*its, **more))
    monkeypatch.setattr("catdog.storage.contention.SILENT_SECONDS", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://catdog@127.0.0.1:{silent.getsockname()[1]}/catdog?connect_timeout=2"
        counts = Counts(load_settings(home=tmp_path, database_url=url))

        def ask(_: int) -> type[Exception]:
            with pytest.raises((OperationalError, DatabaseBusyError)) as caught:
                counts.engine()
            return caught.type

        with ThreadPoolExecutor(8) as pool:
            kinds = Counter(pool.map(ask, range(16)))
    assert kinds == {OperationalError: 1, DatabaseBusyError: 15}
    assert attempts == ["one"]
    assert counts.totals().total == 0


def test_counts_of_an_older_catdog_are_kept(settings: Settings) -> None:
    database.open_database(settings).dispose()
    engine = create_engine(settings.resolved_database_url)
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        connection.execute(text("INSERT INTO predictions VALUES (3, 'Dog', 'dog', 7)"))
    engine.dispose()
    counts = Counts(settings)
    add(counts, 3, "Dog", "dog")
    counts.flush()
    assert counts.totals().as_dict()["by_version"] == {"3": 8}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        assert connection.execute(text("SELECT * FROM predictions")).all() == [(3, "Dog", "dog", 8)]
