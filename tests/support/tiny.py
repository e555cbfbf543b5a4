"""A backbone of a few kilobytes, which loads in milliseconds, for tests of what stands around it."""

import json
from pathlib import Path

import numpy as np

from catdog.features.frameworks import import_openvino
from catdog.storage.files import file_sha256

SIDE = 32
FEATURES = 4


def write_backbone(folder: Path, *, weight: float = 1.0, **changes: object) -> None:
    """Write a backbone whose features are weighted means of the colours.

    Args:
        folder: where to; its name is the id.
        weight: of the colours.
        changes: of what `backbone.json` says.
    """
    ov = import_openvino()
    from openvino import opset13 as ops

    folder.mkdir(parents=True, exist_ok=True)
    pixels = ops.parameter([1, SIDE, SIDE, 3], np.uint8, name="pixels")
    means = ops.reduce_mean(ops.convert(pixels, "f32"), np.array([1, 2]), keep_dims=True)
    weights = np.full((3, FEATURES), weight, np.float32) / 255
    last_map = ops.matmul(means, ops.constant(weights), False, False)
    features = ops.reshape(last_map, np.array([1, FEATURES]), False)
    model = ov.Model([features, last_map], [pixels])
    for output, name in zip(model.outputs, ("features", "map"), strict=True):
        output.get_tensor().set_names({name})
    ov.save_model(model, folder / "backbone.xml", compress_to_fp16=False)
    describe_backbone(folder, **changes)


def describe_backbone(folder: Path, **changes: object) -> None:
    """Write `backbone.json` for the files that lie in a folder."""
    checksums = {name: file_sha256(folder / name) for name in ("backbone.xml", "backbone.bin")}
    info = {"id": folder.name, "image_size": SIDE, "features": FEATURES, "source": "made for a test"}
    (folder / "backbone.json").write_text(json.dumps({**info, "checksums": checksums, **changes}))
