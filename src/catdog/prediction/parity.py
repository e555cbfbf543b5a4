"""Parity: whether an export, run in its own runtime, answers as catdog does."""

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
from catdog.types import ExportFormat

LEAST_AGREEMENT: Final = 0.995
"""Share of labels that must be equal; rounding moves a probability over one half now and then."""

MOST_PICTURES: Final = 500
MADE_PICTURES: Final = 256
FEWEST_MADE: Final = 64
DECIDED: Final = 0.1
"""Lead of the first probability over the second from which on a made image counts. To the network made images are
strange: on 256 of them a right export differed from bf16 by up to 0.18 (96.1 % equal labels, where 494 photographs gave
100 %), from its own arithmetic by up to 0.03."""

PARITY: Final = "parity.json"

_BATCH: Final = 32
_PACKAGES: Final = ("keras", "tensorflow", "openvino", "onnx", "onnxruntime", "tf2onnx", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Comparison:
    """An export against catdog in one precision: share of equal labels, largest difference of a probability."""

    precision: str
    agreement: float
    largest_difference: float


@dataclass(frozen=True)
class Certificate:
    """What running an export showed.

    `served` compares with the path that serves, as it is set on this machine; `alike` with catdog in the arithmetic
    that the export itself ran in, `export_precision`, so that rounding can be told from an error. Whether the export
    is `trusted` follows from `judged_by`: `served` on photographs, `alike` on made images, and of those only where
    catdog is decided. `pictures_digest` hashes the images.
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
        """The comparison that decides."""
        return self.served if self.judged_by == "served" else self.alike


def choose_pictures(folder: Path | None, shared: Path | None) -> list[Source]:
    """Return which images to compare on: those under `folder`, or the shared photographs, or else none.

    Raises:
        ExportError: `folder` holds no file.
    """
    photographs = shared and shared / "cat-and-dog" / "test"
    chosen = folder or (photographs if photographs and photographs.is_dir() else None)
    if chosen is None:
        return []
    found: list[Source] = list(find_pictures([chosen], recursive=True)) if chosen.exists() else []
    if not found:
        raise ExportError(f"Pictures to compare on are needed. Received: none in {chosen}.")
    return found


def made_pictures(count: int = MADE_PICTURES, size: int = 256) -> list[bytes]:
    """Make images if there are no photographs, always the same: gradients, noise and shapes, as PNG."""
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = []
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
        pictures.append(buffer.getvalue())
    return pictures


def compare(
    version: ModelVersion, kind: ExportFormat, name: str, path: Path, settings: Settings, pictures: Sequence[Source]
) -> Certificate:
    """Run an export in its own runtime, and catdog, on the same images.

    Args:
        version: what was exported.
        kind: the format.
        name: what the export will be called.
        path: where it lies now.
        settings: of the path that serves.
        images: at most 500 of them are taken, spread evenly; made ones if empty.

    Raises:
        ExportError: the export can't be run, or no image can be used.
    """
    try:
        run, precision = FORMATS[kind].load(path)
    except Exception as error:  # each runtime has exceptions of its own
        raise _cannot_run(error) from error
    predictor = same = Predictor(version, settings=settings)
    if predictor.precision != precision:
        own = settings.model_copy(update={"precision": "bf16" if precision == "bf16" else "f32"})
        same = Predictor(version, settings=own)
    asked = pictures[:: -(-len(pictures) // MOST_PICTURES)] if pictures else _decided(same, made_pictures())
    usable, pixels = _decode(predictor, asked)
    if not usable:
        raise ExportError(f"Pictures to compare on are needed. Received: {len(asked)}, none of which can be used.")
    try:
        given = _run(run, pixels)
    except Exception as error:  # as above
        raise _cannot_run(error) from error
    if given.shape != (len(pixels), len(version.classes)):
        expected = (len(pixels), len(version.classes))
        raise ExportError(f"An export answers probabilities of shape {expected}. Received: {given.shape}.")
    served = _against(predictor, usable, given)
    alike = served if same is predictor else _against(same, usable, given)
    return Certificate(
        export=name,
        format=kind,
        model_version=version.number,
        trusted=(served if pictures else alike).agreement >= LEAST_AGREEMENT,
        least_agreement=LEAST_AGREEMENT,
        judged_by="served" if pictures else "alike",
        served=served,
        alike=alike,
        export_precision=precision,
        pictures=len(usable),
        pictures_made=not pictures,
        pictures_digest=_digest(usable),
        unusable=len(asked) - len(usable),
        bytes=sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()),
        versions=_versions(),
    )


def add_certificate(path: Path, certificate: Certificate) -> None:
    """Put a certificate into `parity.json`, keeping those of other exports in the same folder."""
    try:
        exports = dict(read_json_file(path)["exports"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not one of ours
        exports = {}
    write_json(path, {"exports": {**exports, certificate.export: certificate.as_dict()}})


def _cannot_run(error: Exception) -> ExportError:
    return ExportError(f"The export cannot be run in its own runtime. Received: {error}.")


def _decided(predictor: Predictor, pictures: Sequence[bytes]) -> list[Source]:
    """Keep the images on which catdog is decided, in their order; the surest few where they are fewer."""
    answers = [answer for answer in predictor.predict_stream(pictures) if isinstance(answer, Prediction)]
    ordered = np.sort([list(answer.probabilities.values()) for answer in answers], axis=1)
    leads = ordered[:, -1] - ordered[:, -2]
    count = max(FEWEST_MADE, int((leads >= DECIDED).sum()))
    return [pictures[index] for index in sorted(np.argsort(-leads, kind="stable")[:count])]


def _decode(predictor: Predictor, pictures: Sequence[Source]) -> tuple[list[Source], list[Pixels]]:
    """Decode the images that can be used, as serving does."""
    usable, pixels = [], []
    for picture in pictures:
        try:
            pixels.append(
                decode(
                    read_picture(picture, predictor.settings.max_picture_bytes),
                    predictor.backbone.info.image_size,
                    predictor.limits,
                )
            )
        except PictureError:
            continue
        usable.append(picture)
    return usable, pixels


def _run(run: Run, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
    starts = range(0, len(pixels), _BATCH)
    batches = (np.stack(pixels[start : start + _BATCH]).astype(np.float32) for start in starts)
    return np.concatenate([np.asarray(run(batch), np.float32) for batch in batches])


def _against(predictor: Predictor, pictures: Sequence[Source], given: NDArray[np.float32]) -> Comparison:
    answers = [answer for answer in predictor.predict_stream(pictures) if isinstance(answer, Prediction)]
    labels = np.array([answer.class_id for answer in answers])
    probabilities = np.array([list(answer.probabilities.values()) for answer in answers])
    same = (given.argmax(axis=1) == labels) & np.isfinite(given).all(axis=1)
    difference = np.nan_to_num(np.abs(given - probabilities), nan=1.0)
    return Comparison(predictor.precision, float(same.mean()), float(difference.max()))


def _digest(pictures: Sequence[Source]) -> str:
    """Hash the hashes of the images, whatever their order."""
    hashes = sorted(hashlib.sha256(read_picture(picture, None)).hexdigest() for picture in pictures)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _versions() -> dict[str, str]:
    """Name the versions of what wrote, ran and served the export, as far as it is installed."""
    installed = {found.name.replace("_", "-").lower(): found.version for found in metadata.distributions()}
    installed["tensorflow"] = installed.get("tensorflow") or installed.get("tensorflow-cpu", "")
    return {"catdog": __version__, **{name: installed[name] for name in _PACKAGES if installed.get(name)}}
