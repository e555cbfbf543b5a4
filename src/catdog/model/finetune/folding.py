"""MobileNetV2 with batch norm folded into its convolutions: the same function, 2.5 times as fast to fine-tune.

In inference mode, batch norm is an affine map, so it merges with the preceding convolution into one with a bias.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.features.frameworks import import_keras

BLOCKS: Final = 17
"""Inverted-residual blocks of MobileNetV2."""


def fold(network: Any, blocks: int | None = None) -> Any:
    """Return a copy of MobileNetV2 with each batch norm folded into its convolution.

    Args:
        network: a network from `build_keras_backbone`.
        blocks: how many of the last inverted-residual blocks stay trainable; None for every layer.
    """
    keras = import_keras()

    def copy(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.Activation("linear", name=layer.name)
        config = layer.get_config()
        if _is_convolution(layer):
            config |= {"use_bias": True, "trainable": blocks is None or _block(layer.name) > BLOCKS - 1 - blocks}
        return type(layer).from_config(config)

    folded = keras.models.clone_model(
        network, clone_function=copy, call_function=lambda layer, inputs, **_: layer(inputs)
    )
    for convolution, norm in _convolutions_and_norms(network):
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        # A depthwise kernel is (3, 3, C, 1), any other (k, k, in, C).
        shaped = scale.reshape(-1, 1) if _is_depthwise(convolution) else scale
        kernel = convolution.get_weights()[0] * shaped
        folded.get_layer(convolution.name).set_weights([kernel, beta - mean * scale])
    return folded


def unfold(folded: Any, network: Any) -> Any:
    """Write a folded network's weights into a plain one, whose batch norm then only adds the bias, as `beta`."""
    for convolution, norm in _convolutions_and_norms(network):
        kernel, bias = folded.get_layer(convolution.name).get_weights()
        convolution.set_weights([kernel])
        one = np.ones_like(bias)
        norm.set_weights([one, bias, 0 * one, one - np.float32(norm.epsilon)])
    return network


def channel_scales(network: Any, folded: Any) -> dict[str, NDArray[np.float32]]:
    """Return the scale of each channel's kernel (root mean square) and output (batch norm's spread), by variable path.

    Folded kernels differ a thousandfold between channels, so one step size ruins small ones before it moves large
    ones: with one size per layer (LAMB), held-out cross-entropy rose from 0.05 to 0.16 in 50 steps.
    """
    scales: dict[str, NDArray[np.float32]] = {}
    for convolution, norm in _convolutions_and_norms(network):
        layer = folded.get_layer(convolution.name)
        axes = (0, 1, 3) if _is_depthwise(convolution) else (0, 1, 2)
        scales[layer.kernel.path] = np.sqrt(np.mean(layer.get_weights()[0] ** 2, axis=axes, keepdims=True))
        scales[layer.bias.path] = np.abs(norm.get_weights()[0])
    return scales


def scaled_adam(variables: list[Any], scales: dict[str, NDArray[np.float32]], rate: Any, ema: float) -> Any:
    """Return an Adam optimizer that multiplies the step of each variable by its scale.

    Args:
        variables: the variables to train, in order.
        scales: by variable path, broadcast to the variable's shape; 1 if missing.
        rate: learning rate or schedule.
        ema: momentum of the running average of weights; 0 for none.
    """
    keras = import_keras()
    by_index = [scales.get(variable.path, np.float32(1)) for variable in variables]

    class ScaledAdam(keras.optimizers.Adam):  # type: ignore[misc, name-defined]
        """Keras' Adam with a scale per variable."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * by_index[self._get_variable_index(variable)])

    optimizer = ScaledAdam(rate, use_ema=ema > 0, ema_momentum=ema or 0.99)
    optimizer.build(variables)
    return optimizer


def _is_convolution(layer: Any) -> bool:
    return type(layer).__name__ in ("Conv2D", "DepthwiseConv2D")


def _is_depthwise(layer: Any) -> bool:
    return type(layer).__name__ == "DepthwiseConv2D"


def _block(name: str) -> int:
    """Return the number of a layer's inverted-residual block: -1 for the stem, 0 to 16, 17 for layers after them."""
    if name.startswith("block_"):
        return int(name.split("_")[1])
    return {"Conv1": -1, "Conv_1": BLOCKS}.get(name, 0)


def _convolutions_and_norms(network: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each convolution with its batch norm, which is the layer after it."""
    return ((layer, norm) for layer, norm in pairwise(network.layers) if _is_convolution(layer))
