"""Pretrained weights: downloaded, converted for OpenVINO, and installed as a backbone."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from catdog.data.images.pixels import IMAGE_SIZE
from catdog.errors import BackboneError, DownloadError
from catdog.features.backbone import FEATURES_OUTPUT, MAP_OUTPUT, NETWORK, WEIGHTS, BackboneInfo, read_info
from catdog.features.frameworks import import_keras, import_openvino, openvino_core
from catdog.features.version_files import BACKBONE
from catdog.storage.files import file_sha256, sync_folder, sync_tree, write_json

IMAGENET: Final = "imagenet"


def install_backbone(
    weights: Path, models_dir: Path, *, image_size: int = IMAGE_SIZE, source: str | None = None
) -> Path:
    """Convert Keras weights to a backbone folder, unless it exists already.

    Args:
        weights: an `.h5` or `.weights.h5` file for `keras.applications.MobileNetV2(include_top=False)`.
        models_dir: the store's folder.
        image_size: side of the input images in pixels.
        source: origin of the weights, for the record; by default the file's name.

    Returns:
        The folder, `models_dir/backbones/<id>`.

    Raises:
        BackboneError: the file is missing or doesn't fit MobileNetV2.
        MissingDependencyError: Keras isn't installed.
    """
    if not weights.is_file():
        raise BackboneError(f"No file {weights}. Name a file of MobileNetV2 weights (.weights.h5).")
    backbone_id = f"mobilenetv2-{image_size}-{file_sha256(weights)[:12]}"
    folder = models_dir / "backbones" / backbone_id
    if folder.exists():
        read_info(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        new = Path(temporary) / backbone_id
        new.mkdir()
        width = _convert(weights, image_size, new)
        shutil.copyfile(weights, new / WEIGHTS)
        checksums = {path.name: file_sha256(path) for path in sorted(new.iterdir())}
        info = BackboneInfo(backbone_id, image_size, width, source or weights.name, checksums)
        write_json(new / BACKBONE, asdict(info))
        move_into_place(new, folder)
    return folder


def move_into_place(new: Path, folder: Path) -> None:
    """Flush a new backbone folder to disk and rename it to `folder`, unless the same backbone is there already."""
    sync_tree(new)
    try:
        new.rename(folder)
    except OSError:  # another process was faster
        if not folder.exists():
            raise
        read_info(folder)
    sync_folder(folder.parent)


def download_imagenet(url: str, models_dir: Path) -> Path:
    """Return the file of MobileNetV2's ImageNet weights, downloading it if necessary.

    Raises:
        DownloadError: it can't be downloaded; says what to do without a network.
        MissingDependencyError: Keras isn't installed.
    """
    keras = import_keras()
    target = models_dir / "backbones" / Path(url).name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as temporary:
        try:
            fetched = keras.utils.get_file(target.name, origin=url, cache_dir=temporary, cache_subdir=".")
        except Exception as error:  # Keras raises plain Exception for most failures
            raise DownloadError(
                f"Can't download the ImageNet weights from {url}: {error}. Without a network, download the file "
                "elsewhere and pass --backbone PATH.weights.h5, or set CATDOG_WEIGHTS_URL to a mirror."
            ) from error
        Path(fetched).replace(target)
    return target


def build_keras_backbone(weights: Path | None, image_size: int) -> Any:
    """Build Keras' MobileNetV2 (alpha 1.0, no top; https://arxiv.org/abs/1801.04381).

    It maps `(N, size, size, 3) float32 in [-1, 1]` to `(N, size / 32, size / 32, 1280) float32`.

    Raises:
        BackboneError: the weights don't fit.
    """
    keras = import_keras()
    network = keras.applications.MobileNetV2(input_shape=(image_size, image_size, 3), include_top=False, weights=None)
    if weights is not None:
        try:
            network.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            raise BackboneError(
                f"The weights in {weights} don't fit MobileNetV2 (alpha 1.0, no top): {error}"
            ) from error
    return network


def scale_pixels(keras: Any) -> Callable[[Any], Any]:
    """Return the layer that maps `[0, 255]` to MobileNetV2's `[-1, 1]`."""
    layer: Callable[[Any], Any] = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")
    return layer


def _convert(weights: Path, image_size: int, folder: Path) -> int:
    """Write the OpenVINO IR and return the length of the feature vector."""
    ov = import_openvino()
    network = build_keras_backbone(weights, image_size)
    keras = import_keras()
    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    last_map = network(scale_pixels(keras)(pixels))
    pooled = keras.layers.GlobalAveragePooling2D()(last_map)
    whole = keras.Model([pixels], {FEATURES_OUTPUT: pooled, MAP_OUTPUT: last_map})
    with tempfile.TemporaryDirectory(prefix=".saved-", dir=folder.parent) as saved:
        # Converting the model in memory fails on Python 3.13.
        whole.export(saved, format="tf_saved_model", verbose=False)
        model = openvino_core().read_model(saved)
    for output in model.outputs:
        is_vector = len(output.get_partial_shape()) == 2
        output.get_tensor().set_names({FEATURES_OUTPUT if is_vector else MAP_OUTPUT})
    model.reshape([1, image_size, image_size, 3])
    # Half-precision weights halve the file, and their error is far below that of bf16 arithmetic.
    ov.save_model(model, folder / NETWORK[0], compress_to_fp16=True)
    return int(pooled.shape[-1])
