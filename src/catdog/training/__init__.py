"""Training: from a folder of images to an evaluated version."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catdog.training.pipeline import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from catdog.training import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
