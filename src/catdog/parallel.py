"""An ordered, bounded map over threads, used by importing, embedding and scoring.

Decoding (Pillow) and inference (OpenVINO) release the interpreter lock, so threads keep all cores busy.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def bounded_map(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed by `threads` threads.

    At most 16 items per thread are in flight, so memory is bounded and `items` may be endless. Closing the iterator, or
    an exception, drops items that haven't started.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 16 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
