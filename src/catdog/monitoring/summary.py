"""Summaries of the server's counts for the status page and charts."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from catdog.errors import VersionCorruptError
from catdog.evaluation.histograms import latency_percentiles, share_histogram
from catdog.monitoring import counts as monitoring
from catdog.monitoring.counts import Counts, Key, Totals, current_hour
from catdog.registry.store import ModelStore, read_metadata

HOURS_SHOWN: Final = 48
RECENT_HOURS: Final = 24

Document = dict[str, Any]


def latency(counts: Counts) -> Document:
    """Return latency percentiles of the last 24 hours and, under `all_time`, of all time, over all processes."""
    recent = _bins(counts.since(current_hour() - RECENT_HOURS + 1), monitoring.LATENCY)
    all_time = _bins(counts.over_all_time(), monitoring.LATENCY)
    return {**latency_percentiles(recent), "all_time": latency_percentiles(all_time)}


def activity(counts: Counts) -> Document:
    """Return the activity of all processes, ready for JSON.

    Returns:
        `predictions` over all time: `total`, `by_class`, `by_verdict`, `by_version`; `hours`: the last 48, oldest
        first, without empty ones; `confidence`, `novelty`: histograms of the last 24 hours (`recent`) and of all time
        (`all_time`); `errors` over all time, most frequent first.
    """
    shown = counts.since(current_hour() - HOURS_SHOWN + 1)
    recent = {key: count for key, count in shown.items() if key.hour > current_hour() - RECENT_HOURS}
    all_time = counts.over_all_time()
    return {
        "predictions": _totals(all_time).as_dict(),
        "hours": [_hour(hour, found) for hour, found in _by_hour(shown).items()],
        **{
            measure: {
                "recent": share_histogram(_bins(recent, measure)),
                "all_time": share_histogram(_bins(all_time, measure)),
            }
            for measure in (monitoring.CONFIDENCE, monitoring.NOVELTY)
        },
        "errors": _errors(all_time),
    }


def retrainings(counts: Counts) -> dict[str, int]:
    """Return the number of retraining jobs by result."""
    found = counts.over_all_time(monitoring.RETRAINING).items()
    return {key.name: count for key, count in sorted(found) if key.measure == monitoring.RETRAINING}


def track_record(store: ModelStore) -> list[Document]:
    """Return each version's original test results, by number; damaged versions are left out."""
    rows: list[Document] = []
    for number in store.numbers():
        with contextlib.suppress(VersionCorruptError, KeyError, TypeError):  # the list of versions reports the error
            metadata = read_metadata(store.folder / str(number))
            measured = {key: metadata["metrics"][key] for key in ("accuracy", "accuracy_ci", "n")}
            rows.append({"version": number, "created_at": metadata["created_at"], **measured})
    return rows


def last_training(store: ModelStore) -> str | None:
    """Return when the newest version was created (UTC, ISO 8601), in use or not; None if there is none."""
    record = track_record(store)
    return str(record[-1]["created_at"]) if record else None


def _hour(hour: int, counts: Mapping[Key, int]) -> Document:
    started = datetime.fromtimestamp(hour * 3600, UTC)
    return {
        "hour": started.isoformat(timespec="seconds"),
        **_totals(counts).as_dict(),
        "latency_ms": latency_percentiles(_bins(counts, monitoring.LATENCY)),
        "errors": _errors(counts),
    }


def _totals(counts: Mapping[Key, int]) -> Totals:
    return Totals({key: count for key, count in counts.items() if key.measure == monitoring.PREDICTION})


def _errors(counts: Mapping[Key, int]) -> list[Document]:
    found = [
        {"status": int(key.detail), "kind": key.name, "count": count}
        for key, count in counts.items()
        if key.measure == monitoring.ERROR
    ]
    return sorted(found, key=lambda row: (-row["count"], row["status"], row["kind"]))


def _bins(counts: Mapping[Key, int], measure: str) -> Counter[int]:
    """Sum the bins of a measure over hours and versions."""
    sums: Counter[int] = Counter()
    for key, count in counts.items():
        if key.measure == measure:
            sums[int(key.name)] += count
    return sums


def _by_hour(counts: Mapping[Key, int]) -> dict[int, dict[Key, int]]:
    hours: dict[int, dict[Key, int]] = {}
    for key, count in counts.items():
        hours.setdefault(key.hour, {})[key] = count
    return dict(sorted(hours.items()))
