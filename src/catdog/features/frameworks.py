"""Heavy libraries, imported on demand: quietly, and without writing or sending anything of their own accord."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from catdog.errors import MissingDependencyError
from catdog.settings import load_settings


def import_openvino() -> Any:
    """Import OpenVINO without its usage statistics, which it would send and keep in the user's home unasked."""
    # Where the package for statistics cannot be imported, OpenVINO takes a stub in its place.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@functools.cache
def openvino_core() -> Any:
    """Give OpenVINO's core of this process, made by the first call.

    One for all networks: a process that had compiled one by a core, then another by a second core, and let go of the
    first, ended with a segmentation fault.
    """
    return import_openvino().Core()


def import_keras() -> Any:
    """Import Keras, on TensorFlow unless KERAS_BACKEND says otherwise.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras writes its configuration at import, by default into the user's home.
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
    """Drop what TensorFlow's native code says on stderr while it loads: its log level does not apply yet."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
