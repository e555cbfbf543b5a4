"""A job in the foreground: done in this process, or waited for where a worker does it; Ctrl-C cancels it."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from catdog.database import open_database
from catdog.errors import ConflictError, JobCancelledError, JobError
from catdog.jobs import Job, Jobs
from catdog.settings import Settings
from catdog.worker import LOST, Worker
from catdog.worker_lock import WorkerLock, only_worker

WAIT_SECONDS: Final = 0.5
CANCEL_SECONDS: Final = 5.0
"""How long the end of a cancelled job is waited for; it takes two at most."""


def finish_here(settings: Settings, job_id: str, tell: Callable[[str], None] | None = None) -> Job:
    """Do a job in this process, where no worker runs; wait for the worker where one does.

    Where another worker takes the job over while it is done here, which may be after the network failed, the process
    says so and ends with the exit code of a `JobError`.

    Args:
        settings: where everything lies.
        job_id: names the job.
        tell: says that last sentence; on standard error where not given.

    Raises:
        JobCancelledError: Ctrl-C ended it, since who waits for it here does not want it any more.
    """
    jobs = Jobs(open_database(settings))
    on_loss = partial(tell or _tell, f"{LOST}follow it with: catdog jobs show {job_id}")
    try:
        while (job := jobs.get(job_id)).in_progress:
            try:
                with only_worker(settings, timeout=0) as lock:
                    _do_here(settings, lock, on_loss)
            except JobError:  # a worker is there
                time.sleep(WAIT_SECONDS)
    except KeyboardInterrupt:
        raise JobCancelledError(_cancel(jobs, job_id)) from None
    return job


def _tell(sentence: str) -> None:
    sys.stderr.write(f"Error: {sentence}\n")
    sys.stderr.flush()


def _do_here(settings: Settings, lock: WorkerLock, on_loss: Callable[[], None]) -> None:
    worker, interrupted = Worker(settings, lock, on_loss=on_loss), False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        worker.cancel()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as in the background of a script, which Ctrl-C is not for
        signal.signal(signal.SIGINT, interrupt)
    try:
        worker.run_once()
    finally:
        worker.close()
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


def _cancel(jobs: Jobs, job_id: str) -> str:
    """Cancel a job that may have ended, and say what became of it."""
    with suppress(ConflictError):
        jobs.cancel(job_id)
    until = time.monotonic() + CANCEL_SECONDS
    while (job := jobs.get(job_id)).in_progress and time.monotonic() < until:
        time.sleep(0.1)
    if job.in_progress:
        return f"Job {job_id} is to be cancelled, and its worker has not answered yet."
    if job.state == "cancelled":
        return f"Job {job_id} was cancelled; nothing was changed."
    return f"Job {job_id} had ended before it could be cancelled: it {job.state}."
