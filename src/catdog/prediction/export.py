"""Exports: a whole version for other runtimes, each run in its own runtime and compared with what serves.

An export holds the network from pixels to probabilities, calibration included; what makes `neither` and `unsure` of
them stays behind. Its statement of classes and preprocessing stands in it and in a file beside it. It counts only
where it gives the served answers: `parity.json` beside it holds one certificate for each export in that folder.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catdog import __version__
from catdog.data.labels import display_name, probability_key
from catdog.errors import ExportError, MissingDependencyError
from catdog.features.backbone import WEIGHTS, read_info
from catdog.model.network import create_model, write_head
from catdog.prediction.formats import FORMATS, Format
from catdog.prediction.parity import LEAST_AGREEMENT, PARITY, Certificate, add_certificate, compare
from catdog.prediction.predictor import Source
from catdog.registry.store import ModelVersion
from catdog.settings import Settings
from catdog.storage.files import sync_folder, sync_tree, write_json
from catdog.text import counted
from catdog.types import ExportFormat


def export_version(
    version: ModelVersion, kind: ExportFormat, out: Path, settings: Settings, pictures: Sequence[Source] = ()
) -> Certificate:
    """Write a version in another format, run it there, and certify that it answers as catdog does.

    Args:
        version: what to export.
        kind: the format.
        out: a file with the format's suffix, or for `openvino` and `saved_model` a folder; it must not exist.
        settings: of the path that serves.
        images: what to compare on, at most 500 of them, spread evenly; made ones if empty.

    Returns:
        The certificate, which also stands in `parity.json` beside `out`.

    Raises:
        ExportError: `out` exists or doesn't fit the format, the export can't be run, no image can be used, or
            under 99.5 % of the labels agree: then the export stays, with a certificate that says so.
        MissingDependencyError: a package that the format needs isn't installed.
    """
    form = _check_request(kind, out)
    statement = describe(version)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as temporary, _quiet():
        new = Path(temporary) / f"export{form.suffix}"
        _write(form, build_network(version), new, statement)
        certificate = compare(version, kind, out.name, new, settings, pictures)
        write_json(form.sidecar(new), statement)
        sync_tree(Path(temporary))
        if form.suffix:
            form.sidecar(new).rename(form.sidecar(out))
        new.rename(out)
        sync_folder(out.parent)
    add_certificate(out.with_name(PARITY), certificate)
    if not certificate.trusted:
        judged, alike = certificate.judged, certificate.alike
        rounding = alike.agreement >= LEAST_AGREEMENT
        raise ExportError(
            f"The export is not to be trusted: at least {LEAST_AGREEMENT:.1%} of its labels must be those that catdog "
            f"answers. Received: {judged.agreement:.2%} of {counted(certificate.pictures, 'picture')} "
            f"in {judged.precision}"
            f"{f', but {alike.agreement:.2%} in {alike.precision}, so that it is rounding' if rounding else ''}. "
            f"The export is {out}, its certificate in {out.with_name(PARITY)}."
        )
    return certificate


def describe(version: ModelVersion) -> dict[str, Any]:
    """State what an export holds: classes, input, how to prepare an image, output."""
    size = read_info(version.backbone_path).image_size
    return {
        "made_by": f"catdog {__version__}",
        "model_version": version.number,
        "backbone": version.metadata["backbone"],
        "class_names": [display_name(name) for name in version.classes],
        "class_keys": [probability_key(name) for name in version.classes],
        "input": {"name": "pixels", "shape": [None, size, size, 3], "dtype": "float32", "range": [0, 255]},
        "preprocessing": (
            f"RGB, upright (EXIF orientation applied), transparent parts on white; the whole picture resized to "
            f"{size} x {size} without keeping its ratio, bilinear with antialiasing; values stay in [0, 255], because "
            "scaling to [-1, 1] is part of the network."
        ),
        "output": {"name": "probabilities", "shape": [None, len(version.classes)], "dtype": "float32"},
    }


def build_network(version: ModelVersion) -> Any:
    """Build the Keras network of a version, pixels to probabilities, calibration included."""
    size = read_info(version.backbone_path).image_size
    network = create_model(len(version.classes), image_size=size, weights=version.backbone_path / WEIGHTS)
    write_head(network, version.load_head())
    return network


def _check_request(kind: ExportFormat, out: Path) -> Format:
    if kind not in FORMATS:
        raise ExportError(f"The format must be one of {', '.join(FORMATS)}. Received: {kind}.")
    form = FORMATS[kind]
    if form.suffix and out.suffix != form.suffix:
        raise ExportError(f"The {kind} format is a file that ends in {form.suffix}. Received: {out}.")
    if not form.suffix and out.suffix in {".xml", ".bin", ".pb"}:
        raise ExportError(f"The {kind} format is a folder, so that its files stay together. Received: {out}.")
    for path in (out, form.sidecar(out)):
        if path.exists() or path.is_symlink():
            raise ExportError(f"An export overwrites nothing; name a free path. Received: {path}.")
    if absent := [name for name in form.needs if find_spec(name) is None]:
        raise MissingDependencyError(f"Exporting to {kind} needs {', '.join(absent)}: pip install 'catdog[export]'.")
    return form


def _write(form: Format, network: Any, path: Path, statement: dict[str, Any]) -> None:
    try:
        form.write(network, path, statement)
    except Exception as error:  # each converter has exceptions of its own
        raise ExportError(f"The export cannot be written. Received: {error}.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what converters say about themselves out of stdout, and their warnings about old names out of the way."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
