"""What Prometheus reads of a Claude worker: its pool as it is when somebody asks, and what was counted so far."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.chat import FinishTurn
from shared.messages.chat_events import TurnEvent

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TURNS = Counter(
    "switchyard_chat_turns_total",
    "Moves of turns, by what became of them and why; one of a transaction that is tried again counts again",
    ["fate", "reason"],
)
CONNECT = Histogram(
    "switchyard_chat_connect_seconds", "What it took an answer to have a client, by its path", ["path"],
    buckets=(0.001, 0.005, 0.01, *_SECONDS),
)  # fmt: skip
ANSWER = Histogram(
    "switchyard_chat_answer_seconds", "From having a client to the whole answer, by path", ["path"], buckets=_SECONDS
)
TOKENS = Counter("switchyard_chat_tokens_total", "Tokens used, failed attempts included", ["bot", "kind"])
COST = Counter("switchyard_chat_cost_usd_total", "What that has cost, in US dollars", ["bot"])

for _path in ("hot", "warm", "cold"):
    CONNECT.labels(_path)
    ANSWER.labels(_path)


def counted(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same handlers, with the moves of turns counted that they tell."""
    return {name: counting(handler) for name, handler in handlers.items()}


def counting(handler: Handler) -> Handler:
    """The same handler, with the moves of turns counted that it tells."""

    async def run(tx: Transaction, command: Command) -> Reply:
        reply = await handler(tx, command)
        for event in reply.events:
            if isinstance(event, TurnEvent):
                TURNS.labels(event.type.removeprefix("chat_"), event.turn.reason or "").inc()
        return reply

    return run


def count_attempt(end: FinishTurn) -> None:
    """An attempt has come to its end and is committed."""
    TOKENS.labels(end.bot_id, "input").inc(end.spent.input_tokens)
    TOKENS.labels(end.bot_id, "output").inc(end.spent.output_tokens)
    COST.labels(end.bot_id).inc(end.spent.cost_usd)
    if end.status == "answered" and end.path is not None:
        CONNECT.labels(end.path).observe((end.connect_ms or 0.0) / 1000)
        ANSWER.labels(end.path).observe((end.answer_ms or 0.0) / 1000)


class Readings(Collector):
    """Turns what a worker says of itself (see `chat_stats`) into metrics whenever they are asked for."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        REGISTRY.register(self)

    def close(self) -> None:
        """Be asked no more."""
        REGISTRY.unregister(self)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        status = self._status()
        yield _by(
            "switchyard_chat_clients", "Clients of Claude, by what they are at", "state",
            {state: status[state] for state in ("busy", "idle", "connecting", "closing")},
        )  # fmt: skip
        yield _by(
            "switchyard_chat_queue", "Open turns of this worker's partitions", "status", status.get("queue") or {}
        )
        for name, about, value in (
            ("switchyard_chat_max_clients", "How many clients there may be", status["max_clients"]),
            ("switchyard_chat_rooms_waiting", "Rooms that wait for a client", status["waiting"]),
            ("switchyard_chat_memory_bytes", "What clients take (PSS)", status["memory_mb"] * 2**20),
            ("switchyard_chat_max_memory_bytes", "May take; 0: no limit", (status["max_memory_mb"] or 0) * 2**20),
            ("switchyard_chat_partitions", "Partitions that are this worker's", len(status["partitions"])),
            ("switchyard_chat_orphans", "Processes of clients that nobody owned, last time", status["orphans"]),
        ):
            yield GaugeMetricFamily(name, about, value=value)
        yield _counter("switchyard_chat_answers", "Answers given, by their path", "path", status["answers"])
        yield _counter("switchyard_chat_closed_clients", "Clients closed, by why", "reason", status["closed"])
        yield CounterMetricFamily(
            "switchyard_chat_orphans_killed", "Processes of clients that were killed", value=status["orphans_killed"]
        )


def _by(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
