"""Counts and times as plain numbers, turned into Prometheus text only when somebody asks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What the ingress counts. `gauges` gives the values of the moment, by name with its help text."""

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._gauges = gauges
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._times: dict[str, list[float]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def count(self, route: str, status: int, seconds: float) -> None:
        """One request answered."""
        self._requests[route, status] += 1
        times = self._times.get(route)
        if times is None:
            # One place for each bound, one for beyond them, and the sum.
            times = self._times[route] = [0.0] * (len(BOUNDS) + 2)
        times[bisect_left(BOUNDS, seconds)] += 1
        times[-1] += seconds

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        requests = CounterMetricFamily(
            "switchyard_http_requests", "Requests answered, by route and status", labels=["route", "status"]
        )
        for (route, status), total in sorted(self._requests.items()):
            requests.add_metric([route, str(status)], total)
        yield requests
        times = HistogramMetricFamily(
            "switchyard_http_request_seconds", "Time to the answer, by route", labels=["route"]
        )
        for route, (*counts, spent) in sorted(self._times.items()):
            running = 0.0
            buckets: list[tuple[str, float]] = []
            for bound, number in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
                running += number
                buckets.append((bound, running))
            times.add_metric([route], buckets, sum_value=spent)
        yield times
        for name, (help_text, value) in self._gauges().items():
            if name.endswith("_total"):
                yield CounterMetricFamily(name, help_text, value=value)
            else:
                yield GaugeMetricFamily(name, help_text, value=value)
