"""Parity: whether an export's predictions, in its own runtime, match catdog's."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog import __version__
from catdog.data.images.pixels import Pixels, decode, read_picture
from catdog.data.walking import find_pictures
from catdog.errors import ExportError, PictureError
from catdog.prediction.formats import FORMATS, Run
from catdog.prediction.predictor import Prediction, Predictor, Source
from catdog.registry.store import ModelVersion
from catdog.settings import Settings
from catdog.storage.files import write_json
from catdog.storage.json_reader import read_json_file
from catdog.text import counted
from catdog.types import ExportFormat

LEAST_AGREEMENT: Final = 0.995
"""Minimum share of equal labels; rounding occasionally moves a probability across 0.5."""

MAX_IMAGES: Final = 500
SYNTHETIC_IMAGES: Final = 256
MIN_SYNTHETIC: Final = 64
MIN_MARGIN: Final = 0.1
"""Margin between the two highest probabilities from which a synthetic image counts. Their predictions are less certain:
on 256 of them, a correct export differed from bf16 by up to 0.18 (96.1 % equal labels; 100 % on 494 photographs), and
from its own arithmetic by up to 0.03."""

PARITY: Final = "parity.json"

_BATCH: Final = 32
_PACKAGES: Final = ("keras", "tensorflow", "openvino", "onnx", "onnxruntime", "tf2onnx", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Comparison:
    """An export compared with catdog in one precision: share of equal labels, largest difference of a probability."""

    precision: str
    agreement: float
    largest_difference: float


@dataclass(frozen=True)
class Certificate:
    """The result of comparing an export.

    `served` compares with the server's precision on this machine, `alike` with catdog in the export's own precision,
    `export_precision`, which separates rounding from errors. `judged_by` decides whether it is `trusted`: `served` on
    photographs, `alike` on synthetic images with a sufficient margin. `pictures_digest` hashes the images.
    """

    export: str
    format: str
    model_version: int
    trusted: bool
    least_agreement: float
    judged_by: str
    served: Comparison
    alike: Comparison
    export_precision: str
    pictures: int
    pictures_made: bool
    pictures_digest: str
    unusable: int
    bytes: int
    versions: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate in its public form, ready for JSON."""
        return asdict(self)

    @property
    def judged(self) -> Comparison:
        """The comparison that decides whether it is trusted."""
        return self.served if self.judged_by == "served" else self.alike


def choose_images(folder: Path | None, shared: Path | None) -> list[Source]:
    """Return images for the comparison: those in `folder`, or the shared photographs, or none.

    Raises:
        ExportError: `folder` contains no files.
    """
    photographs = shared and shared / "cat-and-dog" / "test"
    chosen = folder or (photographs if photographs and photographs.is_dir() else None)
    if chosen is None:
        return []
    found: list[Source] = list(find_pictures([chosen], recursive=True)) if chosen.exists() else []
    if not found:
        raise ExportError(f"No files in {chosen}. The comparison needs images.")
    return found


def synthetic_images(count: int = SYNTHETIC_IMAGES, size: int = 256) -> list[bytes]:
    """Return synthetic images as PNG, always the same: gradients, noise and shapes."""
    y, x = np.mgrid[0:size, 0:size] / size
    images = []
    for number in range(count):
        rng = np.random.default_rng(number)
        first, second, third = rng.uniform(0, 255, (3, 3))
        angle = rng.uniform(0, 2 * np.pi)
        ramp = (1 + np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))[..., np.newaxis] / 2
        pixels = first * ramp + second * (1 - ramp)
        for _ in range(number % 4):
            (left, top), (width, height) = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.4, 2)
            pixels[((x - left) / width) ** 2 + ((y - top) / height) ** 2 < 1] = third
            third = rng.uniform(0, 255, 3)
        pixels += rng.normal(0, rng.uniform(0, 60), pixels.shape)
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
        images.append(buffer.getvalue())
    return images


