"""The bundled model, which makes predictions available offline before any training.

`version/` is a version saved by `catdog train`, `backbone/` its backbone. `docs/model_card.md` has the recipe. Both are
installed into an empty store as version 1.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from filelock import FileLock

from catdog.errors import StoreError
from catdog.features.backbone import read_info
from catdog.features.weights import move_into_place
from catdog.registry.store import ModelStore, ModelVersion
from catdog.storage.files import sync_folder, sync_tree

STARTER: Final = "starter"
BUNDLE: Final = Path(__file__).parent


def install_backbone(models_dir: Path) -> Path:
    """Install the bundled backbone into a store unless it exists; return its folder."""
    info = read_info(BUNDLE / "backbone")
    folder = models_dir / "backbones" / info.id
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            move_into_place(Path(shutil.copytree(BUNDLE / "backbone", Path(temporary) / info.id)), folder)
    return folder


def ensure_champion(models_dir: Path) -> None:
    """Install and promote the bundled model, unless the store ever had a champion.

    It becomes version 1, or the next free number. It doesn't replace a removed `champion.json`.
    """
    store = ModelStore(models_dir)
    if store.champion() is not None:
        return
    models_dir.mkdir(parents=True, exist_ok=True)
    # Several processes may start at once; the others wait until there is a champion.
    with FileLock(models_dir / ".starter.lock"):
        if not (store.numbers() and store.has_promoted()):
            install_backbone(models_dir)
            version = store.adopt(BUNDLE / "version")
            store.promote(version.number, "the bundled model")


class TemporaryModels:
    """The bundled model in a temporary store, for a server whose own store isn't writable."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="catdog-", ignore_cleanup_errors=True)
        models_dir = Path(self._folder.name)
        ensure_champion(models_dir)
        self.version = ModelStore(models_dir).get()


def write_bundle(version: ModelVersion, target: Path) -> int:
    """Write a version and its backbone as a bundle, in the layout of `src/catdog/registry/starter/`.

    Leaves out the report, which shows photographs, and the path of the data.

    Returns:
        The total size of its files in bytes.

    Raises:
        StoreError: `target` already contains a bundle.
    """
    # The version is written last: a backbone alone is left by a killed call, and is replaced.
    if (target / "version").exists():
        raise StoreError(f"{target} already contains a bundle. Choose another folder.")
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(".new-*"):  # by a killed call
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target, ignore_cleanup_errors=True) as temporary:
        new = Path(temporary)
        shutil.copytree(version.backbone_path, new / "backbone")
        version.copy_for_bundle(new / "version")
        size = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
        sync_tree(new)
        if (target / "backbone").exists():
            read_info(target / "backbone")  # raises if it is something else, which must not be deleted
            shutil.rmtree(target / "backbone")
        for name in ("backbone", "version"):
            (new / name).replace(target / name)
        sync_folder(target)
    return size
