"""Ctrl-C while a job is being queued."""

import pytest

from catdog.errors import JobCancelledError
from catdog.retraining.jobs.foreground import cancelled_by_ctrl_c
from catdog.retraining.jobs.table import Jobs
from catdog.settings import Settings
from catdog.storage.database import open_database

JOB = "6f1f5f3e-8b1e-4c55-9f5e-0d9a3c1f2b11"


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(open_database(settings))


def test_a_job_is_cancelled_from_the_moment_it_is_queued(jobs: Jobs) -> None:
    def queue() -> None:
        with cancelled_by_ctrl_c(jobs, JOB):
            jobs.create(job_id=JOB)
            raise KeyboardInterrupt

    with pytest.raises(JobCancelledError, match="was cancelled"):
        queue()
    assert jobs.get(JOB).state == "cancelled"


def test_a_stop_before_the_job_is_queued_is_reported(jobs: Jobs) -> None:
    with pytest.raises(JobCancelledError, match="before the job was queued"), cancelled_by_ctrl_c(jobs, JOB):
        raise KeyboardInterrupt
    assert jobs.latest() == []
