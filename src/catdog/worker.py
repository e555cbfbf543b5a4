"""The worker: takes jobs from the table and sees each to its end, whatever is killed on the way.

It waits without doing anything that costs: no model, no TensorFlow, no DBOS is loaded until pictures come in or a job
is there. Web processes never import this.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy.exc import OperationalError

from catdog import durable
from catdog.database import open_database
from catdog.errors import CatdogError, JobError
from catdog.jobs import Job, Jobs
from catdog.monitoring import Counts
from catdog.patience import why_no_database
from catdog.settings import Settings
from catdog.telemetry import open_tracing, trace_job
from catdog.trainer import Trainer
from catdog.worker_lock import WorkerLock, only_worker

POLL_SECONDS: Final = 1.0
WARM_SECONDS: Final = 300.0
"""How long a training process waits for a job after pictures came in."""

LEFTOVER_SECONDS: Final = 24 * 3600.0
LOCKED_SECONDS: Final = 180.0
"""How long writing to a locked database is tried."""

LOST: Final = "Another worker has taken the database's lock, and goes on with the job; "

STAGES: Final = {"collect": 40, "embed": 45, "fit": 75, "evaluate": 85, "save": 95, "promote": 100}
"""The steps of a retraining, and how many percent of it are done when each is."""

_FINISH: Final = "finish"
_MESSAGES: Final = {
    "collect": "Looking at what came in: features, labels, copies.",
    "embed": "Computing features of the other pictures.",
    "fit": "Fitting the head.",
    "evaluate": "Comparing with the champion.",
    "save": "Saving the version.",
    "promote": "Deciding.",
}
_COUNTED: Final = {"collect": "Picture", "embed": "Picture", "fit": "Epoch"}
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Cancelled(Exception):  # noqa: N818  # not an error of anybody's
    pass


class Worker:
    """Does the jobs of one home, one at a time. Use it inside `only_worker`."""

    def __init__(
        self,
        settings: Settings,
        lock: WorkerLock,
        parent: int | None = None,
        on_loss: Callable[[], None] = lambda: _log.error(LOST + "this one ends."),
    ) -> None:
        """Open the database and clear away what a killed worker left.

        Args:
            settings: where everything lies.
            lock: as `only_worker` gives it; the worker ends when another one has taken it.
            parent: process id; the worker ends when that is no longer its parent. None: it is on its own.
            on_loss: called before it ends because another one has taken the lock.
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
        self._seen = self._arrivals()
        self._cold_at: float | None = None
        self._clear()

    def stop(self, *_: object) -> None:
        """Ask for the end; a job under way is left to the next worker."""
        self._stopping = True

    def cancel(self, *_: object) -> None:
        """Ask for the end of the job under way. For a signal, which may come while the table of jobs is in use."""
        self._cancelling = True

    def run(self) -> None:
        """Do jobs as they come, until asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        while not self._must_end():
            self._look_up()
            try:
                if not self.run_once():
                    self._keep_warm()
                    time.sleep(POLL_SECONDS)
            except Exception as error:
                if (why := why_no_database(error)) is None:
                    raise
                _log.warning("The database is tried again in a second. %s", why)
                time.sleep(POLL_SECONDS)
        self.close()

    def close(self) -> None:
        """End the training process, and send the last spans."""
        self._trainer.stop()
        if self._tracing is not None:
            self._tracing.close()

    def run_once(self) -> bool:
        """Do the job that is under way, if there is one; tells whether there was."""
        job = self._jobs.under_way()
        if job is None:
            return False
        job_id = job.id
        _patiently(lambda: self._jobs.start(job_id))
        self._trainer.start()  # it gets ready while the record is opened
        with trace_job(self._tracing, job_id, job.arguments, self._step) as step:
            try:
                durable.run_durably(self._settings, job_id, step, (*STAGES, _FINISH), self._look_up)
            except durable.Interrupted as error:
                self._end(job_id, "failed", str(error))
        self._end(job_id, "failed", "It ended without a result.")  # unless it has one
        self._seen, self._cold_at = self._arrivals(), None  # the training process has had its use
        return True

    def _step(self, job_id: str, name: str) -> dict[str, Any]:
        """Do a step of the workflow; what is given is recorded and not done again."""
        job = _patiently(lambda: self._jobs.get(job_id))
        if not job.in_progress:  # it ended, and its worker was killed before the workflow could
            return {"end": job.state}
        if name == _FINISH:
            result = _patiently(lambda: self._jobs.get(job_id)).result or {}
            self._end(job_id, "succeeded", f"Version {result['version']} is {result['decision']}: {result['reason']}")
            return {"end": "succeeded"}
        try:
            result = self._train(job, name)
        except _Cancelled:
            self._end(job_id, "cancelled", "Cancelled; nothing was changed.")
            return {"end": "cancelled"}
        except JobError as error:
            self._end(job_id, "failed", f"{_MESSAGES[name]} {error}")
            return {"end": "failed"}
        _patiently(lambda: self._jobs.log(job_id, f"{name} done"))
        if name == "promote":
            _patiently(lambda: self._jobs.keep_result(job_id, result))
        return {"done": name}

    def _train(self, job: Job, name: str) -> dict[str, Any]:
        """Have the training process do a step, telling how far it is and looking whether it is to be cancelled."""
        names = list(STAGES)
        first = STAGES[names[names.index(name) - 1]] if name != names[0] else 0
        told = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told > 0.5 or done == total:
                told = time.monotonic() if done else 0.0  # a step that is quick tells of its first epoch all the same
                share = first + (STAGES[name] - first) * done / max(total, 1)
                self._jobs.report(job.id, name, share, _message(name, done, total), _remaining(job, share))

        def look() -> None:
            self._look_up()
            if self._cancelling or self._jobs.get(job.id).cancel_requested:
                raise _Cancelled

        on_progress, on_tick = _tolerant(tell), _tolerant(look)
        on_tick()
        on_progress(0, 1)
        order = {"job": job.id, "step": name, "promote": job.arguments.get("promote")}
        return self._trainer.run(order, on_progress, on_tick)

    def _end(self, job_id: str, state: Any, message: str) -> None:
        """End a job, and remove all that it kept meanwhile; whoever sees its end sees nothing of it left behind."""
        if state != "succeeded":
            self._trainer.stop()
        remove_traces(self._settings, job_id)
        if _patiently(lambda: self._jobs.finish(job_id, state, message)):
            counts = Counts(self._settings)
            counts.add_retraining(state)
            counts.close()

    def _look_up(self) -> None:
        """Leave at once where that is asked for: no step is recorded, and the next worker goes on with it."""
        if self._must_end():
            if self._tracing is not None:
                self._tracing.close()
            os._exit(0)  # the training process ends by itself, when it sees its input end
        if not self._lock.is_mine():
            self._on_loss()
            # No error is raised: it would be recorded as the step's, or fail the job that the other one goes on with.
            os._exit(JobError.exit_code)  # whoever started it starts it again, to wait its turn

    def _must_end(self) -> bool:
        return self._stopping or (self._parent is not None and os.getppid() != self._parent)

    def _clear(self) -> None:
        from catdog.store import remove_leftovers

        job = self._jobs.under_way()
        kept = job.id if job else ""
        for folder in self._settings.jobs_dir.glob("*"):
            if folder.name != kept:
                remove_traces(self._settings, folder.name)
        remove_leftovers(self._settings.models_dir, LEFTOVER_SECONDS)
        if self._settings.retrain_dir.is_dir():
            from catdog.collection import Uploads

            try:
                Uploads.open(self._settings, self._engine)
            except CatdogError as error:  # without a champion there are no uploads
                _log.warning("The uploads were not repaired: %s", error)

    def _keep_warm(self) -> None:
        """Start a training process when pictures come in, before the job that they are meant for; end one in vain."""
        arrivals, now = self._arrivals(), time.monotonic()
        if arrivals != self._seen:
            self._seen, self._cold_at = arrivals, now + WARM_SECONDS
            self._trainer.start()
            durable.preload()
        elif self._cold_at is None:
            self._trainer.stop()  # after a job its memory goes back
        elif now > self._cold_at:
            self._cold_at = None

    def _arrivals(self) -> tuple[int, ...]:
        """Tell one state of `retrain_data/` from another: a folder's time changes with what is put into it."""
        folder = self._settings.retrain_dir
        try:
            return tuple(path.stat().st_mtime_ns for path in (folder, *sorted(folder.iterdir())) if path.is_dir())
        except OSError:
            return ()


