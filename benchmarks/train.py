"""Speed of training: embedding against a bare loop, and the whole of `catdog train` against the usual way.

    python benchmarks/train.py --data ../shared/cat-and-dog --weights PATH.weights.h5 [--views 4] [--pictures 2000]

Everything runs alternately on the same machine; compare the ratios.

- embed / bare: `features.embed` with its cache, against decoding and inference alone, with one view.
- usual / catdog: Keras with a frozen MobileNetV2, augmentation layers and 20 epochs, extrapolated from part of an
  epoch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from catdog.data.dataset import Picture, scan
from catdog.data.images.pixels import decode
from catdog.features.backbone import Backbone
from catdog.features.embedding import FeatureCache, embed
from catdog.features.weights import install_backbone
from catdog.parallel import bounded_map
from catdog.settings import Settings, load_settings
from catdog.storage.database import open_database

USUAL_EPOCHS = 20
USUAL_BATCH = 32


def time_embed(images: list[Picture], backbone: Backbone, settings: Settings) -> float:
    """Return the seconds for embedding images into an empty cache."""
    with tempfile.TemporaryDirectory() as home:
        engine = open_database(load_settings(home=home))
        start = time.perf_counter()
        embed(images, backbone, FeatureCache(engine, backbone.info.id), threads=settings.resolved_threads)
        spent = time.perf_counter() - start
        engine.dispose()
    return spent


def time_bare(images: list[Picture], backbone: Backbone, settings: Settings) -> float:
    """Return the seconds for reading, decoding and inference alone."""
    start = time.perf_counter()

    def one(image: Picture) -> object:
        return backbone.features(decode(image.path.read_bytes()))

    for _ in bounded_map(one, images, settings.resolved_threads + 1):
        pass
    return time.perf_counter() - start


def time_usual_way(data: Path, weights: Path, steps: int) -> float:
    """Return the estimated seconds of the usual Keras training; runs it in a separate process."""
    code = Path(__file__).with_name("usual_training.py")
    command = [sys.executable, str(code), str(data), str(weights), str(USUAL_EPOCHS), str(USUAL_BATCH), str(steps)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(answer.stdout.splitlines()[-1])["seconds"])


def time_catdog(data: Path, weights: Path, views: int) -> tuple[float, dict[str, object]]:
    """Return the seconds of `catdog train` on an empty home, and the document it prints."""
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-m", "catdog", "train", data, "--backbone", weights, "--views", str(views), "--json"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "CATDOG_HOME": home},
        )
        return time.perf_counter() - start, json.loads(answer.stdout)


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of the usual way per round")
    arguments = parser.parse_args()

    settings = load_settings()
    images = scan(arguments.data, settings).manifest.select("train")[: arguments.pictures]
    with tempfile.TemporaryDirectory() as models:
        folder = install_backbone(arguments.weights, Path(models))
        backbone = Backbone(folder, precision=settings.precision, threads=settings.resolved_threads)
        time_bare(images[:200], backbone, settings)
        ratios = []
        for _ in range(arguments.rounds):
            bare, embedding = (f(images, backbone, settings) for f in (time_bare, time_embed))
            ratios.append(embedding / bare)
            speed = len(images) / bare
            print(f"embed {embedding:.1f} s / bare {bare:.1f} s ({speed:.0f} images/s) = {ratios[-1]:.2f}")
    print(f"embed / bare: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})\n")

    for views in arguments.views:
        ratios = []
        for _ in range(arguments.rounds):
            usual = time_usual_way(arguments.data, arguments.weights, arguments.steps)
            spent, result = time_catdog(arguments.data, arguments.weights, views)
            ratios.append(usual / spent)
            print(
                f"usual way {usual:.0f} s (extrapolated) / catdog {spent:.1f} s = {ratios[-1]:.1f}; {result['seconds']}"
            )
        middle = statistics.median(ratios)
        print(f"usual / catdog, {views} views: median {middle:.1f} ({min(ratios):.1f} to {max(ratios):.1f})\n")


if __name__ == "__main__":
    main()
