"""The process that retrains, apart from the worker: it may crash or be killed, and its memory goes back when it ends.

Both ends of one pipe stand here. The worker sends a line of JSON a step; the process answers with lines of progress and
one with the result, or with why there is none. It ends when its input does, that is, with the worker.
"""

import contextlib
import json
import logging
import os
import selectors
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any, Final

from catdog.errors import CatdogError, JobError
from catdog.logs import configure_log
from catdog.settings import Settings, load_settings

NICENESS: Final = 10
"""How far behind the web processes it stands in line for the cores."""

TICK_SECONDS: Final = 0.2
LOCKED_SECONDS: Final = 150.0
"""How long a step is tried again while the database is locked."""

_log = logging.getLogger(__name__)


class Trainer:
    """The worker's end: starts the process when it is needed, and speaks with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, unless it runs; it loads what it needs while nobody waits for it yet."""
        if self._process is not None and self._process.poll() is None:
            return
        environment = os.environ | {"CATDOG_HOME": str(self._settings.home)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "catdog.trainer"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the worker, which ends it. A session of its own would keep it off, too, but where Linux
            # groups processes by session (sched(7), autogroup) niceness means nothing between sessions.
            process_group=0,
        )

    def run(
        self, order: dict[str, Any], on_progress: Callable[[int, int], None], on_tick: Callable[[], None]
    ) -> dict[str, Any]:
        """Have one step done; `on_tick` is called several times a second and may raise to stop it.

        Raises:
            JobError: the step cannot be done, or the process was killed; says why.
        """
        self.start()
        assert self._process is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended: what is read below says how
                _send(self._pipe(self._process.stdin), order)
            return self._wait(self._process, on_progress, on_tick)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the process, if there is one, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    self._pipe(pipe).close()
        self._process = None

    def _wait(
        self, process: subprocess.Popen[bytes], on_progress: Callable[[int, int], None], on_tick: Callable[[], None]
    ) -> dict[str, Any]:
        output, pending = self._pipe(process.stdout), b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                on_tick()
                if not selector.select(TICK_SECONDS):
                    continue
                chunk = os.read(output.fileno(), 65536)
                if not chunk:
                    raise JobError(_explain_end(process.wait()))
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "result" in message:
                        result: dict[str, Any] = message["result"]
                        return result
                    if "failed" in message:
                        raise JobError(message["failed"])
                    on_progress(*message["progress"])

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def _explain_end(code: int) -> str:
    if code == -signal.SIGKILL:
        return "The training process was killed, perhaps because the machine ran out of memory."
    if code < 0:
        return f"The training process crashed ({signal.Signals(-code).name})."
    return f"The training process ended with exit code {code}; the worker's log says more."


def main() -> None:
    """Do the steps that are asked for on stdin, one after another."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints goes to the log and not among the messages
    orders = _read_orders()
    settings = load_settings()
    configure_log(settings)
    work = _prepare(settings)
    for order in orders:
        try:
            result = work(order, lambda done, total: _send(output, {"progress": [done, total]}))
            _send(output, {"result": result})
        except (CatdogError, OSError, MemoryError) as error:
            _send(output, {"failed": _say(error)})
        except Exception as error:  # a defect: told as what it is, and in full in the log
            _log.exception("Step %s failed", order.get("step"))
            _send(output, {"failed": f"Step {order.get('step')} failed: {type(error).__name__}: {error}"})


def _prepare(settings: Settings) -> Callable[[dict[str, Any], Callable[[int, int], None]], dict[str, Any]]:
    """Import and open what every step needs; the locks see to it that one process trains in a home."""
    from filelock import FileLock
    from sqlalchemy.exc import OperationalError

    from catdog.database import open_database
    from catdog.retraining import Retraining
    from catdog.starter import ensure_champion

    settings.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.home / ".trainer.lock")
    lock.acquire()  # one whose worker was killed has a moment left to end
    ensure_champion(settings.models_dir)
    engine = open_database(settings)
    kept: dict[str, Retraining] = {}

    def work(order: dict[str, Any], on_progress: Callable[[int, int], None]) -> dict[str, Any]:
        job_id = str(order["job"])
        if job_id not in kept:  # features that were read for one step serve the next
            kept.clear()
            kept[job_id] = Retraining(job_id, settings, engine, order.get("promote"))
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return kept[job_id].run(str(order["step"]), on_progress)
            except OperationalError as error:  # another process holds the database; a step may be repeated
                is_full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                if is_full or time.monotonic() > until:
                    raise JobError(f"The database cannot be used: {error.orig}.") from error
                time.sleep(1)

    work.lock = lock  # type: ignore[attr-defined]  # kept until the process ends
    return work


def _read_orders() -> Any:
    """Yield what is asked for; ends the process as soon as the other end is gone, whatever it is doing."""
    import queue

    orders: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            orders.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield orders.get()


def _say(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "There is not enough memory to train."
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."
    return str(error)


def _send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


if __name__ == "__main__":
    main()
