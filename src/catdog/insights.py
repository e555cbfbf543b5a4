"""What the numbers say, in sentences: each is computed, and says only what its numbers carry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from catdog.figures import Figures
from catdog.wording import counted

BALANCED: Final = 1.5
"""Up to this ratio of the largest class to the smallest, accuracy means much the same with or without balancing."""

CALIBRATED: Final = 0.02
"""Expected calibration error under which confidence may be read as a probability, to about a percent or two."""

FEW_PICTURES: Final = 100
"""Under so many test pictures the interval of a high accuracy is wider than 7 points."""


@dataclass(frozen=True)
class Insight:
    """A sentence or two, what they are about, and whether something should be done."""

    topic: str
    text: str
    needs_attention: bool = False


def insights(figures: Figures) -> list[Insight]:
    """Say what stands out: balance, accuracy, confidence, confusion, verdicts, learning, versions, drift."""
    found = [make(figures) for make in _TOPICS]
    return [insight for insight in found if insight is not None]


def _balance(figures: Figures) -> Insight | None:
    counts = figures.counts.get("train", {})
    if not sum(counts.values()):
        return Insight("Balance", "It is not known which pictures this version was trained on.", True)
    sizes = {name: counts.get(folder, 0) for folder, name in zip(figures.classes, figures.names, strict=True)}
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if not sizes[least]:
        return Insight("Balance", f"{least} has no training pictures: nothing can be learned about it.", True)
    listed = _joined([f"{_share(n / sum(sizes.values()))} {name}" for name, n in sizes.items()])
    ratio = sizes[most] / sizes[least]
    verdict = (
        "The classes are balanced."
        if ratio <= BALANCED
        else f"{most} has {ratio:.1f} times as many as {least}; more pictures of {least} would help most."
    )
    return Insight(
        "Balance", f"Of {counted(sum(sizes.values()), 'training picture')}, {listed}. {verdict}", ratio > BALANCED
    )


def _accuracy(figures: Figures) -> Insight | None:
    metrics = figures.metrics
    if not metrics.get("n"):
        return Insight("Accuracy", "There are no test pictures, so that nothing is known about new ones.", True)
    low, high = metrics["accuracy_ci"]
    alike = "it" if metrics["n"] == 1 else "them"
    text = (
        f"{_share(metrics['accuracy'])} of {counted(metrics['n'], 'test picture is', 'test pictures are')} answered "
        f"rightly; for new pictures like {alike}, {_share(low)} to {_share(high)} is plausible (95\u00a0% interval)."
    )
    empty = [
        name
        for name, counts in zip(figures.names, metrics.get("confusion_matrix", ()), strict=False)
        if not sum(counts)
    ]
    if empty:
        return Insight("Accuracy", f"{text} {_joined(empty)} was not tested: no test picture shows it.", True)
    if metrics["n"] < FEW_PICTURES:
        return Insight("Accuracy", f"{text} More test pictures would narrow that.", True)
    return Insight("Accuracy", text)


def _calibration(figures: Figures) -> Insight | None:
    bins = figures.assessment.get("reliability")
    if not bins:
        return None
    n = sum(found["n"] for found in bins)
    confidence = sum(found["n"] * found["confidence"] for found in bins) / n
    accuracy = sum(found["n"] * found["accuracy"] for found in bins) / n
    error = sum(found["n"] * abs(found["confidence"] - found["accuracy"]) for found in bins) / n
    text = f"It is {_share(confidence)} sure on average, and right in {_share(accuracy)}"
    if error <= CALIBRATED:
        return Insight("Confidence", f"{text}: a confidence can be read as a probability, to about {_share(error)}.")
    kind = "too sure of itself" if confidence > accuracy else "more right than it says"
    return Insight("Confidence", f"{text}; over all ranges the two differ by {_share(error)}. It is {kind}.", True)


def _confusion(figures: Figures) -> Insight | None:
    matrix = figures.metrics.get("confusion_matrix")
    if not matrix:
        return None
    cells = [
        (count, sum(row), figures.names[true], figures.names[answered])
        for true, row in enumerate(matrix)
        for answered, count in enumerate(row)
        if true != answered and count
    ]
    if not cells:
        return Insight("Mistakes", f"{_all_of(sum(map(sum, matrix)))} answered rightly.")
    worst = max(cells, key=lambda cell: (cell[0], cell[0] / cell[1]))
    count, of, true, answered = worst
    alike = sum(cell[0] == count for cell in cells) == len(cells) > 1
    total = sum(cell[0] for cell in cells)
    if alike:
        return Insight("Mistakes", f"{total:,} mistakes, spread evenly: no two classes are confused more than others.")
    return Insight(
        "Mistakes",
        f"{true} is taken for {answered} most often: {count:,} of {of:,} ({_share(count / of)}), "
        f"out of {counted(total, 'mistake')} in all.",
    )


def _verdicts(figures: Figures) -> Insight | None:
    by_verdict: Mapping[str, int] = figures.stats.get("predictions", {}).get("by_verdict", {})
    total = sum(by_verdict.values())
    coverage = figures.metrics.get("coverage")
    if total:
        shares = {verdict: by_verdict.get(verdict, 0) / total for verdict in ("unsure", "neither")}
        answered = 1 - sum(shares.values())
        text = (
            f"Of {counted(total, 'picture that was', 'pictures that were')} sent, {_share(answered)} got a class, "
            f"{_share(shares['unsure'])} were unsure and {_share(shares['neither'])} showed neither."
        )
        if coverage is not None:
            text += f" On the test pictures {_share(coverage)} got a class."
        return Insight("Verdicts", text, coverage is not None and total >= FEW_PICTURES and answered < coverage - 0.2)
    if coverage is None:
        return None
    selective = figures.metrics.get("selective_accuracy")
    right = f"; of these, {_share(selective)} are right" if selective is not None else ""
    return Insight(
        "Verdicts", f"{_share(coverage)} of the test pictures get a class{right}. The others are unsure or neither."
    )


def _learning(figures: Figures) -> Insight | None:
    losses = [loss for epoch in figures.history if (loss := epoch.get("val_loss")) is not None]
    if not losses:
        return None
    best = losses.index(min(losses))
    text = f"The validation loss was lowest in epoch {best + 1} of {len(losses)}, and that epoch is kept."
    if len(losses) > 1 and best == len(losses) - 1:
        return Insight("Learning", f"{text} It was still falling: more epochs may help.", True)
    return Insight("Learning", text)


def _versions(figures: Figures) -> Insight | None:
    rows = figures.stats.get("versions", ())
    if len(rows) < 2:
        return None
    best, newest = max(rows, key=lambda row: row["accuracy"]), rows[-1]
    low, high = newest["accuracy_ci"]
    text = f"Of {len(rows)} versions, {best['version']} measured best ({_share(best['accuracy'])})"
    if best["version"] == newest["version"]:
        return Insight("Versions", f"{text}; it is the newest.")
    apart = not low <= best["accuracy"] <= high
    meaning = "outside" if apart else "within"
    text += f"; that is {meaning} the interval of the newest, {newest['version']} ({_share(low)} to {_share(high)})."
    return Insight("Versions", text, apart)


def _drift(figures: Figures) -> Insight | None:
    if not figures.stats:
        return None
    drift: Mapping[str, Any] | None = figures.stats.get("drift")
    if not drift:
        text = "Too few pictures were sent in the last 6 hours to say whether they are like the test pictures."
        return Insight("Drift", text)
    text = (
        f"The last {counted(drift['n'], 'answer differs', 'answers differ')} from those on test pictures by "
        f"{drift['score']:.2f} (0 to 1), most in {drift['measure']}"
    )
    if drift["warning"]:
        return Insight("Drift", f"{text}. That is more than chance: look at what comes in, and retrain with it.", True)
    return Insight("Drift", f"{text}: too little, or too likely by chance, to call for anything.")


_PERCENT: Final = "\u00a0%"  # with a space at which no line ends

_TOPICS: Final[tuple[Callable[[Figures], Insight | None], ...]] = (
    _balance, _accuracy, _calibration, _confusion, _verdicts, _learning, _versions, _drift,
)  # fmt: skip


def _share(value: float) -> str:
    """Write a share in percent, so that what is not all never reads as all."""
    if value in (0, 1):
        return f"{100 * value:.0f}{_PERCENT}"
    for digits in (1, 2, 3):
        text = f"{100 * value:.{digits}f}"
        if float(text) not in (0, 100):
            return text + _PERCENT
    return f"over 99.999{_PERCENT}" if value > 0.5 else f"under 0.001{_PERCENT}"


def _all_of(pictures: int) -> str:
    return "The only test picture is" if pictures == 1 else f"All {pictures:,} test pictures are"


def _joined(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
