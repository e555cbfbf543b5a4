"""Schemas of the server's status and statistics."""

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from catdog.web.schemas import described


class Promotion(Schema):
    """A change of champion."""

    version = Integer(**described("promoted version"))
    at = String(**described("time of the promotion, UTC, ISO 8601"))
    reason = String(**described("reason"))


class Latency(Schema):
    """Latency of predictions in milliseconds, each within 2.5 %; without predictions only `n`."""

    n = Integer(**described("number of predictions"))
    p50 = Float(metadata={"description": "median"})
    p95 = Float(metadata={"description": "95th percentile"})
    p99 = Float(metadata={"description": "99th percentile"})


class RecentLatency(Latency):
    """Latency of the last 24 hours, and of all time."""

    all_time = Nested(Latency, **described("of all time"))


class Drift(Schema):
    """Difference between the predictions of the last 6 hours and those on the version's test images."""

    version = Integer(**described("version in use"))
    at = String(**described("time of the measurement, UTC, ISO 8601"))
    n = Integer(**described("number of predictions compared"))
    score = Float(**described("largest Kolmogorov-Smirnov distance, 0 to 1"))
    p_value = Float(**described("probability of a score this large without drift"))
    measure = String(**described("what differs most: confidence, novelty, or a projection of the features"))
    warning = Boolean(**described("whether the score is significant and above CATDOG_DRIFT_THRESHOLD"))


class Refusal(Schema):
    """A champion that couldn't be loaded."""

    version = Integer(allow_none=True, **described("its number, if it can be read"))
    error = String(**described("reason"))


class ModelStatus(Schema):
    """The model in use."""

    status = String(**described("`ready` or `no_model`"))
    version = Integer(allow_none=True, **described("version in use"))
    precision = String(allow_none=True, **described("`bf16` or `f32`"))
    process = Integer(**described("id of the process that sent this response; each process loads a new version itself"))
    uptime_seconds = Float(**described("seconds since the server started"))
    uptime_hours = Float(**described("hours since the server started"))
    memory_bytes = Integer(
        allow_none=True, **described("memory of all processes of the server; null if it isn't known")
    )
    total_predictions = Integer(**described("predictions of all processes, across restarts"))
    last_training = String(allow_none=True, **described("creation time of the newest version"))
    metadata = Dict(**described("classes, metrics and parameters of the version"))
    history = List(Nested(Promotion), **described("promotions, latest last"))
    latency_ms = Nested(RecentLatency, **described("latency of the last 24 hours, of all processes, across restarts"))
    drift = Nested(Drift, allow_none=True, **described("null if there are too few predictions to compare"))
    refused = Nested(Refusal, allow_none=True, **described("a champion that couldn't be loaded"))
    faults = List(String(), **described("why nothing can be saved, and what to do; empty if all is well"))


class Predictions(Schema):
    """Number of predictions."""

    total = Integer(**described("total"))
    by_class = Dict(keys=String(), values=Integer(), **described("by display name of the class"))
    by_verdict = Dict(keys=String(), values=Integer(), **described("by verdict"))
    by_version = Dict(keys=String(), values=Integer(), **described("by number of the version"))


class ErrorCount(Schema):
    """How often a problem occurred on any route; each image of a batch counts."""

    status = Integer(**described("HTTP status"))
    kind = String(**described("error class", example="PictureFormatError"))
    count = Integer(**described("number of occurrences"))


class Hour(Predictions):
    """Predictions and errors of an hour."""

    hour = String(**described("start of the hour, UTC, ISO 8601"))
    latency_ms = Nested(Latency, **described("latency of predictions"))
    errors = List(Nested(ErrorCount), **described("most frequent first"))


class Histogram(Schema):
    """Counts of values in equal bins."""

    edges = List(Float(), **described("edges of the bins, from 0 to 1"))
    counts = List(Integer(), **described("values in each bin"))


class Histograms(Schema):
    """Histograms of the last 24 hours and of all time."""

    recent = Nested(Histogram, **described("of the last 24 hours"))
    all_time = Nested(Histogram, **described("of all time"))


class Accuracy(Schema):
    """Accuracy of a version when it was created."""

    version = Integer(**described("number of the version"))
    created_at = String(**described("creation time, UTC, ISO 8601"))
    accuracy = Float(**described("accuracy on its test images"))
    accuracy_ci = List(Float(), **described("95 % Wilson interval"))
    n = Integer(**described("number of test images"))


class Stats(Schema):
    """Statistics of all processes, across restarts."""

    dataset = Dict(
        keys=String(), values=Integer(), **described("number of files by split and class, such as train_cats")
    )
    model_metrics = Dict(
        allow_none=True, **described("metrics on the test images when the version was created, with confusion_matrix")
    )
    predictions = Nested(Predictions, **described("of all time"))
    hours = List(Nested(Hour), **described("the last 48 hours, oldest first, without idle ones"))
    confidence = Nested(Histograms, **described("confidence of predictions"))
    novelty = Nested(Histograms, **described("novelty of images"))
    errors = List(Nested(ErrorCount), **described("of all time, most frequent first"))
    drift = Nested(Drift, allow_none=True, **described("null if there are too few predictions to compare"))
    versions = List(Nested(Accuracy), **described("accuracy by version, lowest number first"))
