"""What Prometheus reads of the gateway. The hot path keeps plain numbers in the hub; they are read when asked for."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.ws_gateway.fanout.hub import Hub

# A number, or numbers by the value of one label.
Reading = Callable[[], float | Mapping[str, float]]


class Readings(Collector):
    """Figures that others keep as plain numbers, read when Prometheus asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._readings: list[tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str, str, str, Reading]] = []
        registry.register(self)

    def count(self, name: str, text: str, read: Reading, label: str = "") -> None:
        """A number that only grows; `switchyard_gateway_` goes before its name, and `_total` behind it."""
        self._readings.append((CounterMetricFamily, f"switchyard_gateway_{name}", text, label, read))

    def level(self, name: str, text: str, read: Reading, label: str = "") -> None:
        """A number that rises and falls; `switchyard_gateway_` goes before its name."""
        self._readings.append((GaugeMetricFamily, f"switchyard_gateway_{name}", text, label, read))

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        for kind, name, text, label, read in self._readings:
            value = read()
            family = kind(name, text, labels=[label] if label else None)
            for labelled, each in value.items() if isinstance(value, Mapping) else [("", value)]:
                family.add_metric([labelled] if label else [], each)
            yield family


def _read_hub(readings: Readings, hub: Hub) -> None:
    readings.count("frames_out", "Event frames written to connections", lambda: hub.frames_out)
    readings.count("dropped", "Events dropped for slow connections", lambda: hub.dropped)
    readings.count("gaps", "Gaps told to clients", lambda: hub.gaps)
    readings.count("events_framed", "Events made into frames", lambda: hub.ring.events_ever)
    readings.count("event_bytes", "Bytes of those frames", lambda: hub.ring.bytes_ever)
    readings.level("cursor", "The last cursor seen", lambda: hub.cursor)
    readings.level("ring_events", "Events in the ring", lambda: len(hub.ring))
    readings.level("ring_bytes", "Bytes in the ring", lambda: hub.ring.bytes)
    readings.level("slow", "Connections whose socket is full", lambda: hub.slow)


class Metrics:
    """The gateway's metrics, in one registry; `readings` takes more of them."""

    def __init__(self, hub: Hub, registry: CollectorRegistry) -> None:
        self.readings = Readings(registry)
        # Text messages of clients, and their bytes.
        self.messages_in = self.bytes_in = 0
        _read_hub(self.readings, hub)
        self.readings.count("messages_in", "Text messages of clients", lambda: self.messages_in)
        self.readings.count("message_bytes_in", "Bytes of those messages", lambda: self.bytes_in)
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
