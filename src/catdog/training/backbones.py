"""Where a backbone comes from: the bundle, ImageNet, a file, an earlier version, or tuning one of these."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catdog.data.images.pixels import IMAGE_SIZE
from catdog.data.manifest import Manifest
from catdog.errors import BackboneError, UnknownBackboneError
from catdog.features.backbone import (
    IMAGENET,
    WEIGHTS,
    build_keras_backbone,
    download_imagenet,
    install_backbone,
    read_info,
)
from catdog.model.finetune.folding import BLOCKS
from catdog.model.finetune.options import FineTuneOptions, FineTuneProgress
from catdog.model.finetune.run import fine_tune
from catdog.registry import starter
from catdog.registry.starter import STARTER
from catdog.registry.store import ModelStore
from catdog.settings import Settings
from catdog.storage.regular_files import absolute


def resolve_backbone(name: str, settings: Settings, image_size: int = IMAGE_SIZE) -> Path:
    """Find or make the folder of a backbone.

    Args:
        name: `starter` (the bundled one), `imagenet`, the path of a weights file, or the number of a version.
        settings: where models lie.
        image_size: side in pixels that it is given; the backbone of a version or the starter keeps its own.

    Raises:
        BackboneError: none of these.
        DownloadError: the ImageNet weights can't be fetched.
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
    """Check the name of a backbone, before the work that needs it.

    Raises:
        UnknownBackboneError: it is none.
    """
    if name not in (STARTER, IMAGENET) and not name.isdecimal() and not _weights(name).is_file():
        raise UnknownBackboneError(
            "A backbone is starter, imagenet, a file of weights (PATH.weights.h5) or the number of a version. "
            f"Received: {name!r}."
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
    """Tune a backbone end to end on a data set and install the result; picks up where a stopped run stood.

    Args:
        folder: the backbone to begin with.
        manifest: its training images are tuned on, its validation images measured after each epoch.
        settings: where models lie; what a stopped run needs is kept there, in `fine-tune/`.
        options: the recipe. Its image size may be smaller than the one the backbone is given in the end, and should be:
            a network tuned on random crops sees larger animals than in whole images, and does better on these at a
            somewhat larger size (https://arxiv.org/abs/1906.06423). See `parse_tuning`.
        on_progress: called with (steps done, steps in all).

    Returns:
        The folder of the tuned backbone.
    """
    work_dir = settings.models_dir / "fine-tune"

    def tell(progress: FineTuneProgress) -> None:
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
        tell,
    )
    source = f"{folder.name}, tuned on {manifest.root.name} ({manifest.digest[:12]})"
    half = work_dir / "half.weights.h5"
    if not half.exists() or half.stat().st_mtime_ns < tuned.stat().st_mtime_ns:  # two writings differ in their bytes
        halve_weights(tuned, half, options.image_size)
    return install_backbone(half, settings.models_dir, image_size=read_info(folder).image_size, source=source)


def halve_weights(weights: Path, target: Path, image_size: int) -> Path:
    """Write a backbone's weights in half precision, half the size; returns `target`.

    Installed from this file, the OpenVINO and the Keras form of the backbone hold the same numbers.
    """
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


def parse_tuning(layers: str | None, epochs: int, seed: int, image_size: int) -> FineTuneOptions | None:
    """Read what a person asked to tune: None for nothing, `all`, or a number of blocks.

    It is tuned at 7/8 of the size that the backbone is to be given, rounded down to a multiple of 32: 224 for 256.

    Raises:
        BackboneError: neither of these.
    """
    if layers is None:
        return None
    if layers != "all" and layers not in map(str, range(1, BLOCKS + 1)):
        raise BackboneError(
            f"--fine-tune takes `all` or a number of blocks from 1 to {BLOCKS}. Received: {layers[:100]!r}."
        )
    blocks = None if layers == "all" else int(layers)
    size = max(32, image_size * 7 // 8 // 32 * 32)
    return FineTuneOptions(blocks=blocks, epochs=epochs, image_size=size, seed=seed)
