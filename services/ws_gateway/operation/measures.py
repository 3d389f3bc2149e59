"""What the gateway measures of itself as it happens: how long connections take and last, and how late events go out."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec
import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.ws_gateway.client import Client
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.stream.frames import LANES, Frame
from services.ws_gateway.stream.intake import Intake

# Who comes back within this time has reconnected.
RECONNECT_SECONDS = 300.0
# Agents whose leaving is remembered for that.
REMEMBERED_AGENTS = 20_000
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class _Stamped(msgspec.Struct):
    timestamp: datetime


_STAMPED = msgspec.json.Decoder(_Stamped)


class Measures:
    """Histograms and counters of the live layer. Latencies are sampled once for the events that arrive together."""

    def __init__(self, registry: CollectorRegistry, *, is_live: Callable[[], bool] = lambda: True) -> None:
        """`is_live` is false while events of before the start are read, which are late through no fault of ours."""
        self._is_live = is_live
        self._memory: Frame | None = None
        self._left: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.lasted = Histogram(
            "switchyard_gateway_connection_seconds", "How long connections lasted", registry=registry,
            buckets=(1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
        )  # fmt: skip
        self.established = Histogram(
            "switchyard_gateway_establishment_seconds", "From accepting a socket to the frame `connected`",
            registry=registry, buckets=LATENCIES,
        )  # fmt: skip
        self.reconnections = Counter(
            "switchyard_gateway_reconnections",
            "Connections of those who had left: by a resume token, or within five minutes",
            ["how"],
            registry=registry,
        )
        for how in ("resumed", "returned"):
            self.reconnections.labels(how)
        self.routing = Histogram(
            "switchyard_gateway_routing_seconds", "From an event's timestamp until it was written to the sockets",
            registry=registry, buckets=LATENCIES,
        )  # fmt: skip
        self.memory_lag = Histogram(
            "switchyard_gateway_memory_lag_seconds", "From a memory_update's timestamp until it was written",
            registry=registry, buckets=LATENCIES,
        )  # fmt: skip
        self.lanes = Counter(
            "switchyard_gateway_lane_broadcasts", "Emergencies told to everyone", ["lane"], registry=registry
        )
        for lane in LANES.values():
            self.lanes.labels(lane)

    def attend(self, gateway: Gateway, intake: Intake) -> None:
        """Look at who comes and goes, and at what comes in."""
        gateway.on_seated.append(self.seated)
        gateway.on_released.append(self.released)
        process = psutil.Process()
        gateway.metrics.readings.level(
            "memory_per_connection_bytes",
            "Resident memory of the process, shared among its connections",
            lambda: process.memory_info().rss / max(1, gateway.places.total),
        )
        intake.watch("memory_update", self._look_at_memory)
        for kind in LANES:
            intake.watch(kind, self._look_at_lane)
        intake.on_written.append(self.written)

    def _look_at_memory(self, frame: Frame) -> None:
        self._memory = frame

    def _look_at_lane(self, frame: Frame) -> None:
        if self._is_live():
            self.lanes.labels(LANES[frame.type]).inc()

    def written(self, last: Frame) -> None:
        """Events that arrived together have been written, this one last."""
        memory, self._memory = self._memory, None
        if self._is_live():
            _observe_age(self.routing, last)
            if memory is not None:
                _observe_age(self.memory_lag, memory)

    def seated(self, client: Client) -> None:
        """A client has been sent `connected`."""
        assert client.identity is not None
        self.established.observe(time.monotonic() - client.accepted_at)
        left = self._left.pop((client.identity.agent_id, client.identity.permission), None)
        if client.takes_over is not None:
            self.reconnections.labels("resumed").inc()
        elif left is not None and time.monotonic() - left <= RECONNECT_SECONDS:
            self.reconnections.labels("returned").inc()

    def released(self, client: Client) -> None:
        """A client that had been let in is gone."""
        assert client.identity is not None
        now = time.monotonic()
        self.lasted.observe(now - client.accepted_at)
        self._left[client.identity.agent_id, client.identity.permission] = now
        if len(self._left) > REMEMBERED_AGENTS:
            self._left.popitem(last=False)


def _observe_age(histogram: Histogram, frame: Frame) -> None:
    try:
        sent = _STAMPED.decode(frame.text).timestamp.timestamp()
    except (msgspec.MsgspecError, ValueError):
        return  # a program of somebody's own, which writes its timestamps in another way or not at all
    # Clocks of other machines may be ahead.
    histogram.observe(max(0.0, time.time() - sent))
