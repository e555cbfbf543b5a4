import itertools
import threading

import pytest

from catdog.parallel import bounded_map


def test_results_come_in_the_order_of_the_items() -> None:
    slow = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            slow.wait(10)  # the first item ends last
        if item == 5:
            slow.set()
        return item * item

    assert list(bounded_map(work, range(40), 3)) == [i * i for i in range(40)]


def test_items_are_worked_on_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=30)  # breaks where fewer than three threads ever meet
    assert sorted(bounded_map(lambda _: meeting.wait(), range(3), 3)) == [0, 1, 2]


def test_no_items_give_no_results() -> None:
    assert list(bounded_map(str, [], 2)) == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_endless_items_are_taken_only_as_far_as_they_are_under_way(threads: int) -> None:
    taken = 0

    def items() -> "itertools.count[int]":
        nonlocal taken
        for item in itertools.count():
            taken = item + 1
            yield item

    results = bounded_map(lambda item: item, items(), threads)
    for expected in range(100):
        assert next(results) == expected
        assert taken <= expected + 16 * threads
    results.close()


def test_an_error_reaches_the_reader_in_its_place() -> None:
    results = bounded_map(lambda item: 6 // item, [1, 2, 0, 3], 2)
    assert (next(results), next(results)) == (6, 3)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_drops_what_has_not_begun_and_ends_the_threads() -> None:
    before = threading.active_count()
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item:
            gate.wait(10)
        return item

    results = bounded_map(work, range(1000), 1)
    assert next(results) == 0
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert len(begun) <= 3
    gate.set()
    assert threading.active_count() <= before + 1  # the timer may not have ended yet
