import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawing import draw

from catdog.errors import BackboneError, DownloadError, VersionCorruptError
from catdog.features.backbone import Backbone, load_backbone, read_info
from catdog.features.weights import build_keras_backbone, download_imagenet, install_backbone
from catdog.registry.store import ModelStore
from catdog.settings import Settings


@pytest.fixture
def folder(trained: Settings, tmp_path: Path) -> Path:
    """A copy of the backbone that `trained` was trained on."""
    original = ModelStore(trained.models_dir).get().backbone_path
    return Path(shutil.copytree(original, tmp_path / original.name))


@pytest.fixture
def picture() -> np.ndarray:
    return np.asarray(draw("cat", 3, (224, 224)))


def test_features_match_keras(folder: Path, picture: np.ndarray) -> None:
    network = build_keras_backbone(folder / "backbone.weights.h5", 224)
    expected = network.predict(picture[None].astype(np.float32) / 127.5 - 1, verbose=0).mean(axis=(1, 2))[0]
    features = Backbone(folder, precision="f32").features(picture)
    assert features.shape == (1280,)
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 0.03 * expected.max()  # half-precision weights


def test_threads_do_not_interfere(folder: Path) -> None:
    backbone = Backbone(folder, threads=2)
    pictures = [np.asarray(draw("dog", i, (224, 224))) for i in range(24)]
    alone = [backbone.features(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backbone.features, pictures))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_the_same_weights_are_converted_once(weights: Path, trained: Settings) -> None:
    first = install_backbone(weights, trained.models_dir)
    written = (first / "backbone.bin").stat().st_mtime_ns
    assert install_backbone(weights, trained.models_dir) == first
    assert (first / "backbone.bin").stat().st_mtime_ns == written
    assert not list(first.parent.glob(".new-*"))


def test_the_features_are_the_mean_of_the_map(folder: Path) -> None:
    backbone = Backbone(folder, threads=2)
    pictures = [np.asarray(draw("cat", i, (224, 224))) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:  # the first call compiles
        found = list(pool.map(backbone.features_and_map, pictures))
    for picture, (features, last_map) in zip(pictures, found, strict=True):
        assert (last_map.shape, last_map.dtype) == ((7, 7, 1280), np.float32)
        assert np.abs(last_map.mean(axis=(0, 1)) - features).max() < 0.01 * features.max()
        assert np.abs(backbone.features(picture) - features).max() < 0.01 * features.max()


@pytest.mark.parametrize("name", ["backbone.bin", "backbone.xml", "backbone.weights.h5"])
def test_a_damaged_file_is_detected(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(VersionCorruptError, match=name):
        read_info(folder)
    (folder / name).unlink()
    with pytest.raises(VersionCorruptError, match="missing"):
        Backbone(folder)


def test_a_loaded_backbone_is_reused_only_if_same_and_intact(folder: Path, tmp_path: Path) -> None:
    loaded = Backbone(folder)
    assert load_backbone(folder, loaded=loaded) is loaded
    assert load_backbone(folder, threads=2, loaded=loaded) is not loaded
    assert load_backbone(folder, precision="f32", loaded=loaded) is not loaded
    elsewhere = Path(shutil.copytree(folder, tmp_path / "elsewhere" / folder.name))
    assert load_backbone(elsewhere, loaded=loaded) is loaded
    document = json.loads((elsewhere / "backbone.json").read_text())
    (elsewhere / "backbone.json").write_text(json.dumps(document | {"source": "other weights"}))
    assert load_backbone(elsewhere, loaded=loaded) is not loaded
    with (folder / "backbone.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(VersionCorruptError, match=r"backbone\.bin"):
        load_backbone(folder, loaded=loaded)


def test_unsuitable_weights_are_rejected_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"No file .*absent"):
        install_backbone(tmp_path / "absent.weights.h5", tmp_path / "models")
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights at all")
    with pytest.raises(BackboneError, match="don't fit MobileNetV2"):
        install_backbone(tmp_path / "bad.weights.h5", tmp_path / "models")
    assert not list((tmp_path / "models").rglob("*.*"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a stand-in for the host of the ImageNet weights."""
    (tmp_path / "www").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "www"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as stand_in:
        threading.Thread(target=stand_in.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{stand_in.server_port}"
        stand_in.shutdown()


def test_imagenet_weights_are_downloaded_once(server: str, weights: Path, tmp_path: Path) -> None:
    shutil.copy(weights, tmp_path / "www" / "mobilenet.weights.h5")
    url = f"{server}/mobilenet.weights.h5"
    fetched = download_imagenet(url, tmp_path / "models")
    assert fetched.read_bytes() == weights.read_bytes()
    (tmp_path / "www" / "mobilenet.weights.h5").unlink()
    assert download_imagenet(url, tmp_path / "models") == fetched
    assert install_backbone(fetched, tmp_path / "models").is_dir()


def test_without_a_network_the_message_says_what_to_do(server: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"--backbone PATH\.weights\.h5, or set CATDOG_WEIGHTS_URL to a mirror"):
        download_imagenet(f"{server}/absent.h5", tmp_path / "models")
    assert not list((tmp_path / "models" / "backbones").iterdir())


def test_first_images_in_several_threads_do_not_deadlock(folder: Path) -> None:
    code = (
        "import sys, threading, numpy as np; from pathlib import Path; from catdog.features.backbone import Backbone\n"
        "backbone, gate = Backbone(Path(sys.argv[1]), threads=3), threading.Barrier(3)\n"
        "def first():\n"
        "    gate.wait(); backbone.features(np.zeros((224, 224, 3), np.uint8))\n"
        "threads = [threading.Thread(target=first, daemon=True) for _ in range(3)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; print('done')"
    )
    for _ in range(4):
        finished = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, timeout=60
        )
        assert finished.stdout == "done\n"
