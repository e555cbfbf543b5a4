import random
from collections import Counter

import pytest

from catdog.monitoring.samples import HOURS_KEPT, SAMPLES_PER_HOUR, Sample, Samples, read, write
from catdog.settings import Settings
from catdog.storage.database import open_database

pytestmark = pytest.mark.databases


def offer(samples: Samples, hour: int, number: int) -> None:
    if (draw := samples.draw(hour)) is not None:
        samples.add(Sample(hour, draw, 1, number % 2, 0.9, number / 10_000, b""))


def test_the_sample_is_bounded_and_fair_over_processes(settings: Settings) -> None:
    random.seed(3)
    engine = open_database(settings)
    processes = [Samples(), Samples()]
    for number in range(10_000):
        offer(processes[number % 10 == 0], 100, number)  # one has nine times as much to do
        if number % 500 == 499:
            for process in processes:
                with engine.begin() as connection:
                    write(connection, process.take() or [Sample(100, 2**62 + number, 1, 0, 0.9, 0.0, b"")])
    with engine.connect() as connection:
        kept = read(connection, 1, 100)
    assert len(kept) == SAMPLES_PER_HOUR
    thirds = Counter(int(sample.novelty * 3) for sample in kept)
    assert all(40 < thirds[i] < 95 for i in range(3)), thirds
    assert 5 < sum(round(sample.novelty * 10_000) % 10 == 0 for sample in kept) < 40


def test_old_hours_go(settings: Settings) -> None:
    engine, samples = open_database(settings), Samples()
    for hour in (100, 101, 100 + HOURS_KEPT):
        offer(samples, hour, 0)
        with engine.begin() as connection:
            write(connection, samples.take())
    with engine.connect() as connection:
        assert [sample.hour for sample in read(connection, 1, 0)] == [101, 100 + HOURS_KEPT]
        assert read(connection, 2, 0) == []


def test_pending_samples_are_bounded() -> None:
    samples = Samples()
    for hour in (1, 2, 3):
        for number in range(SAMPLES_PER_HOUR):
            offer(samples, hour, number)
    waiting = samples.take()
    assert len(waiting) == SAMPLES_PER_HOUR
    assert {sample.hour for sample in waiting} == {3}
    assert samples.take() == []