def compare(
    version: ModelVersion, kind: ExportFormat, name: str, path: Path, settings: Settings, images: Sequence[Source]
) -> Certificate:
    """Run an export in its own runtime, and catdog, on the same images.

    Args:
        version: the exported version.
        kind: the format.
        name: final name of the export.
        path: its current path.
        settings: settings of the server.
        images: sampled evenly to at most 500; synthetic ones if empty.

    Raises:
        ExportError: the export can't be run, or no image can be used.
    """
    try:
        run, precision = FORMATS[kind].load(path)
    except Exception as error:  # runtimes raise their own exceptions
        raise _cannot_run(error) from error
    predictor = same = Predictor(version, settings=settings)
    if predictor.precision != precision:
        own = settings.model_copy(update={"precision": "bf16" if precision == "bf16" else "f32"})
        same = Predictor(version, settings=own)
    chosen = images[:: -(-len(images) // MAX_IMAGES)] if images else _with_margin(same, synthetic_images())
    usable, pixels = _decode(predictor, chosen)
    if not usable:
        raise ExportError(f"None of the {counted(len(chosen), 'image')} for the comparison can be used.")
    try:
        given = _run(run, pixels)
    except Exception as error:  # as above
        raise _cannot_run(error) from error
    if given.shape != (len(pixels), len(version.classes)):
        expected = (len(pixels), len(version.classes))
        raise ExportError(f"The export returned an array of shape {given.shape} instead of {expected}.")
    served = _compare_with(predictor, usable, given)
    alike = served if same is predictor else _compare_with(same, usable, given)
    return Certificate(
        export=name,
        format=kind,
        model_version=version.number,
        trusted=(served if images else alike).agreement >= LEAST_AGREEMENT,
        least_agreement=LEAST_AGREEMENT,
        judged_by="served" if images else "alike",
        served=served,
        alike=alike,
        export_precision=precision,
        pictures=len(usable),
        pictures_made=not images,
        pictures_digest=_digest(usable),
        unusable=len(chosen) - len(usable),
        bytes=sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()),
        versions=_versions(),
    )


def add_certificate(path: Path, certificate: Certificate) -> None:
    """Add a certificate to `parity.json`, keeping those of other exports."""
    try:
        exports = dict(read_json_file(path)["exports"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or another file
        exports = {}
    write_json(path, {"exports": {**exports, certificate.export: certificate.as_dict()}})


def _cannot_run(error: Exception) -> ExportError:
    return ExportError(f"Can't run the export in its own runtime: {error}.")


def _with_margin(predictor: Predictor, images: Sequence[bytes]) -> list[Source]:
    """Keep images that catdog predicts with a sufficient margin, in order, but at least the 64 with the largest."""
    predictions = [found for found in predictor.predict_stream(images) if isinstance(found, Prediction)]
    ordered = np.sort([list(prediction.probabilities.values()) for prediction in predictions], axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    count = max(MIN_SYNTHETIC, int((margins >= MIN_MARGIN).sum()))
    return [images[index] for index in sorted(np.argsort(-margins, kind="stable")[:count])]


def _decode(predictor: Predictor, images: Sequence[Source]) -> tuple[list[Source], list[Pixels]]:
    """Decode the images as the server does; return the usable ones and their pixels."""
    usable, pixels = [], []
    for image in images:
        try:
            pixels.append(
                decode(
                    read_picture(image, predictor.settings.max_picture_bytes),
                    predictor.backbone.info.image_size,
                    predictor.limits,
                )
            )
        except PictureError:
            continue
        usable.append(image)
    return usable, pixels


def _run(run: Run, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
    starts = range(0, len(pixels), _BATCH)
    batches = (np.stack(pixels[start : start + _BATCH]).astype(np.float32) for start in starts)
    return np.concatenate([np.asarray(run(batch), np.float32) for batch in batches])


def _compare_with(predictor: Predictor, images: Sequence[Source], given: NDArray[np.float32]) -> Comparison:
    predictions = [found for found in predictor.predict_stream(images) if isinstance(found, Prediction)]
    labels = np.array([prediction.class_id for prediction in predictions])
    probabilities = np.array([list(prediction.probabilities.values()) for prediction in predictions])
    same = (given.argmax(axis=1) == labels) & np.isfinite(given).all(axis=1)
    difference = np.nan_to_num(np.abs(given - probabilities), nan=1.0)
    return Comparison(predictor.precision, float(same.mean()), float(difference.max()))


def _digest(images: Sequence[Source]) -> str:
    """Return a hash of the images that doesn't depend on their order."""
    hashes = sorted(hashlib.sha256(read_picture(image, None)).hexdigest() for image in images)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _versions() -> dict[str, str]:
    """Return the versions of the installed packages that wrote, ran and served the export."""
    installed = {found.name.replace("_", "-").lower(): found.version for found in metadata.distributions()}
    installed["tensorflow"] = installed.get("tensorflow") or installed.get("tensorflow-cpu", "")
    return {"catdog": __version__, **{name: installed[name] for name in _PACKAGES if installed.get(name)}}
