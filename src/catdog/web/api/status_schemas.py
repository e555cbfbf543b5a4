"""What the routes about the state and the work of the server give, for its OpenAPI document."""

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.web.schemas import described


class Promotion(Schema):
    """A change of champion."""

    version = Integer(**described("the version that was promoted"))
    at = String(**described("when, in UTC, as ISO 8601"))
    reason = String(**described("why"))


class Latency(Schema):
    """How long answers took, in milliseconds, each within 2.5 %; without answers `n` alone."""

    n = Integer(**described("how many answers"))
    p50 = Float(metadata={"description": "median"})
    p95 = Float(metadata={"description": "95th percentile"})
    p99 = Float(metadata={"description": "99th percentile"})


class RecentLatency(Latency):
    """The same of the last 24 hours, and of all time."""

    all_time = Nested(Latency, **described("since the beginning"))


class Drift(Schema):
    """How far the answers of the last 6 hours are from those on the version's test pictures."""

    version = Integer(**described("the version that answered"))
    at = String(**described("when it was measured, UTC, ISO 8601"))
    n = Integer(**described("how many answers were compared"))
    score = Float(**described("largest Kolmogorov-Smirnov distance, 0 to 1"))
    p_value = Float(**described("chance of one as large without drift"))
    measure = String(**described("what differs most: confidence, novelty, or a projection of the features"))
    warning = Boolean(**described("whether the score is over CATDOG_DRIFT_THRESHOLD, and not by chance"))


class Refusal(Schema):
    """A champion that could not be loaded."""

    version = Integer(allow_none=True, **described("its number, where that can be read"))
    error = String(**described("why"))


class ModelStatus(Schema):
    """The model that answers."""

    status = String(**described("`ready` or `no_model`"))
    version = Integer(allow_none=True, **described("the version that answers"))
    precision = String(allow_none=True, **described("`bf16` or `f32`"))
    process = Integer(**described("number of the process that answers this; each takes a new version into use itself"))
    uptime_seconds = Float(**described("since the server started"))
    uptime_hours = Float(**described("the same in hours"))
    memory_bytes = Integer(allow_none=True, **described("what all processes of the server take; null where not known"))
    total_predictions = Integer(**described("over all processes and restarts"))
    last_training = String(allow_none=True, **described("when the newest version was made"))
    metadata = Dict(**described("classes, metrics, parameters of the version"))
    history = List(Nested(Promotion), **described("promotions; the last is in force"))
    latency_ms = Nested(RecentLatency, **described("of the last 24 hours, over all processes and restarts"))
    drift = Nested(Drift, allow_none=True, **described("null where there is too little to compare"))
    refused = Nested(Refusal, allow_none=True, **described("a champion that could not be loaded"))
    faults = List(String(), **described("why nothing can be kept, and what to do; none if all is well"))


class Predictions(Schema):
    """How many predictions there were."""

    total = Integer(**described("all of them"))
    by_class = Dict(keys=String(), values=Integer(), **described("by class, as shown to people"))
    by_verdict = Dict(keys=String(), values=Integer(), **described("by verdict"))
    by_version = Dict(keys=String(), values=Integer(), **described("by the number of the version"))


class ErrorCount(Schema):
    """How often a problem occurred, on any route; each picture of a batch counts."""

    status = Integer(**described("its status"))
    kind = String(**described("its class", example="PictureFormatError"))
    count = Integer(**described("how often"))


class Hour(Predictions):
    """What was done in an hour."""

    hour = String(**described("its beginning, UTC, ISO 8601"))
    latency_ms = Nested(Latency, **described("how long answers took"))
    errors = List(Nested(ErrorCount), **described("the most frequent first"))


class Histogram(Schema):
    """Counts of values in equal bins."""

    edges = List(Float(), **described("one more than there are bins, from 0 to 1"))
    counts = List(Integer(), **described("how many lie in each bin"))


class Histograms(Schema):
    """A histogram of the last 24 hours and one of all time."""

    recent = Nested(Histogram, **described("of the last 24 hours"))
    all_time = Nested(Histogram, **described("since the beginning"))


class Accuracy(Schema):
    """How good a version was when it was made."""

    version = Integer(**described("its number"))
    created_at = String(**described("when it was made, UTC, ISO 8601"))
    accuracy = Float(**described("on its test pictures"))
    accuracy_ci = List(Float(), **described("Wilson's 95 % interval"))
    n = Integer(**described("how many test pictures"))


class Stats(Schema):
    """What there is and what was done, over all processes and restarts."""

    dataset = Dict(keys=String(), values=Integer(), **described("files by split and class, such as train_cats"))
    model_metrics = Dict(
        allow_none=True, **described("measured on the test pictures when the version was made, with confusion_matrix")
    )
    predictions = Nested(Predictions, **described("since the beginning"))
    hours = List(Nested(Hour), **described("the last 48 hours, oldest first, without those in which nothing was done"))
    confidence = Nested(Histograms, **described("how sure the answers were"))
    novelty = Nested(Histograms, **described("how novel the pictures were"))
    errors = List(Nested(ErrorCount), **described("since the beginning, the most frequent first"))
    drift = Nested(Drift, allow_none=True, **described("null where there is too little to compare"))
    versions = List(Nested(Accuracy), **described("accuracy over versions, lowest number first"))
