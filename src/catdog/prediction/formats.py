"""Export formats: how each is written from the Keras network, loaded and run.

All have the same input and output:

    pixels (N, size, size, 3) float32 in [0, 255] -> probabilities (N, C) float32

Writers store a description in the export where its own tools find it: an ONNX model's metadata properties, OpenVINO's
runtime information, an HDF5 attribute, and an entry of the zip archive in a `.keras` or LiteRT file
(https://developers.google.com/edge/litert/conversion/tensorflow/metadata).
"""

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.features.frameworks import import_keras, import_openvino, openvino_core
from catdog.types import ExportFormat

Description = Mapping[str, Any]
Run = Callable[[NDArray[np.float32]], Any]
"""A loaded export: pixels `(N, size, size, 3) float32 in [0, 255]` -> probabilities `(N, C)`."""

SIDECAR: Final = "catdog.json"
"""Name of the description inside a folder or an archive."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        suffix: of the file; empty if the export is a folder.
        write: writes the Keras network and its description to a path.
        load: returns a function that runs the export, and its arithmetic.
        needs: modules of the extra `export`.
    """

    suffix: str
    write: Callable[[Any, Path, Description], None]
    load: Callable[[Path], tuple[Run, str]]
    needs: tuple[str, ...] = ()

    def sidecar(self, path: Path) -> Path:
        """Return the path of the separate description of the export at `path`."""
        return path.with_name(f"{path.name}.json") if self.suffix else path / SIDECAR


def _write_keras(network: Any, path: Path, description: Description) -> None:
    network.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(SIDECAR, _json(description))


def _write_h5(network: Any, path: Path, description: Description) -> None:
    import h5py

    network.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["catdog"] = _json(description)


def _load_keras(path: Path) -> tuple[Run, str]:
    network = import_keras().models.load_model(path, compile=False, safe_mode=True)
    return lambda pixels: network(pixels, training=False), "f32"


def _write_saved_model(network: Any, path: Path, description: Description) -> None:
    _save_module(network, path, description)
    (path / SIDECAR).write_text(_json(description), encoding="utf-8")


def _save_module(network: Any, path: Path, description: Description) -> None:
    """Write a SavedModel; Keras' own `export` (3.15) stores each weight twice and doesn't name the output."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    module.serve = _function(network, description)
    tf.saved_model.save(module, str(path), signatures=module.serve)


def _function(network: Any, description: Description) -> Any:
    """Return the network as a TensorFlow function, with input and output named as in the description."""
    import tensorflow as tf

    given, name = description["input"], description["output"]["name"]
    signature = [tf.TensorSpec(given["shape"], given["dtype"], name=given["name"])]
    return tf.function(lambda pixels: {name: network(pixels, training=False)}, signature, autograph=False)


def _load_saved_model(path: Path) -> tuple[Run, str]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def run(pixels: NDArray[np.float32], _keep: Any = loaded) -> Any:  # the signature doesn't keep the variables
        (probabilities,) = signature(**{name: tf.constant(pixels)}).values()
        return probabilities

    return run, "f32"


def _write_onnx(network: Any, path: Path, description: Description) -> None:
    import onnx
    import tf2onnx

    function = _function(network, description)
    model, _ = tf2onnx.convert.from_function(function, function.input_signature)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"  # instead of the converter's generated name
    onnx.helper.set_model_props(model, _strings(description))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _load_onnx(path: Path) -> tuple[Run, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})[0], "f32"


def _write_openvino(network: Any, path: Path, description: Description) -> None:
    path.mkdir()
    ov = import_openvino()
    model = ov.convert_model(network)
    model.input().get_tensor().set_names({description["input"]["name"]})
    model.output().get_tensor().set_names({description["output"]["name"]})
    for key, text in _strings(description).items():
        model.set_rt_info(text, ["catdog", key])
    # Half-precision weights, as in the served backbone.
    ov.save_model(model, path / "model.xml", compress_to_fp16=True)
    (path / SIDECAR).write_text(_json(description), encoding="utf-8")


def _load_openvino(path: Path) -> tuple[Run, str]:
    # With OpenVINO's default precision, as users would load it: bf16 if the processor supports it.
    compiled = openvino_core().compile_model(path / "model.xml", "CPU")
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return lambda pixels: compiled(pixels)[0], str(precision)


def _write_litert(network: Any, path: Path, description: Description) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        _save_module(network, Path(folder), description)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "".join(f"{name}\n" for name in description["class_names"]))
        archive.writestr(SIDECAR, _json(description))


def _load_litert(path: Path) -> tuple[Run, str]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    ((key, signature),) = interpreter.get_signature_list().items()
    runner = interpreter.get_signature_runner(key)
    (given,), (answered,) = signature["inputs"], signature["outputs"]
    return lambda pixels: runner(**{given: pixels})[answered], "f32"


def _json(description: Description) -> str:
    return json.dumps(description, ensure_ascii=False, indent=2)


def _strings(description: Description) -> dict[str, str]:
    """Convert values to strings, as JSON if needed, for formats that only store strings."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in description.items()
    }


FORMATS: Final[dict[ExportFormat, Format]] = {
    "keras": Format(".keras", _write_keras, _load_keras),
    "h5": Format(".h5", _write_h5, _load_keras),
    "onnx": Format(".onnx", _write_onnx, _load_onnx, ("onnx", "onnxruntime", "tf2onnx")),
    "openvino": Format("", _write_openvino, _load_openvino),
    "litert": Format(".tflite", _write_litert, _load_litert, ("ai_edge_litert",)),
    "saved_model": Format("", _write_saved_model, _load_saved_model),
}
