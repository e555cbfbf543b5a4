from concurrent.futures import ThreadPoolExecutor

import pytest

from catdog import database
from catdog.monitoring import PredictionCounts
from catdog.settings import Settings, load_settings


def test_counts_are_right_over_processes_and_restarts(settings: Settings) -> None:
    for _ in range(2):
        one, other = PredictionCounts(settings), PredictionCounts(settings)
        one.add(1, "Cat", "cat")
        other.add(1, "Cat", "neither")
        other.add(2, "Dog", "dog")
        one.close()
        other.close()
    totals = PredictionCounts(settings).totals().as_dict()
    assert totals == {
        "total": 6,
        "by_class": {"Cat": 4, "Dog": 2},
        "by_verdict": {"cat": 2, "dog": 2, "neither": 2},
        "by_version": {"1": 4, "2": 2},
    }


def test_what_is_not_flushed_counts_here_already(settings: Settings) -> None:
    counts = PredictionCounts(settings)
    counts.add(1, "Cat", "cat")
    assert counts.totals().total == 1
    assert not database.database_exists(settings)  # asking writes nothing
    counts.flush()
    counts.flush()
    counts.add(1, "Cat", "cat")
    assert counts.totals().total == 2


def test_many_threads_lose_nothing(settings: Settings) -> None:
    counts = [PredictionCounts(settings) for _ in range(4)]

    def work(own: PredictionCounts) -> None:
        for _ in range(50):
            own.add(1, "Cat", "cat")
            own.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, counts))
    assert counts[0].totals().total == 200


def test_a_database_that_is_out_of_reach_loses_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counts = PredictionCounts(settings)
    with monkeypatch.context() as broken:
        broken.setattr(database, "open_database", lambda _: 1 / 0)
        for _ in range(3):
            counts.add(1, "Cat", "cat")
            counts.flush()
        assert counts.totals().total == 3
    assert len(caplog.records) == 1
    counts.close()
    assert PredictionCounts(load_settings(home=settings.home)).totals().total == 3
