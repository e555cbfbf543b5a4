"""The training process: a child of the worker that may crash or be killed, and frees its memory when it exits.

This module has both ends of the pipe. The worker sends one line of JSON per step; the process answers with lines of
progress, then with the result or the reason of a failure. It exits when its input ends, so it ends with the worker.
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
from catdog.monitoring.logs import configure_log
from catdog.settings import Settings, load_settings

NICENESS: Final = 10
"""Priority of the process; web processes have 0."""

TICK_SECONDS: Final = 0.2
LOCKED_SECONDS: Final = 150.0
"""Seconds for which a step is retried while the database is locked."""

_log = logging.getLogger(__name__)


class Trainer:
    """The worker's end of the pipe: starts the process when needed, and sends it steps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process ID; None if no process runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process unless it is running; it then imports its libraries."""
        if self._process is not None and self._process.poll() is None:
            return
        environment = os.environ | {"CATDOG_HOME": str(self._settings.home)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "catdog.retraining.jobs.trainer"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the worker, which stops this process. Not a new session, as niceness has no effect
            # between sessions on Linux with autogroup (sched(7)).
            process_group=0,
        )

    def run(
        self, order: dict[str, Any], on_progress: Callable[[int, int], None], on_tick: Callable[[], None]
    ) -> dict[str, Any]:
        """Run one step and return its result.

        Args:
            order: job, step and options for `Retraining`.
            on_progress: called with (done, total) of the step.
            on_tick: called several times per second; may raise an exception to stop the step.

        Raises:
            JobError: the step failed, or the process was killed; says why.
        """
        self.start()
        assert self._process is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # the process has exited; reading below reports it
                _send(self._pipe(self._process.stdin), order)
            return self._wait(self._process, on_progress, on_tick)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the process if it runs, and wait until it has exited."""
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
                    raise JobError(_explain_exit(process.wait()))
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


def _explain_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "The training process was killed, perhaps because the machine ran out of memory."
    if code < 0:
        return f"The training process crashed ({signal.Signals(-code).name})."
    return f"The training process exited with code {code}; see the worker's log."


def main() -> None:
    """Run the steps that arrive on stdin, one after another."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print goes to the log, not between messages
    orders = _read_orders()
    settings = load_settings()
    configure_log(settings)
    work = _prepare(settings)
    for order in orders:
        try:
            result = work(order, lambda done, total: _send(output, {"progress": [done, total]}))
            _send(output, {"result": result})
        except (CatdogError, OSError, MemoryError) as error:
            _send(output, {"failed": _describe(error)})
        except Exception as error:  # a bug; the log has the traceback
            _log.exception("Step %s failed", order.get("step"))
            _send(output, {"failed": f"Step {order.get('step')} failed: {type(error).__name__}: {error}"})


def _prepare(settings: Settings) -> Callable[[dict[str, Any], Callable[[int, int], None]], dict[str, Any]]:
    """Load libraries and database, and take the lock that allows one training process per home folder."""
    from filelock import FileLock
    from sqlalchemy.exc import OperationalError

    from catdog.registry.starter import ensure_champion
    from catdog.retraining.steps import Retraining
    from catdog.storage.database import open_database

    settings.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.home / ".trainer.lock")
    lock.acquire()  # the process of a killed worker needs a moment to exit
    ensure_champion(settings.models_dir)
    engine = open_database(settings)
    kept: dict[str, Retraining] = {}

    def work(order: dict[str, Any], on_progress: Callable[[int, int], None]) -> dict[str, Any]:
        job_id = str(order["job"])
        if job_id not in kept:  # the next step reuses loaded features
            kept.clear()
            kept[job_id] = Retraining(job_id, settings, engine, order.get("promote"))
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return kept[job_id].run(str(order["step"]), on_progress)
            except OperationalError as error:  # locked by another process; steps can be repeated
                is_full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                if is_full or time.monotonic() > until:
                    raise JobError(f"Can't use the database: {error.orig}.") from error
                time.sleep(1)

    work.lock = lock  # type: ignore[attr-defined]  # held until the process exits
    return work


def _read_orders() -> Any:
    """Yield orders; exit the process as soon as the worker is gone, even during a step."""
    import queue

    orders: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            orders.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield orders.get()


def _describe(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "Not enough memory to train. Nothing was changed."
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}. Nothing was changed."
    return str(error)


def _send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


if __name__ == "__main__":
    main()
