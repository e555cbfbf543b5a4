"""OpenTelemetry traces.

They are enabled by a variable that names a collector; otherwise OpenTelemetry isn't imported. Spans wait in a bounded
queue and are sent in batches by a separate thread, so a slow or missing collector costs spans but never delays a
prediction. Threads don't survive a fork, so each process opens its own tracing.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from catdog import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
FAILURES: Final = ("failed", "interrupted")
PACKAGES: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")

FLUSH_SECONDS: Final = 2.0
"""Seconds that an ending process waits for its last spans to be sent."""

Step = Callable[[str, str], dict[str, Any]]
Attributes = Mapping[str, str | bool | int | float | Sequence[str]]

_log = logging.getLogger(__name__)


class Tracing:
    """Creates spans; thread-safe."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import propagate, trace

        self._propagate, self._trace = propagate, trace
        self._provider = provider
        self._tracer = provider.get_tracer("catdog", __version__)
        self._closing = threading.Lock()

    def start(
        self,
        name: str,
        parent: "Context | Span | None" = None,
        attributes: Attributes | None = None,
        *,
        is_request: bool = False,
        started_ns: int | None = None,
    ) -> "Span":
        """Start a span, which the caller ends.

        Args:
            name: of low cardinality.
            parent: a span, or a context from `received`; by default the span starts a trace.
            attributes: known at the start, for samplers.
            is_request: whether it is for a client's request.
            started_ns: its start in nanoseconds since 1970; by default now.
        """
        trace = self._trace
        is_span = isinstance(parent, trace.Span)
        context = trace.set_span_in_context(cast("Span", parent)) if is_span else cast("Context | None", parent)
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.INTERNAL
        return self._tracer.start_span(name, context, kind, attributes, start_time=started_ns)

    def fail(self, span: "Span", kind: str) -> None:
        """Mark a span as failed with a kind of error."""
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)

    def received(self, carrier: Any) -> "Context":
        """Return the parent context from headers or the result of `carried`; by default W3C's `traceparent`."""
        return self._propagate.extract(carrier)

    def carried(self, span: "Span") -> dict[str, str]:
        """Return the headers that identify a span to another process."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, self._trace.set_span_in_context(span))
        return carrier

    def trace_id(self, span: "Span") -> str:
        """Return the id of a span's trace: 32 hexadecimal digits."""
        return self._trace.format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send pending spans for at most two seconds; the rest is lost."""
        with self._closing:
            # In a thread, as OpenTelemetry would wait for half a minute.
            thread = threading.Thread(target=self._provider.shutdown, name="catdog-traces", daemon=True)
            thread.start()
            thread.join(FLUSH_SECONDS)


def is_wanted() -> bool:
    """Return whether the environment names a collector and doesn't disable traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")
    return "otlp" in map(str.strip, exporters) and any(os.environ.get(name) for name in ENDPOINTS)


def preload() -> None:
    """Import OpenTelemetry if traces are enabled, to share its memory with forked processes."""
    if is_wanted():
        try:
            _import()
        except Exception:  # `open_tracing` logs a warning; an incompatible package must not stop the server
            _log.debug("Can't import OpenTelemetry.", exc_info=True)


def open_tracing() -> Tracing | None:
    """Start tracing in this process; return None if it is disabled, or failed, which is logged."""
    if not is_wanted():
        return None
    protocol = next((value for name in PROTOCOLS if (value := os.environ.get(name))), PROTOCOL)
    if protocol != PROTOCOL:
        _log.warning("Tracing is off: the protocol %s isn't supported. Use %s.", protocol, PROTOCOL)
        return None
    try:
        return Tracing(_make_provider())
    except ImportError as error:
        _log.warning("Tracing is off: a package is missing (%s). Run: pip install 'catdog[telemetry]'.", error)
    except Exception as error:  # an invalid variable must not stop predictions
        _log.warning("Tracing is off: OpenTelemetry rejects its settings: %s", error)
    return None


@contextmanager
def trace_job(tracing: Tracing | None, job_id: str, arguments: Mapping[str, Any], step: Step) -> Iterator[Step]:
    """Create a span for a job and its steps; yield a traced `step`.

    The job is a child of the request that started it, if its arguments contain the result of `carried`.
    """
    if tracing is None:
        yield step
        return
    state = "interrupted"  # unless a step reports how it ended
    of_job = {"catdog.job.id": job_id}
    try:
        job = tracing.start("retrain", tracing.received(arguments), of_job)
    except Exception:  # a failure must not stop the job
        _log.warning("Can't trace job %s.", job_id, exc_info=True)
        yield step
        return

    def traced(job_id: str, name: str) -> dict[str, Any]:
        nonlocal state
        span = tracing.start(f"retrain.{name}", job, of_job)
        end = "interrupted"
        try:
            result = step(job_id, name)
            end = str(result.get("end", ""))
            state = end or state
            return result
        finally:
            if end in FAILURES:
                tracing.fail(span, end)
            span.end()

    try:
        yield traced
    finally:
        job.set_attribute("catdog.job.state", state)
        if state in FAILURES:
            tracing.fail(job, state)
        job.end()


class _ReportingExporter:
    """An exporter that logs once when spans can't be sent, and once when they can again."""

    def __init__(self, exporter: "SpanExporter", success: "SpanExportResult") -> None:
        self._exporter, self._success = exporter, success
        self._failing = False
        self._variable = next(name for name in ENDPOINTS if os.environ.get(name))  # its value may hold a password

    def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        result = self._exporter.export(spans)
        failing = result is not self._success
        if failing and not self._failing:
            _log.warning("Can't send traces to the collector in %s; spans are lost until it is back.", self._variable)
        elif self._failing and not failing:
            _log.warning("Traces reach the collector again.")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _make_provider() -> "TracerProvider":
    """Create the tracer provider from OpenTelemetry's variables."""
    # Not the process's global provider, through which libraries would send their own spans.
    otlp, resources, sdk, batches = _import()
    resource = resources.Resource.create({resources.SERVICE_VERSION: __version__})
    if str(resource.attributes[resources.SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(resources.Resource({resources.SERVICE_NAME: "catdog"}))
    logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)  # logs headers, which may hold a key
    provider: TracerProvider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = _ReportingExporter(otlp.OTLPSpanExporter(), batches.SpanExportResult.SUCCESS)
    provider.add_span_processor(batches.BatchSpanProcessor(cast("SpanExporter", exporter)))
    # `_ReportingExporter` logs instead: OpenTelemetry would warn about each batch and header.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    return provider


def _import() -> tuple[Any, Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    from opentelemetry.sdk import resources
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.trace import export

    return trace_exporter, resources, sdk, export
