"""Records training runs with MLflow, in a local SQLite file or on the server in MLFLOW_TRACKING_URI.

Failures are logged and don't stop a training.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from catdog.settings import Settings

logger = logging.getLogger(__name__)


def record_run(
    settings: Settings,
    *,
    name: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    epochs: Sequence[Mapping[str, float]] = (),
    tags: Mapping[str, str] | None = None,
) -> str | None:
    """Record a finished run; return its id, or None if tracking is off or failed.

    Args:
        settings: the settings.
        name: of the run.
        parameters: of the training.
        metrics: final metrics.
        epochs: metrics of each epoch.
        tags: more labels.
    """
    if not settings.tracking:
        return None
    try:
        return _record(settings, name, parameters, metrics, epochs, tags or {})
    except Exception as error:  # a tracking server may fail in any way
        logger.warning("MLflow at %s did not record the run: %s", settings.resolved_tracking_uri, error)
        return None


def _record(
    settings: Settings,
    name: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    epochs: Sequence[Mapping[str, float]],
    tags: Mapping[str, str],
) -> str:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow would retry for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    for noisy in ("mlflow", "alembic"):  # after the import, which sets levels
        logging.getLogger(noisy).setLevel(logging.WARNING)

    client = MlflowClient(settings.resolved_tracking_uri)
    experiment = client.get_experiment_by_name(settings.tracking_experiment)
    experiment_id = (
        experiment.experiment_id
        if experiment
        else client.create_experiment(settings.tracking_experiment, str(settings.home / "mlruns"))
    )
    run = client.create_run(experiment_id, run_name=name)
    now = run.info.start_time
    figures = [Metric(key, value, now, len(epochs)) for key, value in metrics.items()]
    for step, epoch in enumerate(epochs, 1):
        figures.extend(Metric(key, value, now, step) for key, value in epoch.items())
    client.log_batch(
        run.info.run_id,
        metrics=figures,
        params=[Param(key, str(value)) for key, value in parameters.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
