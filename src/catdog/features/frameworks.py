"""Lazy imports of heavy libraries, without their output, telemetry or files in the user's home."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from catdog.errors import MissingDependencyError
from catdog.settings import load_settings


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry."""
    # OpenVINO uses a stub if its telemetry package can't be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@functools.cache
def openvino_core() -> Any:
    """Return this process's OpenVINO core."""
    # One for all networks: compiling with a second core and then releasing the first causes a segmentation fault.
    return import_openvino().Core()


def import_keras() -> Any:
    """Import Keras, on TensorFlow unless KERAS_BACKEND says otherwise.

    Raises:
        MissingDependencyError: it isn't installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras writes its configuration on import, by default to the user's home.
    os.environ.setdefault("KERAS_HOME", str(load_settings().models_dir / ".keras"))
    try:
        if "keras" in sys.modules:
            import keras
        else:
            with _no_native_messages():
                import keras
    except ImportError as error:
        raise MissingDependencyError(f"Training needs Keras: pip install 'catdog[train]'. ({error})") from error
    return keras


@contextmanager
def _no_native_messages() -> Iterator[None]:
    """Discard stderr while TensorFlow loads, as its native code doesn't respect the log level yet."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