def work(settings: Settings, parent: int | None = None) -> None:
    """Be the worker of a home until the process is asked to end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with only_worker(settings) as lock:
        Worker(settings, lock, parent).run()


def remove_traces(settings: Settings, job_id: str) -> None:
    """Remove what a job kept while it ran, and what a kill left of the version that it was writing."""
    shutil.rmtree(settings.jobs_dir / job_id, ignore_errors=True)
    for folder in settings.models_dir.glob(f".new-{job_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _tolerant(function: Callable[..., None]) -> Callable[..., None]:
    """Let a look at the table, or a word about progress, fail while the database is locked."""

    def call(*arguments: Any) -> None:
        try:
            function(*arguments)
        except OperationalError as error:
            _log.warning("The table of jobs cannot be used now: %s", error.orig)

    return call


def _patiently(function: Callable[[], T]) -> T:
    """Try again while the database is locked."""
    until = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            return function()
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _message(name: str, done: int, total: int) -> str:
    """Say what a step does, and where it counts something, how far it is."""
    if name not in _COUNTED or total <= 1:
        return _MESSAGES[name]
    return f"{_MESSAGES[name]} {_COUNTED[name]} {done:,} of {total:,}."


def _remaining(job: Job, percent: float) -> float | None:
    """Estimate the seconds to go from those that went; None at the start, where that would be a guess."""
    if job.started_at is None or percent < 5:
        return None
    spent = max(0.0, time.time() - datetime.fromisoformat(job.started_at).timestamp())  # the clock may be set back
    return round(spent * (100 - percent) / percent, 1)
