"""The classifier: a head on the backbone's features, calibration, and novelty.

`create_model` and `train_model` are public; they are imported on first use because `network` may load Keras.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catdog.model.network import create_model, train_model

__all__ = ["create_model", "train_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from catdog.model import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
