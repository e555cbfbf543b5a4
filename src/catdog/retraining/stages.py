"""The steps of a retraining, in order: how far each takes the job, and what is shown while it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Stage:
    """One step of a retraining.

    Attributes:
        name: the step's name in `Retraining.run` and in the table of jobs.
        start: progress of the job when the step begins, in percent.
        end: progress of the job when the step is done, in percent.
        message: shown while the step runs.
        unit: what the step counts; None if it shows no count.
    """

    name: str
    start: int
    end: int
    message: str
    unit: str | None = None

    def progress(self, done: int, total: int) -> float:
        """Return the progress of the job in percent after `done` of `total` units."""
        return self.start + (self.end - self.start) * done / max(total, 1)

    def describe(self, done: int, total: int) -> str:
        """Return the message, with a count if there is something to count."""
        if self.unit is None or total <= 1:
            return self.message
        return f"{self.message} {self.unit} {done:,} of {total:,}."


STAGES: Final = (
    Stage("collect", 0, 40, "Checking the uploads: features, labels, duplicates.", "Image"),
    Stage("embed", 40, 45, "Computing features of the other images.", "Image"),
    Stage("fit", 45, 75, "Fitting the head.", "Epoch"),
    Stage("evaluate", 75, 85, "Comparing with the champion."),
    Stage("save", 85, 95, "Saving the version."),
    Stage("promote", 95, 100, "Deciding whether to promote it."),
)
STEPS: Final = tuple(stage.name for stage in STAGES)
"""Names of the steps. Rename a step if its results change: a job begun before then starts from the first step again."""


def result_path(folder: Path, step: str) -> Path:
    """Return the file in a job's folder that holds the result of a step."""
    return folder / f"{step}.json"


def stages_left(step: str, folder: Path) -> tuple[Stage, ...]:
    """Return the stages that a job has left.

    Args:
        step: the step that was under way. If the name is unknown, nothing counts as done.
        folder: the job's folder. If the result of an earlier step is missing, nothing counts as done.
    """
    first = STEPS.index(step) if step in STEPS else 0
    is_complete = all(result_path(folder, name).is_file() for name in STEPS[:first])
    return STAGES[first:] if is_complete else STAGES
