"""Commands for retraining and jobs."""

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catdog.cli import console
from catdog.cli.console import MANY, JsonOption, out, print_json, print_json_line, say
from catdog.errors import JobError
from catdog.settings import load_settings
from catdog.text import counted

if TYPE_CHECKING:
    from catdog.retraining.jobs.table import Job, Jobs

job_commands = typer.Typer(help="List, show and cancel jobs.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(help="Job ID.", metavar="ID")]


def worker(
    parent: Annotated[
        int | None, typer.Option(hidden=True, help="Exit when this process is no longer the parent.")
    ] = None,
) -> None:
    """Run the jobs of this home folder. `catdog serve` starts a worker unless CATDOG_WORKER is external."""
    from catdog.monitoring.logs import configure_log
    from catdog.retraining.jobs.worker import work

    settings = load_settings()
    configure_log(settings, force=settings.log == "json")  # JSON lines must not be wrapped or coloured
    work(settings, parent)


def retrain(
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it ends; without a worker, run it in this process.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Promote the version if it passes the gate, or never.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Retrain the champion on new images and promote the result if it passes the gate."""
    from catdog.registry.starter import ensure_champion
    from catdog.retraining.dataset import require_new
    from catdog.retraining.jobs.table import Jobs
    from catdog.retraining.uploads.uploads import Uploads
    from catdog.storage.database import open_database

    settings = load_settings()
    ensure_champion(settings.models_dir)
    engine = open_database(settings)
    new = require_new(Uploads(settings, engine))
    arguments = {"promote": None if promote else False}
    if wait:
        from catdog.retraining.jobs.foreground import cancelled_by_ctrl_c, finish_here

        jobs, job_id = Jobs(engine), str(uuid.uuid4())
        with cancelled_by_ctrl_c(jobs, job_id):  # from the moment it may be in the table
            jobs.create(arguments=arguments, requested_by="command line", job_id=job_id)
            job = finish_here(settings, job_id, (lambda why: print_json_line({"error": why})) if as_json else None)
    else:
        job = Jobs(engine).create(arguments=arguments, requested_by="command line")
    if as_json:
        print_json(job.as_dict())
    elif wait:
        _show(job)
    else:
        say(f"Job {job.id} is queued, with {counted(new, 'new image')}: catdog jobs show {job.id}")
    if wait and job.state != "succeeded":
        raise typer.Exit(JobError.exit_code)


@job_commands.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=MANY, help="Maximum number of jobs.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    found = _jobs().latest(limit=limit)
    if as_json:
        print_json({"jobs": [job.as_dict() for job in found]})
        return
    if not found:
        say("No jobs yet.")
        return
    rows = [(job.id, job.state, f"{job.progress:.0f} %", job.created_at, job.message) for job in found]
    out.print(console.table("Jobs", ("Job", "State", "Done", "Queued", "Message"), rows))


@job_commands.command()
def show(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job's progress, log and result."""
    job = _jobs().get(job_id)
    if as_json:
        print_json(job.as_dict())
    else:
        _show(job)


@job_commands.command()
def cancel(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Cancel a queued or running job."""
    job = _jobs().cancel(job_id)
    if as_json:
        print_json(job.as_dict())
    else:
        say(f"Job {job.id}: {'is being cancelled' if job.in_progress else job.state}")


def _jobs() -> "Jobs":
    from catdog.retraining.jobs.table import Jobs
    from catdog.storage.database import open_database

    return Jobs(open_database(load_settings()))


def _show(job: "Job") -> None:
    def line(text: Any) -> None:
        say(str(text))

    line(f"Job {job.id}: {job.state}, {job.progress:.0f} %, {job.message}")
    for entry in job.log:
        line(entry)
    if job.result:
        line(f"Version {job.result['version']}, {job.result['decision']}: {job.result['reason']}")
        for name, metrics in job.result.get("metrics", {}).items():
            line(f"{name}: {console.percent(metrics['accuracy'])} correct on {counted(metrics['n'], 'test image')}")
