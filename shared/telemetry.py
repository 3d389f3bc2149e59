"""Metrics and the trace context: counters for Prometheus, `traceparent` on its way, spans when a collector is set."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from random import getrandbits

from opentelemetry import trace
from opentelemetry.propagate import extract
from prometheus_client import Counter, Gauge, Histogram

COMMANDS = Counter("switchyard_commands_total", "Commands handled, by how they ended", ["command", "outcome"])
BATCH_SIZE = Histogram("switchyard_batch_commands", "Commands in one transaction", buckets=(1, 2, 5, 10, 20, 50, 100))
BATCH_SECONDS = Histogram("switchyard_batch_seconds", "From taking a batch to its commit",
                          buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5))  # fmt: skip
UNFINISHED = Gauge("switchyard_commands_unfinished", "Commands taken from the broker and not yet acknowledged")
EVENTS_PUBLISHED = Counter("switchyard_events_published_total", "Events the broker has confirmed")
RETRIES = Counter("switchyard_retries_total", "Commands put into a retry tier", ["command"])
DEAD_LETTERED = Counter("switchyard_dead_lettered_total", "Commands given up", ["reason"])
QUERIES = Histogram("switchyard_query_seconds", "Reading commands, from arrival to reply", ["command"])

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_tracer = trace.get_tracer("switchyard")


def traceparent_or_new(given: str | None) -> str:
    """The W3C trace context given, when it is well formed, else a new one."""
    if given and (found := _TRACEPARENT.fullmatch(given)) and found[1] != "0" * 32 and found[2] != "0" * 16:
        return given
    return f"00-{getrandbits(128) or 1:032x}-{getrandbits(64) or 1:016x}-01"


def well_formed(traceparent: str) -> str:
    """The trace context given, when it is well formed; else empty."""
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else ""


def trace_id(traceparent: str) -> str:
    """The trace id within a trace context; empty when there is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else ""


@contextmanager
def span(name: str, traceparents: list[str], **attributes: str | int) -> Iterator[None]:
    """A span around a unit of work, linked to the traces it serves. Costs nearly nothing without a collector."""
    links = [
        trace.Link(trace.get_current_span(extract({"traceparent": each})).get_span_context()) for each in traceparents
    ]
    with _tracer.start_as_current_span(name, links=links, attributes=attributes):
        yield


def export_traces(service: str, endpoint: str | None) -> None:
    """Send spans to the OTLP collector at `endpoint`; without one, none are made."""
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"switchyard-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)
