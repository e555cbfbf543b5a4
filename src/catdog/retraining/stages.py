"""The steps of a retraining, in order, with their share of the progress and their messages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Stage:
    """One step of a retraining.

    Attributes:
        name: the step's name in `Retraining.run` and in the table of jobs.
        start: progress of the job at the start of the step, in percent.
        end: progress of the job at the end of the step, in percent.
        message: shown while the step runs.
        unit: the step's unit of progress; None if it shows no count.
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
        """Return the message, with a count if the step has several units."""
        if self.unit is None or total <= 1:
            return self.message
        return f"{self.message} {self.unit} {done:,} of {total:,}."


STAGES: Final = (
    Stage("collect", 0, 40, "Checking the uploads: features, labels, duplicates.", "Image"),
    Stage("embed", 40, 45, "Computing features of the other images.", "Image"),
    Stage("fit", 45, 75, "Fitting the head.", "Epoch"),
    Stage("evaluate", 75, 85, "Comparing with the model in use."),
    Stage("save", 85, 95, "Saving the version."),
    Stage("promote", 95, 100, "Deciding whether to promote it."),
)
STEPS: Final = tuple(stage.name for stage in STAGES)
"""Names of the steps. Rename a step if its results change: a job started before then begins again."""


def result_path(folder: Path, step: str) -> Path:
    """Return the file in a job's folder that holds the result of a step."""
    return folder / f"{step}.json"


def stages_left(step: str, folder: Path) -> tuple[Stage, ...]:
    """Return the remaining stages of a job; all of them if an earlier result is missing.

    Args:
        step: the current step; if unknown, nothing counts as done.
        folder: the job's folder.
    """
    first = STEPS.index(step) if step in STEPS else 0
    is_complete = all(result_path(folder, name).is_file() for name in STEPS[:first])
    return STAGES[first:] if is_complete else STAGES
