"""The worker: takes jobs from the table and finishes them, even after being killed.

It loads no model and no TensorFlow; the training process runs the steps. Web processes never import this module.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy.exc import OperationalError

from catdog.errors import CatdogError, JobError
from catdog.monitoring.counts import Counts
from catdog.monitoring.tracing import open_tracing, trace_job
from catdog.retraining.jobs.lock import WorkerLock, only_worker
from catdog.retraining.jobs.table import Job, Jobs, State
from catdog.retraining.jobs.trainer import Trainer
from catdog.retraining.stages import STAGES, STEPS, Stage, stages_left
from catdog.settings import Settings
from catdog.storage.contention import why_no_database
from catdog.storage.database import open_database

MAX_INTERRUPTIONS: Final = 3
"""Maximum times a job is resumed after its worker was killed, which the job itself may cause."""

POLL_SECONDS: Final = 1.0
WARM_SECONDS: Final = 300.0
"""Seconds for which an idle training process waits for a job after an upload."""

LEFTOVER_SECONDS: Final = 24 * 3600.0
LOCKED_SECONDS: Final = 180.0
"""Seconds for which a write to a locked database is retried."""

REPORT_SECONDS: Final = 0.5
LOST: Final = "Another worker has taken over the database's lock and the job; "

_FINISH: Final = "finish"
_STAGES: Final = {stage.name: stage for stage in STAGES}
_FOLLOWING: Final = dict(pairwise(STEPS))
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Cancelled(Exception):  # noqa: N818  # not an error
    pass


class Worker:
    """Runs the jobs of one home folder, one at a time. Use it inside `only_worker`."""

    def __init__(
        self,
        settings: Settings,
        lock: WorkerLock,
        parent: int | None = None,
        on_loss: Callable[[], None] = lambda: _log.error(LOST + "this worker exits."),
    ) -> None:
        """Open the database and remove the leftovers of a killed worker.

        Args:
            settings: folders and database.
            lock: from `only_worker`; the worker exits when another worker takes it.
            parent: process ID; the worker exits when its parent is another process. None to ignore the parent.
            on_loss: called before the worker exits after losing the lock.
        """
        self._settings = settings
        self._lock = lock
        self._parent = parent
        self._on_loss = on_loss
        self._stopping = self._cancelling = False
        self._engine = open_database(settings)
        self._jobs = Jobs(self._engine)
        self._trainer = Trainer(settings)
        self._tracing = open_tracing()
        self._uploads_seen = self._upload_times()
        self._warm_until: float | None = None
        self._remove_leftovers()

    def stop(self, *_: object) -> None:
        """Ask the worker to exit; the next worker resumes its job."""
        self._stopping = True

    def cancel(self, *_: object) -> None:
        """Cancel the current job. Safe in a signal handler, as it doesn't use the database."""
        self._cancelling = True

    def run(self) -> None:
        """Run jobs until asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        while not self._must_exit():
            self._exit_if_asked()
            try:
                if not self.run_once():
                    self._keep_trainer_warm()
                    time.sleep(POLL_SECONDS)
            except Exception as error:
                if (why := why_no_database(error)) is None:
                    raise
                _log.warning("Retrying the database in a second. %s", why)
                time.sleep(POLL_SECONDS)
        self.close()

    def close(self) -> None:
        """End the training process and send the last spans."""
        self._trainer.stop()
        if self._tracing is not None:
            self._tracing.close()

    def run_once(self) -> bool:
        """Run the queued or interrupted job; return False if there is none."""
        job = self._jobs.under_way()
        if job is None:
            return False
        job_id = job.id
        job = self._retry(lambda: self._jobs.start(job_id))
        if job.attempts > MAX_INTERRUPTIONS + 1:
            reason = f"Its worker was interrupted more than {MAX_INTERRUPTIONS} times. Start the job again."
            self._finish(job_id, "failed", reason)
        else:
            self._run_steps(job)
        # Uploads that arrived during the job don't need a warm training process.
        self._uploads_seen, self._warm_until = self._upload_times(), None
        return True

    def _run_steps(self, job: Job) -> None:
        """Run the remaining steps, until one of them ends the job."""
        is_done = job.result is not None  # recorded with the last step
        left = () if is_done else stages_left(job.stage, self._settings.jobs_dir / job.id)
        with trace_job(self._tracing, job.id, job.arguments, self._step) as step:
            for name in (*(stage.name for stage in left), _FINISH):
                if "end" in step(job.id, name):
                    return

    def _step(self, job_id: str, name: str) -> dict[str, Any]:
        """Run one step; the result has a key `end` if the job has ended."""
        job = self._retry(lambda: self._jobs.get(job_id))
        if not job.in_progress:  # cancelled before it began
            return {"end": job.state}
        if name == _FINISH:
            made = job.result or {}
            reason = f"Version {made['version']} is {made['decision']}: {made['reason']}"
            return self._finish(job_id, "succeeded", reason)
        try:
            found = self._train(job, _STAGES[name])
        except _Cancelled:
            return self._finish(job_id, "cancelled", "Cancelled; nothing was changed.")
        except (JobError, OSError) as error:
            return self._finish(job_id, "failed", f"{_STAGES[name].message} {error}")
        following = _FOLLOWING.get(name)
        result = None if following else found
        self._retry(lambda: self._jobs.complete_step(job_id, name, following or name, result))
        return {}

    def _train(self, job: Job, stage: Stage) -> dict[str, Any]:
        """Run a step in the training process; report its progress, and stop it if the job is cancelled."""
        reported = 0.0

        def report(done: int, total: int) -> None:
            nonlocal reported
            if time.monotonic() - reported > REPORT_SECONDS or done == total:
                reported = time.monotonic() if done else 0.0  # a fast step still reports its first epoch
                percent = stage.progress(done, total)
                message = stage.describe(done, total)
                self._jobs.report(job.id, stage.name, percent, message, job.seconds_left(percent))

        def check_cancelled() -> None:
            self._exit_if_asked()
            if self._cancelling or self._jobs.get(job.id).cancel_requested:
                raise _Cancelled

        on_progress, on_tick = _skip_if_locked(report), _skip_if_locked(check_cancelled)
        on_tick()
        on_progress(0, 1)
        order = {"job": job.id, "step": stage.name, "promote": job.arguments.get("promote")}
        return self._trainer.run(order, on_progress, on_tick)

    def _finish(self, job_id: str, state: State, message: str) -> dict[str, Any]:
        """Remove a job's files and end it."""
        if state != "succeeded":
            self._trainer.stop()
        remove_files(self._settings, job_id)
        if self._retry(lambda: self._jobs.finish(job_id, state, message)):
            counts = Counts(self._settings)
            counts.add_retraining(state)
            counts.close()
        return {"end": state}

    def _retry(self, function: Callable[[], T]) -> T:
        """Call a function, retrying while the database is unavailable."""
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return function()
            except OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
                self._exit_if_asked()

    def _exit_if_asked(self) -> None:
        """Exit at once if asked to, or if the lock is lost; the next worker continues the job."""
        if self._must_exit():
            if self._tracing is not None:
                self._tracing.close()
            os._exit(0)  # the training process exits when its input ends
        if not self._lock.is_mine():
            self._on_loss()
            # Not an exception, which would fail the job that the other worker continues.
            os._exit(JobError.exit_code)  # the supervisor restarts this worker, which then waits for the lock

    def _must_exit(self) -> bool:
        return self._stopping or (self._parent is not None and os.getppid() != self._parent)

    def _remove_leftovers(self) -> None:
        from catdog.registry.store import remove_leftovers

        job = self._jobs.under_way()
        kept = job.id if job else ""
        for folder in self._settings.jobs_dir.glob("*"):
            if folder.name != kept:
                remove_files(self._settings, folder.name)
        remove_leftovers(self._settings.models_dir, LEFTOVER_SECONDS)
        if self._settings.retrain_dir.is_dir():
            from catdog.retraining.uploads.uploads import Uploads

            try:
                Uploads.open(self._settings, self._engine)
            except CatdogError as error:  # without a champion there are no uploads
                _log.warning("Couldn't repair the uploads: %s", error)

    def _keep_trainer_warm(self) -> None:
        """Start the training process when uploads arrive; stop it if no job follows."""
        times, now = self._upload_times(), time.monotonic()
        if times != self._uploads_seen:
            self._uploads_seen, self._warm_until = times, now + WARM_SECONDS
            self._trainer.start()
        elif self._warm_until is None:
            self._trainer.stop()  # free its memory after a job
        elif now > self._warm_until:
            self._warm_until = None

    def _upload_times(self) -> tuple[int, ...]:
        """Return the modification times of the upload folders, which change with each upload."""
        folder = self._settings.retrain_dir
        try:
            return tuple(path.stat().st_mtime_ns for path in (folder, *sorted(folder.iterdir())) if path.is_dir())
        except OSError:
            return ()


def work(settings: Settings, parent: int | None = None) -> None:
    """Run the worker of a home folder until the process is asked to exit."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with only_worker(settings) as lock:
        Worker(settings, lock, parent).run()


def remove_files(settings: Settings, job_id: str) -> None:
    """Remove a job's folder, and the partial version left by a killed worker."""
    folders: list[Path] = [settings.jobs_dir / job_id, *settings.models_dir.glob(f".new-{job_id}-*")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _skip_if_locked(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a function that may be skipped while the database is locked."""

    def call(*arguments: Any) -> None:
        try:
            function(*arguments)
        except OperationalError as error:
            _log.warning("The table of jobs is unavailable: %s", error.orig)

    return call
