"""The figures behind a version's charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catdog.data.labels import display_name, probability_key

Row = dict[str, Any]

SPLITS: Final = {"train": "training", "validation": "validation", "test": "test", "retrain": "for retraining"}


@dataclass(frozen=True)
class Figures:
    """Figures of a version and of its use on the server; unknown ones are empty.

    Attributes:
        classes: folder names, C of them, in the order of the probabilities.
        counts: number of images by split (a key of `SPLITS`) and class.
        metrics, history: from the version's `metadata.json`.
        assessment: from `assessment.assess`.
        stats: from `GET /api/stats`.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, float | None]] = ()
    assessment: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_version(
        cls, metadata: Mapping[str, Any], assessment: Mapping[str, Any] | None, stats: Mapping[str, Any] | None = None
    ) -> "Figures":
        """Collect the figures from a version's metadata and assessment and a server's statistics."""
        classes = tuple(metadata["classes"])
        on_disk = (stats or {}).get("dataset", {})
        counts = dict(metadata.get("data", {}).get("counts", {}))
        waiting = {name: on_disk.get(f"retrain_{name}", 0) for name in classes}
        if any(waiting.values()):
            counts["retrain"] = waiting
        metrics, history = metadata.get("metrics") or {}, metadata.get("history") or ()
        return cls(classes, counts, metrics, history, assessment or {}, stats or {})

    @property
    def names(self) -> list[str]:
        """Display names of the classes."""
        return [display_name(name) for name in self.classes]

    def verdict_name(self, verdict: str) -> str:
        """Return a verdict's display name: `cat` is Cat, `neither` and `unsure` stay."""
        shown = {probability_key(name): display_name(name) for name in self.classes}
        return shown.get(verdict, verdict)
