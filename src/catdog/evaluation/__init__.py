"""Evaluation of a version: metrics with intervals, the promotion gate, charts and the report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catdog.evaluation.measure import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from catdog.evaluation import measure

        return getattr(measure, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
