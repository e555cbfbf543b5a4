"""A version as one zip, to be unpacked into another store.

    <n>/             the files of the version
    backbones/<id>/  the backbone that it needs

Unpacked in the `models` folder of another installation it is a version there, which `catdog models promote <n>` takes
into use.
"""

import zipfile
from typing import IO

from catdog.features.backbone import read_info
from catdog.features.version_files import BACKBONE, METADATA
from catdog.registry.store import ModelVersion
from catdog.storage import strict_json
from catdog.storage.files import require_checksums


def pack(version: ModelVersion, target: IO[bytes]) -> None:
    """Write a version and its backbone into a zip.

    Of `metadata.json`, where the data lay is left out. Nothing is compressed: features and weights don't get smaller.

    Raises:
        VersionCorruptError: a file of the version or of its backbone isn't as it was saved.
    """
    require_checksums(version.path, version.metadata["checksums"])
    backbone = read_info(version.backbone_path)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(version.metadata["checksums"]):
            archive.write(version.path / name, f"{version.number}/{name}")
        archive.writestr(f"{version.number}/{METADATA}", strict_json.dumps(version.portable(), indent=2))
        for name in sorted({*backbone.checksums, BACKBONE}):
            archive.write(version.backbone_path / name, f"backbones/{backbone.id}/{name}")
