"""Traces for OpenTelemetry: whether they are wanted, how spans begin, and how they leave.

They are wanted where a variable of OpenTelemetry names a collector; nothing of it is imported otherwise. Spans wait in
a queue of bounded length and go out in batches from a thread of their own, so that a collector which is slow or away
costs spans and never an answer. A process opens its tracing after its fork: threads don't survive one.
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
"""How long a process that ends waits for its last spans to go out; a server's end waits 30 for requests."""

Step = Callable[[str, str], dict[str, Any]]
Attributes = Mapping[str, str | bool | int | float | Sequence[str]]

_log = logging.getLogger(__name__)


class Tracing:
    """Makes spans. Any number of threads may use it."""

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
        """Start a span; whoever does so ends it.

        Args:
            name: of few different ones.
            parent: a span, or what `received` gave; a trace of its own if not given.
            attributes: known at the start, so that a sampler may judge by them.
            is_request: whether it is for a request that a client made.
            started_ns: when it began, in nanoseconds since 1970; now if not given.
        """
        trace = self._trace
        is_span = isinstance(parent, trace.Span)
        context = trace.set_span_in_context(cast("Span", parent)) if is_span else cast("Context | None", parent)
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.INTERNAL
        return self._tracer.start_span(name, context, kind, attributes, start_time=started_ns)

    def fail(self, span: "Span", kind: str) -> None:
        """Mark a span as failed by an error of a kind."""
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)

    def received(self, carrier: Any) -> "Context":
        """Read whose child a span is to be from headers or what `carried` gave; by default W3C's `traceparent`."""
        return self._propagate.extract(carrier)

    def carried(self, span: "Span") -> dict[str, str]:
        """Return what names a span to another process."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, self._trace.set_span_in_context(span))
        return carrier

    def trace_id(self, span: "Span") -> str:
        """Return the id of a span's trace: 32 hexadecimal digits."""
        return self._trace.format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send what waits, for two seconds at most; what hasn't gone out by then is lost."""
        with self._closing:
            # In a thread, since OpenTelemetry itself would wait for half a minute.
            thread = threading.Thread(target=self._provider.shutdown, name="catdog-traces", daemon=True)
            thread.start()
            thread.join(FLUSH_SECONDS)


def is_wanted() -> bool:
    """Return whether the environment names a collector and doesn't switch traces off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")
    return "otlp" in map(str.strip, exporters) and any(os.environ.get(name) for name in ENDPOINTS)


def preload() -> None:
    """Import what traces need where they are wanted, for processes that are forked later to share; starts nothing."""
    if is_wanted():
        try:
            _import()
        except Exception:  # whoever opens the tracing says so; a package that doesn't fit must not stop the server
            _log.debug("What traces need cannot be imported.", exc_info=True)


def open_tracing() -> Tracing | None:
    """Start what sends spans, in this process; None where traces aren't wanted, or can't be made, which is logged."""
    if not is_wanted():
        return None
    protocol = next((value for name in PROTOCOLS if (value := os.environ.get(name))), PROTOCOL)
    if protocol != PROTOCOL:
        _log.warning("Traces are not made: they can be sent by %s only. Received: %s", PROTOCOL, protocol)
        return None
    try:
        return Tracing(_make_provider())
    except ImportError as error:
        _log.warning("Traces are wanted and not made: pip install 'catdog[telemetry]'. Received: %s", error)
    except Exception as error:  # a variable that OpenTelemetry refuses: watching never breaks answering
        _log.warning("Traces are not made: OpenTelemetry refuses its settings. Received: %s", error)
    return None


@contextmanager
def trace_job(tracing: Tracing | None, job_id: str, arguments: Mapping[str, Any], step: Step) -> Iterator[Step]:
    """Make a span for a job and one for each of its steps; gives what is to be called in place of `step`.

    The job is a child of the request that asked for it, where its arguments hold what `carried` gave.
    """
    if tracing is None:
        yield step
        return
    state = "interrupted"  # unless a step says how it ended
    of_job = {"catdog.job.id": job_id}
    try:
        job = tracing.start("retrain", tracing.received(arguments), of_job)
    except Exception:  # watching never breaks working
        _log.warning("Job %s is not traced.", job_id, exc_info=True)
        yield step
        return

    def traced(job_id: str, name: str) -> dict[str, Any]:
        nonlocal state
        span = tracing.start(f"retrain.{name}", job, of_job)
        how = "interrupted"
        try:
            result = step(job_id, name)
            how = str(result.get("end", ""))
            state = how or state
            return result
        finally:
            if how in FAILURES:
                tracing.fail(span, how)
            span.end()

    try:
        yield traced
    finally:
        job.set_attribute("catdog.job.state", state)
        if state in FAILURES:
            tracing.fail(job, state)
        job.end()


class _Reporting:
    """An exporter that says once that spans don't arrive, and once that they do again."""

    def __init__(self, exporter: "SpanExporter", success: "SpanExportResult") -> None:
        self._exporter, self._success = exporter, success
        self._failing = False
        self._named_by = next(name for name in ENDPOINTS if os.environ.get(name))  # its value may hold a password

    def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        result = self._exporter.export(spans)
        failing = result is not self._success
        if failing and not self._failing:
            _log.warning("Traces do not reach the collector that %s names, and are lost until they do.", self._named_by)
        elif self._failing and not failing:
            _log.warning("Traces reach their collector again.")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _make_provider() -> "TracerProvider":
    """Make what spans come from, by the variables of OpenTelemetry: sampler, limits, headers, batches, resource.

    It is ours alone and not the process' global one, through which libraries would send spans that nobody asked for.
    """
    otlp, resources, sdk, batches = _import()
    resource = resources.Resource.create({resources.SERVICE_VERSION: __version__})
    if str(resource.attributes[resources.SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(resources.Resource({resources.SERVICE_NAME: "catdog"}))
    logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)  # it would log a header, and the key in it
    provider: TracerProvider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = _Reporting(otlp.OTLPSpanExporter(), batches.SpanExportResult.SUCCESS)
    provider.add_span_processor(batches.BatchSpanProcessor(cast("SpanExporter", exporter)))
    # From now on `_Reporting` says what matters: the rest is said for each batch, or for each header that is wrong.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    return provider


def _import() -> tuple[Any, Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    from opentelemetry.sdk import resources
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.trace import export

    return trace_exporter, resources, sdk, export
