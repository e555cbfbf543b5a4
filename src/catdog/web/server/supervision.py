"""Runs the retraining worker as a child of gunicorn's first process, and restarts it if it dies."""

import logging
import os
import subprocess
import sys
import threading
import time
from typing import Final

from catdog.text import counted

LONGEST_PAUSE: Final = 60.0
STEADY_SECONDS: Final = 30.0
"""A worker that ran this long is restarted after a second; otherwise the pause doubles each time."""

START_SECONDS: Final = 1.5
"""Delay before the first start, so the server's processes get the cores first."""

STOP_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class Supervisor:
    """Keeps one worker running, from a thread of its own, so requests and signals never wait for it."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="catdog-worker", daemon=True)

    def start(self) -> None:
        """Start the worker, and keep it running."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker; its job continues when a worker runs again."""
        self._stopping.set()
        self._thread.join(timeout=STOP_SECONDS)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _watch(self) -> None:
        pause = 1.0
        self._stopping.wait(START_SECONDS)
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "catdog", "worker", "--parent", str(os.getpid())]
                )
                # gunicorn waits for any child of its own; `poll` works even if that was faster.
                while self._process.poll() is None:
                    if self._stopping.wait(0.5):
                        return
            except OSError as error:
                _log.error("The worker couldn't be started: %s", error)
            pause = 1.0 if time.monotonic() - started > STEADY_SECONDS else min(2 * pause, LONGEST_PAUSE)
            if not self._stopping.is_set():
                _log.warning("The worker ended and will be restarted in %s.", counted(round(pause), "second"))
            self._stopping.wait(pause)
