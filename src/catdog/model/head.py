"""The classifier head as NumPy arrays, used for serving without Keras.

features (D,) -> dense 128, ReLU -> dense C, softmax -> probabilities (C,)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.data.arrays import as_float32, read_arrays
from catdog.errors import VersionCorruptError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """Weights of the two dense layers: `(D, H)`, `(H,)`, `(H, C)`, `(C,)`, all float32."""

    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats
    output_bias: Floats

    def logits(self, features: NDArray[Any]) -> Floats:
        """Map features `(D,)` or `(N, D)` to logits `(C,)` or `(N, C)`, float32."""
        hidden = np.maximum(features.astype(np.float32) @ self.hidden_weights + self.hidden_bias, 0)
        result: Floats = hidden @ self.output_weights + self.output_bias
        return result

    def probabilities(self, features: NDArray[Any]) -> Floats:
        """Map features `(D,)` or `(N, D)` to probabilities `(C,)` or `(N, C)` that sum to 1, float32."""
        return softmax(self.logits(features))

    def gradient(self, features: NDArray[Any], class_id: int) -> Floats:
        """Return the gradient of a class's margin, its logit minus the mean of the others, by the features: `(D,)`.

        With two classes the margin is the log-odds. A ReLU head is locally linear, so the gradient is exact.
        """
        # A single logit would also count evidence for all classes alike, which probabilities ignore.
        active = features.astype(np.float32) @ self.hidden_weights + self.hidden_bias > 0
        others = np.delete(self.output_weights, class_id, axis=1).mean(axis=1)
        result: Floats = self.hidden_weights @ (active * (self.output_weights[:, class_id] - others))
        return result

    def save(self, path: Path) -> None:
        """Write the arrays to an `.npz` file."""
        np.savez(
            path,
            hidden_weights=self.hidden_weights,
            hidden_bias=self.hidden_bias,
            output_weights=self.output_weights,
            output_bias=self.output_bias,
        )

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read a file written by `save`, without unpickling.

        Raises:
            VersionCorruptError: not such a file, or its arrays don't fit together.
        """
        arrays = read_arrays(path, dict(zip(cls.__dataclass_fields__, (2, 1, 2, 1), strict=True)), "head")
        try:
            head = cls(**{name: as_float32(array) for name, array in arrays.items()})
        except ValueError as error:
            raise VersionCorruptError(f"Can't read the head {path}: {error}.") from error
        shapes = [array.shape for array in vars(head).values()]
        (inputs, hidden), outputs = shapes[0], shapes[2][1]
        if shapes != [(inputs, hidden), (hidden,), (hidden, outputs), (outputs,)] or 0 in (inputs, hidden, outputs):
            raise VersionCorruptError(f"The arrays of the head {path} don't fit together: {shapes}.")
        return head


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Convert logits to probabilities over the last axis, without overflow."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return result
