"""Cost of a swap: loading and checking a version whose backbone is already loaded, against loading everything.

    python benchmarks/swap.py [--rounds 15]

Alternates both on the champion of the home folder, with one thread as in a web process; compare the ratio.
"""

import argparse
import statistics
import time

from catdog.features.backbone import Backbone
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.settings import load_settings


def main() -> None:
    """Measure and print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    settings = load_settings()
    ensure_champion(settings.models_dir)
    loaded = Predictor(settings=settings, threads=1).backbone

    def swap(backbone: Backbone | None) -> float:
        start = time.perf_counter()
        predictor = Predictor(settings=settings, threads=1, backbone=backbone)
        predictor.version.try_out(predictor.backbone, (predictor.head, predictor.novelty))
        return 1000 * (time.perf_counter() - start)

    whole, shared = [], []
    for _ in range(arguments.rounds):
        whole.append(swap(None))
        shared.append(swap(loaded))
    for name, times in (("all loaded", whole), ("backbone shared", shared)):
        print(f"{name}: median {statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})")
    ratios = [a / b for a, b in zip(whole, shared, strict=True)]
    print(f"all / shared: median {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
