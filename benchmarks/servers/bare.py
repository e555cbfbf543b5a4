"""No server: decoding and inference of images in memory, in several processes.

    python benchmarks/servers/bare.py LIST --processes 2 --seconds 10 --part predict|features

An upper bound for servers with the same model, used by `benchmarks/serve.py`. `predict` is a whole prediction
(decoding, inference, head, novelty), `features` only decodes and runs the backbone. Prints one line of JSON: answers,
seconds, and percentiles in milliseconds.
"""

import argparse
import json
import multiprocessing
import time
from itertools import cycle
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from catdog.prediction.predictor import Predictor

WARM_UP = 50
READY_SECONDS = 120


def repeat(list_path: Path, part: str, seconds: float, barrier: Barrier) -> tuple[list[float], float]:
    """Predict images one at a time, starting when all processes are ready.

    Returns:
        The seconds of each image, and the total.
    """
    pictures = [Path(line).read_bytes() for line in list_path.read_text().splitlines()]
    predictor = Predictor(threads=1)
    work = predictor.predict if part == "predict" else predictor.features
    for picture, _ in zip(cycle(pictures), range(WARM_UP), strict=False):
        work(picture)
    latencies: list[float] = []
    barrier.wait(READY_SECONDS)
    begun = now = time.perf_counter()
    for picture in cycle(pictures):
        work(picture)
        before, now = now, time.perf_counter()
        latencies.append(now - before)
        if now - begun >= seconds:
            break
    return latencies, now - begun


def main() -> None:
    """Run the processes and print their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="file with one path of an image per line")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--part", choices=("predict", "features"), default="predict")
    arguments = parser.parse_args()

    # Each process loads its own model, as in a server; OpenVINO's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(arguments.processes) as pool:
        barrier = manager.Barrier(arguments.processes + 1)
        job = (arguments.list, arguments.part, arguments.seconds, barrier)
        running = pool.starmap_async(repeat, [job] * arguments.processes, chunksize=1)
        barrier.wait(READY_SECONDS)
        results = running.get()
    latencies = 1000 * np.concatenate([latencies for latencies, _ in results])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    seconds = max(seconds for _, seconds in results)
    print(json.dumps({"answers": len(latencies), "seconds": seconds, "p50": p50, "p95": p95, "p99": p99}))


if __name__ == "__main__":
    main()
