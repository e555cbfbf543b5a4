"""Results of `benchmarks/serve.py`: rows, a table, and catdog's ratios to each rival."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from contenders import CATDOG, FRAMEWORKS, LOOPS
from load import Measured

BEST = "best framework"
FIGURES = ("rate", "p50", "p95")


@dataclass(frozen=True)
class Row:
    """One server under one load in one round.

    `first_answer` is the seconds from start to the first response, `megabytes` the memory of its processes under load,
    `cpu_ms` their processor time per response in milliseconds. A bare loop has none of these.
    """

    round: int
    server: str
    connections: int
    measured: Measured
    first_answer: float | None = None
    megabytes: float | None = None
    cpu_ms: float | None = None


@dataclass(frozen=True)
class Ratio:
    """catdog's figure (one of `FIGURES`) divided by a rival's of the same round: median, minimum and maximum."""

    rival: str
    connections: int
    figure: str
    median: float
    least: float
    greatest: float


def compare(rows: Iterable[Row]) -> list[Ratio]:
    """Divide catdog's figures by each rival's, and by those of the fastest framework of the round."""
    at = {(row.round, row.connections, row.server): row.measured for row in rows}
    found: dict[tuple[str, int, str], list[float]] = {}
    for number, connections in dict.fromkeys(key[:2] for key in at):
        there = {name: measured for (*key, name), measured in at.items() if key == [number, connections]}
        if CATDOG not in there:
            continue
        own = there.pop(CATDOG)
        if frameworks := [there[name] for name in FRAMEWORKS if name in there]:
            there[BEST] = max(frameworks, key=lambda measured: measured.rate)
        for rival, measured in there.items():
            # A bare loop has no queue, so its latencies are only comparable with one connection.
            for figure in FIGURES if connections == 1 or rival not in LOOPS else FIGURES[:1]:
                if theirs := getattr(measured, figure):
                    ratio = getattr(own, figure) / theirs
                    found.setdefault((rival, connections, figure), []).append(ratio)
    return [Ratio(*key, statistics.median(values), min(values), max(values)) for key, values in found.items()]


def print_rows(rows: Iterable[Row]) -> None:
    """Print medians over the rounds and the sum of failures, per server and number of connections."""
    print(f"\n{'server':<15}{'conn.':>6}{'req/s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}", end="")
    print(f"{'failed':>8}{'MB':>7}{'first s':>9}{'CPU ms':>8}{'load cores':>12}")
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.server, row.connections), []).append(row)
    for (name, connections), group in groups.items():
        measured = [row.measured for row in group]
        line = f"{name:<15}{connections:>6}"
        for figure in (*FIGURES, "p99"):
            line += f"{statistics.median(getattr(one, figure) for one in measured):>9.1f}"
        line += f"{sum(one.failed for one in measured):>8}"
        if group[0].megabytes is not None:
            line += f"{statistics.median(row.megabytes or 0 for row in group):>7.0f}"
            line += f"{statistics.median(row.first_answer or 0 for row in group):>9.2f}"
            line += f"{statistics.median(row.cpu_ms or 0 for row in group):>8.2f}"
            line += f"{statistics.median(one.load_cores for one in measured):>12.2f}"
        print(line)


def print_ratios(ratios: Iterable[Ratio]) -> None:
    """Print ratios per rival and number of connections; requests/s above 1 and latencies below 1 are good."""
    lines: dict[tuple[str, int], str] = {}
    for one in ratios:
        cell = f"{one.median:.3f} ({one.least:.3f} to {one.greatest:.3f})"
        lines[one.rival, one.connections] = lines.get((one.rival, one.connections), "") + f"  {cell:<26}"
    title = "".join(f"  {name:<26}" for name in ("requests/s", "p50", "p95"))
    print(f"\n{'catdog against':<16}{'conn.':>6}{title}")
    for (rival, connections), cells in lines.items():
        print(f"{rival:<16}{connections:>6}{cells}")
