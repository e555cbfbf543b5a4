"""Checks before a version is used: its parts fit together and predict a synthetic image."""

import numpy as np
from numpy.typing import NDArray

from catdog.errors import VersionCorruptError
from catdog.features.backbone import Backbone
from catdog.model.head import Head
from catdog.model.novelty import NoveltyReference


def try_out(name: str, head: Head, novelty: NoveltyReference, backbone: Backbone) -> None:
    """Predict a synthetic image.

    Args:
        name: of the version, for errors.
        head: its head.
        novelty: its novelty reference.
        backbone: its backbone, loaded.

    Raises:
        VersionCorruptError: the parts don't fit together, or the result isn't valid.
    """
    widths = len(head.hidden_weights), len(novelty.mean), backbone.info.features
    if len(set(widths)) != 1:
        raise VersionCorruptError(
            f"{name} can't make predictions: its head, novelty reference and backbone expect different numbers of "
            f"features, {widths}."
        )
    try:
        features = backbone.features(ramp(backbone.info.image_size))
        with np.errstate(all="ignore"):
            probabilities, novel = head.probabilities(features), novelty.novelty(features)
    except (ValueError, RuntimeError) as error:
        raise VersionCorruptError(f"{name} can't predict an image: {type(error).__name__}.") from error
    are_finite = np.isfinite(features).all() and np.isfinite(probabilities).all() and np.isfinite(novel)
    if not are_finite or not np.isclose(probabilities.sum(), 1, atol=1e-3):
        raise VersionCorruptError(
            f"{name} can't make predictions: its probabilities don't sum to 1, or contain NaN or infinity."
        )


def ramp(size: int) -> NDArray[np.uint8]:
    """Return an image with all brightnesses, `(size, size, 3) uint8`."""
    return np.linspace(0, 255, size * size * 3).astype(np.uint8).reshape(size, size, 3)
