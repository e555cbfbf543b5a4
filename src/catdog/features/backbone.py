"""MobileNetV2 as a feature extractor, converted to OpenVINO once.

A backbone is a folder `models/backbones/<id>/`, shared by all versions trained on it. It never changes once written, as
running servers map its files into memory:

    backbone.xml, backbone.bin      OpenVINO IR: (1, size, size, 3) uint8 -> features (1, 1280) and the last map
    backbone.weights.h5             the same weights for Keras
    backbone.json                   size, number of features, source, checksums

The id is derived from the size and the weights.
"""

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catdog.data.images.pixels import Pixels
from catdog.errors import VersionCorruptError
from catdog.features.frameworks import import_openvino, openvino_core
from catdog.features.version_files import BACKBONE, read_backbone_document
from catdog.settings import Precision
from catdog.storage.files import require_checksums

FEATURES_OUTPUT: Final = "features"
MAP_OUTPUT: Final = "map"
BUNDLED: Final = "backbone"
"""Folder of a backbone in a bundle, which has no id in its name."""

NETWORK: Final = ("backbone.xml", "backbone.bin")
WEIGHTS: Final = "backbone.weights.h5"


@dataclass(frozen=True)
class BackboneInfo:
    """Content of `backbone.json`. `features` is the length of the pooled vector, `source` the origin of the weights."""

    id: str
    image_size: int
    features: int
    source: str
    checksums: dict[str, str]


class Backbone:
    """A loaded backbone. Thread-safe; runs up to `threads` images at once."""

    def __init__(self, directory: Path, *, precision: Precision = "auto", threads: int = 1) -> None:
        """Load and compile a backbone folder.

        Args:
            directory: `models/backbones/<id>`.
            precision: of the arithmetic; `auto` is bf16 if the processor supports it in hardware, else f32.
            threads: inference streams, one thread each.

        Raises:
            VersionCorruptError: a file is missing or damaged.
        """
        self.info = read_info(directory)
        if not self.info.checksums.keys() >= set(NETWORK):
            raise VersionCorruptError(f"The backbone in {directory} must list checksums of {' and '.join(NETWORK)}.")
        self.directory = directory
        self.asked: tuple[Precision, int] = precision, threads
        self.precision = resolve_precision(precision, openvino_core())
        self._threads = threads
        self._plain = self._compile(FEATURES_OUTPUT)
        self._with_map: _Compiled | None = None
        self._lock = threading.Lock()

    def features(self, image: Pixels) -> NDArray[np.float32]:
        """Return the features `(D,) float32`, at least 0, of an image `(size, size, 3) uint8 in [0, 255]`."""
        # One image per call: with one stream per thread, larger batches were at most a tenth faster (500 instead of 450
        # images per second in bf16 on two cores), and a single path gives identical results.
        return self._plain.run(image)[0]

    def features_and_map(self, image: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features of one image, and the last map, whose mean over all positions they are.

        The network with both outputs is compiled on the first call.

        Returns:
            Features `(D,) float32` and map `(rows, columns, D) float32`, 7 by 7 for 224 pixels; both at least 0.
        """
        with self._lock:
            if self._with_map is None:
                self._with_map = self._compile(FEATURES_OUTPUT, MAP_OUTPUT)
        features, last_map = self._with_map.run(image)
        return features, last_map

    def is_from(self, directory: Path, precision: Precision, threads: int) -> bool:
        """Return whether loading a folder with these options would give the same backbone.

        Raises:
            VersionCorruptError: it has the same id, but a file is missing or damaged.
        """
        is_alike = directory.name == self.info.id and (precision, threads) == self.asked
        return is_alike and read_info(directory) == self.info

    def _compile(self, *outputs: str) -> "_Compiled":
        ov = import_openvino()
        core = openvino_core()
        # With pinning, several processes would share one core and lose half their speed.
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": self._threads,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = core.read_model(self.directory / NETWORK[0])
            self._require_shapes(model)
            wanted = ov.Model([model.output(name).get_node() for name in outputs], model.get_parameters())
            return _Compiled(core.compile_model(wanted, "CPU", options))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise VersionCorruptError(f"OpenVINO can't load the backbone {self.info.id}.") from error

    def _require_shapes(self, model: Any) -> None:
        size, features = self.info.image_size, self.info.features
        shapes = [tuple(model.input(0).shape), tuple(model.output(FEATURES_OUTPUT).shape)]
        last_map = tuple(model.output(MAP_OUTPUT).shape)
        is_map = len(last_map) == 4 and (last_map[0], last_map[3]) == (1, features) and max(last_map[1:3]) <= size
        if shapes != [(1, size, size, 3), (1, features)] or not is_map:
            raise VersionCorruptError(f"The network of the backbone {self.info.id} has other shapes than declared.")


class _Compiled:
    """A compiled network and its idle inference requests."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._idle: deque[Any] = deque()
        # The first call of OpenVINO's Python binding initialises static tables under two locks. Two threads that do so
        # at once may deadlock, so one call is made here.
        self.run(np.zeros(tuple(network.input(0).shape)[1:], np.uint8))

    def run(self, image: Pixels) -> list[NDArray[np.float32]]:
        """Return copies of the outputs for one image, without the batch dimension."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._network.create_infer_request()
        try:
            results = request.infer({0: image[np.newaxis]}, share_inputs=True)
            return [results[index][0].copy() for index in range(len(results))]
        finally:
            self._idle.append(request)


def load_backbone(
    directory: Path, *, precision: Precision = "auto", threads: int = 1, loaded: Backbone | None = None
) -> Backbone:
    """Load a backbone folder, or return `loaded` if it is the same one. The files are checked in both cases.

    Raises:
        VersionCorruptError: a file is missing or damaged.
    """
    if loaded is not None and loaded.is_from(directory, precision, threads):
        return loaded
    return Backbone(directory, precision=precision, threads=threads)


def resolve_precision(precision: Precision, core: Any) -> str:
    """Return what `precision` means on this processor: `bf16` or `f32`."""
    if precision != "auto":
        return precision
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def read_info(directory: Path) -> BackboneInfo:
    """Read `backbone.json` and check the files it lists.

    Raises:
        VersionCorruptError: a file is missing, unreadable or damaged.
    """
    info = BackboneInfo(**read_backbone_document(directory))
    if info.id != directory.name and directory.name != BUNDLED:
        raise VersionCorruptError(f"The backbone in {directory} has the id {info.id!r} in {BACKBONE}.")
    require_checksums(directory, info.checksums)
    return info
