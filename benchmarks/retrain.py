"""Time from triggering a retraining on 100 images to a new version in every web process, against the usual way.

The usual way: start Python, import TensorFlow, load the whole model from an .h5 file, fit its head for 5 epochs on the
same images, save it, load it again. Both start cold. Images are uploaded `--pause` seconds before the trigger, which
starts the clock.

    python benchmarks/retrain.py --data pets --rounds 3

`--data` is a data set with `train/cats` and `train/dogs`.
"""

import argparse
import hashlib
import http.client
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from processes import free_port
from werkzeug.test import EnvironBuilder

PICTURES = 50
PROCESSES = 2
IN_A_ROW = 20  # responses of the new version in a row; with two processes, all from one of them has odds of 1 : 10^6

USUAL = """
import sys
import keras
folder, model, target = sys.argv[1:]
data = keras.utils.image_dataset_from_directory(folder, image_size=(256, 256), batch_size=32, verbose=False)
network = keras.models.load_model(model, compile=False)
for layer in network.layers:
    layer.trainable = layer.__class__.__name__ == "Dense"
network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
network.fit(data, epochs=5, verbose=0)
network.save(target)
keras.models.load_model(target)
"""


def main() -> None:
    """Measure both, in turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between upload and trigger")
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = choose(arguments.data, folder / "pictures")
        model = folder / "model.h5"
        environment = os.environ | {"CATDOG_HOME": str(folder / "export"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        export = [sys.executable, "-m", "catdog", "models", "export", "1", "--format", "h5", "--out", str(model)]
        subprocess.run(export, env=environment, check=True, stdout=subprocess.DEVNULL)
        for number in range(arguments.rounds):
            ours, result = retrain(folder / f"home-{number}", images, arguments.pause)
            usual = usual_way(images, model, folder / f"usual-{number}.h5")
            ratios.append(ours / usual)
            accuracies = [result["metrics"][name]["accuracy"] for name in ("champion", "challenger")]
            print(f"catdog {ours:.1f} s / usual {usual:.1f} s = {ratios[-1]:.2f}; {result['decision']}")
            print(f"accuracy {accuracies[0]:.4f} before, {accuracies[1]:.4f} after: {result['reason']}", flush=True)
    print(f"ratio: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def choose(data: Path, target: Path) -> Path:
    """Copy the first images of each class, adding a byte to change their hash, which the bundled model knows."""
    for name in ("cats", "dogs"):
        (target / name).mkdir(parents=True)
        for path in sorted((data / "train" / name).glob("*.jpg"))[:PICTURES]:
            content = path.read_bytes() + b"\0"
            (target / name / f"{hashlib.sha256(content).hexdigest()}.jpg").write_bytes(content)
    return target


def usual_way(images: Path, model: Path, target: Path) -> float:
    """Return the seconds of the usual way."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", USUAL, str(images), str(model), str(target)]
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def retrain(home: Path, images: Path, pause: float) -> tuple[float, dict[str, Any]]:
    """Serve the bundled model, upload, trigger; return the seconds until every process has it, and the result."""
    port = free_port()
    environment = os.environ | {"CATDOG_HOME": str(home), "PORT": str(port), "WEB_CONCURRENCY": str(PROCESSES)}
    environment |= {"CATDOG_HOST": "127.0.0.1", "CATDOG_TRACKING": "false"}
    server = subprocess.Popen([sys.executable, "-m", "catdog", "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: ask(port, "/readyz")["status"] == "ready")
        time.sleep(5)
        for folder in sorted(images.iterdir()):
            upload(port, folder)
        time.sleep(pause)
        started = time.perf_counter()
        ask(port, "/api/retrain/trigger", "POST")
        row, since = 0, started
        while row < IN_A_ROW:
            answered = ask(port, "/api/model/status")["version"] == 2
            row, since = (row + 1, since if row else time.perf_counter()) if answered else (0, since)
            status = ask(port, "/api/retrain/status")
            if status["state"] in ("failed", "cancelled"):
                raise RuntimeError(status["message"])
            time.sleep(0.02 if answered else 0.1)
        wait_for(lambda: ask(port, "/api/retrain/status")["result"])
        return since - started, ask(port, "/api/retrain/status")["result"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def upload(port: int, folder: Path) -> None:
    """Upload the images of one class."""
    files = [(io.BytesIO(path.read_bytes()), path.name) for path in sorted(folder.iterdir())]
    builder = EnvironBuilder(method="POST", data={"category": folder.name, "files[]": files})
    environ = builder.get_environ()
    kind = {"Content-Type": str(environ["CONTENT_TYPE"])}
    request = Request(f"http://127.0.0.1:{port}/api/retrain/upload", environ["wsgi.input"].read(), kind)
    with urlopen(request, timeout=60) as response:
        assert json.loads(response.read())["accepted"] == len(files)


def ask(port: int, path: str, method: str = "GET") -> dict[str, Any]:
    """Send a request on a new connection, which any process may accept."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        document: dict[str, Any] = json.loads(connection.getresponse().read())
        return document
    finally:
        connection.close()


def wait_for(condition: Any) -> None:
    """Wait until a condition holds; a server that doesn't listen yet counts as False."""
    for _ in range(1200):
        try:
            if condition():
                return
        except (OSError, KeyError):
            pass
        time.sleep(0.1)
    raise TimeoutError("The condition didn't hold within two minutes")


if __name__ == "__main__":
    main()
