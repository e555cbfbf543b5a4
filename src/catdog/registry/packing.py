"""Packs a version into a zip for another installation.

    <n>/             the files of the version
    backbones/<id>/  its backbone

Unpack it in the `models` folder, then run `catdog models promote <n>`.
"""

import zipfile
from typing import IO

from catdog.features.backbone import read_info
from catdog.features.version_files import BACKBONE, METADATA
from catdog.registry.store import ModelVersion
from catdog.storage import strict_json
from catdog.storage.files import require_checksums


def pack(version: ModelVersion, target: IO[bytes]) -> None:
    """Write a version and its backbone to a zip, uncompressed and without the path of its data.

    Raises:
        VersionCorruptError: a file of the version or of its backbone is missing or changed.
    """
    require_checksums(version.path, version.metadata["checksums"])
    backbone = read_info(version.backbone_path)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(version.metadata["checksums"]):
            archive.write(version.path / name, f"{version.number}/{name}")
        archive.writestr(f"{version.number}/{METADATA}", strict_json.dumps(version.portable(), indent=2))
        for name in sorted({*backbone.checksums, BACKBONE}):
            archive.write(version.backbone_path / name, f"backbones/{backbone.id}/{name}")
