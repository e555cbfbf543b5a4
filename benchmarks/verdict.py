"""Cost of the verdict: time of a prediction with novelty and verdict against one without.

    python benchmarks/verdict.py --pictures ../shared/photos [--rounds 7]

Alternates both in one thread; compare the ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from catdog.data.walking import find_pictures
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.settings import load_settings


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    settings = load_settings()
    ensure_champion(settings.models_dir)
    predictor = Predictor(settings=settings, threads=1)
    images = [path.read_bytes() for path in find_pictures([arguments.pictures], recursive=True)]

    def without(image: bytes) -> object:
        return predictor.head.probabilities(predictor.features(image))

    def spent(function: Callable[[bytes], object]) -> float:
        start = time.perf_counter()
        for image in images:
            function(image)
        return (time.perf_counter() - start) / len(images)

    spent(predictor.predict)
    ratios = []
    for _ in range(arguments.rounds):
        plain, whole = spent(without), spent(predictor.predict)
        ratios.append(whole / plain)
        print(f"with verdict {1000 * whole:.2f} ms / without {1000 * plain:.2f} ms = {ratios[-1]:.3f}")
    print(f"with / without verdict: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
