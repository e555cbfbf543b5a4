"""Predictions, explanations, and exports to other runtimes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catdog.prediction.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from catdog.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
