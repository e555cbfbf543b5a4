"""Runs a job in the foreground, or waits for a running worker to do it; Ctrl-C cancels the job."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from catdog.errors import ConflictError, JobCancelledError, JobError, JobNotFoundError
from catdog.retraining.jobs.lock import WorkerLock, only_worker
from catdog.retraining.jobs.table import Job, Jobs
from catdog.retraining.jobs.worker import LOST, Worker
from catdog.settings import Settings
from catdog.storage.database import open_database

WAIT_SECONDS: Final = 0.5
CANCEL_SECONDS: Final = 5.0
"""How long to wait for a cancelled job to end; it takes two seconds at most."""


def finish_here(settings: Settings, job_id: str, on_takeover: Callable[[str], None] | None = None) -> Job:
    """Run a job in this process, or wait for it if a worker is running.

    After a network failure another worker may take over the job. Then the process reports that and exits with the exit
    code of a `JobError`.

    Args:
        settings: folders and database.
        job_id: ID of the job.
        on_takeover: reports that another worker took over; by default on standard error.

    Raises:
        JobCancelledError: the job was cancelled with Ctrl-C.
    """
    jobs = Jobs(open_database(settings))
    on_loss = partial(on_takeover or _report_error, f"{LOST}follow it with: catdog jobs show {job_id}")
    with cancelled_by_ctrl_c(jobs, job_id):
        while (job := jobs.get(job_id)).in_progress:
            try:
                with only_worker(settings, timeout=0) as lock:
                    _run_worker(settings, lock, on_loss)
            except JobError:  # a worker is running
                time.sleep(WAIT_SECONDS)
    return job


@contextmanager
def cancelled_by_ctrl_c(jobs: Jobs, job_id: str) -> Iterator[None]:
    """Cancel a job, which need not be queued yet, on Ctrl-C, and raise a `JobCancelledError` with the outcome."""
    try:
        yield
    except KeyboardInterrupt:
        raise JobCancelledError(_cancel(jobs, job_id)) from None


def _report_error(sentence: str) -> None:
    sys.stderr.write(f"Error: {sentence}\n")
    sys.stderr.flush()


def _run_worker(settings: Settings, lock: WorkerLock, on_loss: Callable[[], None]) -> None:
    worker, interrupted = Worker(settings, lock, on_loss=on_loss), False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        worker.cancel()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # ignored in the background of a script, which Ctrl-C doesn't address
        signal.signal(signal.SIGINT, interrupt)
    try:
        worker.run_once()
    finally:
        worker.close()
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


def _cancel(jobs: Jobs, job_id: str) -> str:
    """Cancel a job that may have ended or not been queued, and describe the outcome."""
    try:
        jobs.cancel(job_id)
    except JobNotFoundError:
        return "Stopped before the job was queued; nothing was changed."
    except ConflictError:
        pass  # it has ended
    until = time.monotonic() + CANCEL_SECONDS
    while (job := jobs.get(job_id)).in_progress and time.monotonic() < until:
        time.sleep(0.1)
    if job.in_progress:
        return f"Job {job_id} will be cancelled; its worker has not responded yet."
    if job.state == "cancelled":
        return f"Job {job_id} was cancelled; nothing was changed."
    return f"Job {job_id} ended before it could be cancelled: it {job.state}."
