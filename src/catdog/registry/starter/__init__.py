"""The bundled model: answers at once, offline, on a machine that never trained.

`version/` holds a version as `catdog train` saved it, `backbone/` the backbone that it was fitted on. They were made by
the recipe in `docs/model_card.md` and are installed into an empty store as version 1.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from filelock import FileLock

from catdog.errors import StoreError
from catdog.features.backbone import read_info, settle
from catdog.registry.store import ModelStore, ModelVersion
from catdog.storage.files import sync_folder, sync_tree

STARTER: Final = "starter"
BUNDLE: Final = Path(__file__).parent


def install_backbone(models_dir: Path) -> Path:
    """Put the bundled backbone into a store, unless it is there; returns its folder."""
    info = read_info(BUNDLE / "backbone")
    folder = models_dir / "backbones" / info.id
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            settle(Path(shutil.copytree(BUNDLE / "backbone", Path(temporary) / info.id)), folder)
    return folder


def ensure_champion(models_dir: Path) -> None:
    """Install the bundled model into a store where nothing was ever promoted, and promote it; otherwise do nothing.

    It is version 1, or the next one where versions were trained that are not to be served. Where `champion.json` was
    removed, nothing takes its place.
    """
    store = ModelStore(models_dir)
    if store.champion() is not None:
        return
    models_dir.mkdir(parents=True, exist_ok=True)
    # Several processes may be the first at once: those that come later wait until there is a champion.
    with FileLock(models_dir / ".starter.lock"):
        if not (store.numbers() and store.has_promoted()):
            install_backbone(models_dir)
            version = store.adopt(BUNDLE / "version")
            store.promote(version.number, "the bundled model")


class TemporaryModels:
    """The bundled model in a temporary store, for a server whose own store cannot be written; goes with the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="catdog-", ignore_cleanup_errors=True)
        models_dir = Path(self._folder.name)
        ensure_champion(models_dir)
        self.version = ModelStore(models_dir).get()


def write_bundle(version: ModelVersion, target: Path) -> int:
    """Write a version and its backbone as a bundle: what `src/catdog/registry/starter/` holds.

    Left out are the report, which shows photographs, and where the data lay. The version comes last: where it stands,
    the bundle is whole. A backbone alone is what a killed writing left; it is replaced.

    Returns:
        The bytes of its files together.

    Raises:
        StoreError: `target` holds a bundle.
    """
    if (target / "version").exists():
        raise StoreError(f"The folder for a bundle must not hold one. Received: {target}.")
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(".new-*"):  # by a call that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target, ignore_cleanup_errors=True) as temporary:
        new = Path(temporary)
        shutil.copytree(version.backbone_path, new / "backbone")
        version.copy_for_bundle(new / "version")
        size = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
        sync_tree(new)
        if (target / "backbone").exists():
            read_info(target / "backbone")  # anything else of that name is not ours to replace
            shutil.rmtree(target / "backbone")
        for name in ("backbone", "version"):
            (new / name).replace(target / name)
        sync_folder(target)
    return size
