"""Exports a version to other runtimes, and compares each export in its own runtime with catdog.

An export is the network from pixels to probabilities, including calibration but not the verdicts `neither` and
`unsure`. A description of classes and preprocessing is stored in it and next to it. `parity.json` has the certificates
of all exports in its folder.
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
    version: ModelVersion, kind: ExportFormat, out: Path, settings: Settings, images: Sequence[Source] = ()
) -> Certificate:
    """Write a version in another format, run it, and certify that its predictions match catdog's.

    Args:
        version: the version to export.
        kind: the format.
        out: a file with the format's suffix, or for `openvino` and `saved_model` a folder; it must not exist.
        settings: settings of the server.
        images: images for the comparison, sampled evenly to at most 500; synthetic ones by default.

    Returns:
        The certificate, also added to `parity.json` next to `out`.

    Raises:
        ExportError: `out` exists or doesn't fit the format, the export can't be run, no image can be used, or fewer
            than 99.5 % of the labels agree. In the last case the export stays, with an untrusted certificate.
        MissingDependencyError: a package that the format needs isn't installed.
    """
    form = _check_request(kind, out)
    description = describe(version)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as temporary, _quiet():
        new = Path(temporary) / f"export{form.suffix}"
        _write(form, build_network(version), new, description)
        certificate = compare(version, kind, out.name, new, settings, images)
        write_json(form.sidecar(new), description)
        sync_tree(Path(temporary))
        if form.suffix:
            form.sidecar(new).rename(form.sidecar(out))
        new.rename(out)
        sync_folder(out.parent)
    add_certificate(out.with_name(PARITY), certificate)
    if not certificate.trusted:
        judged, alike = certificate.judged, certificate.alike
        rounding = f" The cause is rounding: {alike.agreement:.2%} agree in {alike.precision}."
        raise ExportError(
            f"Don't use the export {out}: only {judged.agreement:.2%} of its labels agree with catdog's in "
            f"{judged.precision}, on {counted(certificate.pictures, 'image')}; at least {LEAST_AGREEMENT:.1%} must."
            f"{rounding if alike.agreement >= LEAST_AGREEMENT else ''} "
            f"Its certificate is in {out.with_name(PARITY)}."
        )
    return certificate


def describe(version: ModelVersion) -> dict[str, Any]:
    """Describe an export: classes, input, preprocessing, output."""
    size = read_info(version.backbone_path).image_size
    return {
        "made_by": f"catdog {__version__}",
        "model_version": version.number,
        "backbone": version.metadata["backbone"],
        "class_names": [display_name(name) for name in version.classes],
        "class_keys": [probability_key(name) for name in version.classes],
        "input": {"name": "pixels", "shape": [None, size, size, 3], "dtype": "float32", "range": [0, 255]},
        "preprocessing": (
            f"RGB, upright (EXIF orientation applied), transparency on white; the whole image resized to "
            f"{size} x {size} without keeping its aspect ratio, bilinear with antialiasing; values in [0, 255], as the "
            "network scales them to [-1, 1]."
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
        raise ExportError(f"Unknown format {kind!r}. Use one of {', '.join(FORMATS)}.")
    form = FORMATS[kind]
    if form.suffix and out.suffix != form.suffix:
        raise ExportError(f"The {kind} format is a file: give it the suffix {form.suffix} instead of {out}.")
    if not form.suffix and out.suffix in {".xml", ".bin", ".pb"}:
        raise ExportError(f"The {kind} format is a folder, not a file: remove the suffix from {out}.")
    for path in (out, form.sidecar(out)):
        if path.exists() or path.is_symlink():
            raise ExportError(f"{path} already exists. Choose another path.")
    if absent := [name for name in form.needs if find_spec(name) is None]:
        raise MissingDependencyError(f"Exporting to {kind} needs {', '.join(absent)}: pip install 'catdog[export]'.")
    return form


def _write(form: Format, network: Any, path: Path, description: dict[str, Any]) -> None:
    try:
        form.write(network, path, description)
    except Exception as error:  # converters raise their own exceptions
        raise ExportError(f"Couldn't write the export: {error}.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep converters' output off stdout, and silence their deprecation warnings."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
