"""What Prometheus reads of the gateway. The hot path keeps plain numbers in the hub; they are read when asked for."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.ws_gateway.hub import Hub


class _HubCollector(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        counts: list[tuple[str, str, Callable[[], float]]] = [
            ("switchyard_gateway_frames_out", "Event frames written to connections", lambda: hub.frames_out),
            ("switchyard_gateway_dropped", "Events dropped for slow connections", lambda: hub.dropped),
            ("switchyard_gateway_gaps", "Gaps told to clients", lambda: hub.gaps),
        ]
        for name, text, value in counts:
            yield CounterMetricFamily(name, text, value=value())
        levels: list[tuple[str, str, Callable[[], float]]] = [
            ("switchyard_gateway_cursor", "The last cursor seen", lambda: hub.cursor),
            ("switchyard_gateway_ring_events", "Events in the ring", lambda: len(hub.ring)),
            ("switchyard_gateway_ring_bytes", "Bytes in the ring", lambda: hub.ring.bytes),
            ("switchyard_gateway_slow", "Connections whose socket is full", lambda: hub.slow),
        ]
        for name, text, value in levels:
            yield GaugeMetricFamily(name, text, value=value())


class Metrics:
    """The gateway's metrics, in one registry."""

    def __init__(self, hub: Hub, registry: CollectorRegistry) -> None:
        registry.register(_HubCollector(hub))
        self.connections = Gauge(
            "switchyard_gateway_connections", "Open connections", ["permission"], registry=registry
        )
        self.events_in = Counter("switchyard_gateway_events_in", "Events from the stream", registry=registry)
        self.copies = Counter("switchyard_gateway_copies", "Copies of events left out", registry=registry)
        self.repeated = Counter(
            "switchyard_gateway_repeated_statuses",
            "Statuses left out that said what the agent's last one said",
            registry=registry,
        )
        self.unreadable = Counter(
            "switchyard_gateway_unreadable", "Messages in the stream that are no events", registry=registry
        )
        self.resumes = Counter(
            "switchyard_gateway_resumes", "Subscriptions from a cursor", ["source"], registry=registry
        )
        self.closes = Counter(
            "switchyard_gateway_closes", "Connections closed, by close code", ["code"], registry=registry
        )
        self.refused = Counter(
            "switchyard_gateway_refused", "Connections refused, by close code", ["code"], registry=registry
        )
        self.commands = Counter("switchyard_gateway_commands", "Commands of clients", ["outcome"], registry=registry)
        self.fan_out = Histogram(
            "switchyard_gateway_fan_out_seconds",
            "From the arrival of events to the last write of them",
            registry=registry,
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
        )
