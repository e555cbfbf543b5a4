"""Sources of backbones: the bundled one, ImageNet, a file, an earlier version, or fine-tuning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catdog.data.images.pixels import IMAGE_SIZE
from catdog.data.manifest import Manifest
from catdog.errors import BackboneError, UnknownBackboneError
from catdog.features.backbone import WEIGHTS, read_info
from catdog.features.weights import IMAGENET, build_keras_backbone, download_imagenet, install_backbone
from catdog.model.finetune.folding import BLOCKS
from catdog.model.finetune.options import FineTuneOptions, FineTuneProgress
from catdog.model.finetune.run import fine_tune
from catdog.registry import starter
from catdog.registry.starter import STARTER
from catdog.registry.store import ModelStore
from catdog.settings import Settings
from catdog.storage.regular_files import absolute


def resolve_backbone(name: str, settings: Settings, image_size: int = IMAGE_SIZE) -> Path:
    """Return the folder of a backbone, installing it if necessary.

    Args:
        name: `starter` (bundled), `imagenet`, the path of a weights file, or the number of a version.
        settings: the settings.
        image_size: side of its input in pixels; the backbone of a version or `starter` keeps its own.

    Raises:
        BackboneError: there is no such backbone.
        DownloadError: the ImageNet weights can't be downloaded.
    """
    if name == STARTER:
        return starter.install_backbone(settings.models_dir)
    if name == IMAGENET:
        weights = download_imagenet(settings.weights_url, settings.models_dir)
        origin = "ImageNet weights of Keras Applications"
        return install_backbone(weights, settings.models_dir, image_size=image_size, source=origin)
    if name.isdecimal():
        return ModelStore(settings.models_dir).get(int(name)).backbone_path
    require_backbone_name(name)
    return install_backbone(_weights(name), settings.models_dir, image_size=image_size)


def require_backbone_name(name: str) -> None:
    """Check the name of a backbone.

    Raises:
        UnknownBackboneError: there is no such backbone.
    """
    if name not in (STARTER, IMAGENET) and not name.isdecimal() and not _weights(name).is_file():
        raise UnknownBackboneError(
            f"Unknown backbone {name!r}. Use starter, imagenet, a weights file (PATH.weights.h5) or the number of a "
            "version."
        )


def _weights(name: str) -> Path:
    return absolute(Path(name))


def tune_backbone(
    folder: Path,
    manifest: Manifest,
    settings: Settings,
    options: FineTuneOptions,
    on_progress: Callable[[int, int], None],
) -> Path:
    """Fine-tune a backbone end to end on a data set and install the result; resumes a stopped run.

    Args:
        folder: the initial backbone.
        manifest: provides training images, and validation images to measure after each epoch.
        settings: the settings. The state of a stopped run is kept in `fine-tune/` in the models folder.
        options: the recipe. Its image size should be smaller than the backbone's (see `parse_fine_tuning`).
        on_progress: called with (steps done, total steps).

    Returns:
        The folder of the fine-tuned backbone.
    """
    work_dir = settings.models_dir / "fine-tune"

    def report(progress: FineTuneProgress) -> None:
        done = (progress.epoch - 1) * progress.steps + progress.step
        on_progress(done, progress.epochs * progress.steps)

    tuned = fine_tune(
        folder / WEIGHTS,
        manifest.paths("train"),
        manifest.labels("train"),
        (manifest.paths("validation"), manifest.labels("validation")),
        len(manifest.classes),
        options,
        work_dir,
        report,
    )
    source = f"{folder.name}, tuned on {manifest.root.name} ({manifest.digest[:12]})"
    half = work_dir / "half.weights.h5"
    if not half.exists() or half.stat().st_mtime_ns < tuned.stat().st_mtime_ns:  # not twice: the bytes would differ
        halve_weights(tuned, half, options.image_size)
    return install_backbone(half, settings.models_dir, image_size=read_info(folder).image_size, source=source)


def halve_weights(weights: Path, target: Path, image_size: int) -> Path:
    """Write a backbone's weights in half precision, so its OpenVINO and Keras files hold the same values."""
    import h5py

    network = build_keras_backbone(weights, image_size)
    network.set_weights([array.astype(np.float16).astype(np.float32) for array in network.get_weights()])
    network.save_weights(target)
    with h5py.File(target, "r") as full, h5py.File(target.with_suffix(".part"), "w") as half:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                half.create_dataset(name, data=item[()].astype(np.float16))
            else:
                half.require_group(name)
            for key, value in item.attrs.items():
                half[name].attrs[key] = value

        full.visititems(copy)
        for key, value in full.attrs.items():
            half.attrs[key] = value
    target.with_suffix(".part").replace(target)
    return target


def parse_fine_tuning(layers: str | None, epochs: int, seed: int, image_size: int) -> FineTuneOptions | None:
    """Parse `--fine-tune`: None, `all`, or a number of blocks.

    The training size is 7/8 of the backbone's image size, rounded down to a multiple of 32: 224 for 256.

    Raises:
        BackboneError: the value is invalid.
    """
    # Random crops show larger objects than whole images do, so the network does better at a slightly larger size
    # than it was trained at (https://arxiv.org/abs/1906.06423).
    if layers is None:
        return None
    if layers != "all" and layers not in map(str, range(1, BLOCKS + 1)):
        raise BackboneError(
            f"Invalid --fine-tune {layers[:100]!r}. Use `all` or a number of blocks from 1 to {BLOCKS}."
        )
    blocks = None if layers == "all" else int(layers)
    size = max(32, image_size * 7 // 8 // 32 * 32)
    return FineTuneOptions(blocks=blocks, epochs=epochs, image_size=size, seed=seed)
