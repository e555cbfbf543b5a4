"""A version as one zip, to be unpacked into another store.

    <n>/             the files of the version
    backbones/<id>/  the backbone that it needs

Unpacked in the `models` folder of another installation it is a version there, which `catdog models promote <n>` takes
into use.
"""

import json
import zipfile
from pathlib import Path
from typing import IO

from catdog.files import require_checksums
from catdog.store import ModelVersion


def pack(version: ModelVersion, target: IO[bytes]) -> None:
    """Write a version and its backbone into a zip.

    Of `metadata.json`, where the data lay is left out. Nothing is compressed: features and weights do not get smaller.

    Raises:
        VersionCorruptError: a file of the version is not as it was saved.
    """
    require_checksums(version.path, version.metadata["checksums"])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(version.metadata["checksums"]):
            archive.write(version.path / name, f"{version.number}/{name}")
        archive.writestr(f"{version.number}/metadata.json", json.dumps(_portable(version), indent=2))
        for path in _files(version.backbone_path):
            archive.write(path, f"backbones/{version.backbone_path.name}/{path.relative_to(version.backbone_path)}")


def _portable(version: ModelVersion) -> dict[str, object]:
    data = {key: value for key, value in version.metadata.get("data", {}).items() if key != "root"}
    return {**version.metadata, "data": data}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
