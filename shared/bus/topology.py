"""Exchanges, queues and bindings as data; whoever connects first makes them. The same on RabbitMQ 3.10 and 4.x."""

from typing import Any, NamedTuple

from pamqp import commands as amqp

from shared.bus.connection import Connection
from shared.messages import COMMANDS as REGISTRY
from shared.messages.partitions import PARTITIONS, partition_word

COMMANDS = "switchyard.commands"
EVENTS = "switchyard.events"
UNROUTED = "switchyard.unrouted"
DEAD_LETTERS = "switchyard.dead-letters"
EVENT_LOG = "switchyard.event-log"
# Between the replicas of a worker: what has come that commands parked at another may be waiting for.
WAKES = "switchyard.wakes"
# Between the gateways: who is connected where.
GATEWAYS = "switchyard.gateways"

AREAS = ("webhook", "session", "memory", "task", "agent", "sidebar", "chat")
# Where a command goes that could not be handled yet, by how long it waits there.
RETRY_TIERS = {1: "switchyard.retry.1s", 10: "switchyard.retry.10s", 60: "switchyard.retry.60s"}
# What a queue may hold before publishers are refused; far more than a worker is ever behind.
MAX_QUEUE_LENGTH = 5_000_000


class Exchange(NamedTuple):
    """An exchange and the arguments it is declared with."""

    name: str
    kind: str
    arguments: dict[str, Any]


class Queue(NamedTuple):
    """A queue, the arguments it is declared with, and its bindings as (exchange, routing key)."""

    name: str
    arguments: dict[str, Any]
    bindings: list[tuple[str, str]]


def commands_queue(area: str) -> str:
    """The queue of an area's writing commands."""
    return f"{area}.commands"


def queries_queue(area: str) -> str:
    """The queue of an area's reading commands."""
    return f"{area}.queries"


def partition_queue(area: str, partition: int) -> str:
    """The queue of what is published to one of an area's partitions."""
    return f"{area}.{partition_word(partition)}"


def _partition_keys(area: str, partition: int) -> list[tuple[str, str]]:
    word = partition_word(partition)
    return [
        (COMMANDS, f"{spec.routing_key}.{word}") for spec in REGISTRY.values() if spec.area == area and spec.partitioned
    ]


def _routing_keys(area: str, *, reads: bool) -> list[tuple[str, str]]:
    return [(COMMANDS, spec.routing_key) for spec in REGISTRY.values() if spec.area == area and spec.reads == reads]


# RabbitMQ gives a message back after each lost connection and counts that: 20 survives many restarts of a worker.
_QUORUM_COMMANDS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 20,
    "x-dead-letter-exchange": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-max-length": MAX_QUEUE_LENGTH,
}

EXCHANGES = [
    Exchange(DEAD_LETTERS, "fanout", {}),
    Exchange(UNROUTED, "fanout", {}),
    Exchange(COMMANDS, "topic", {"alternate-exchange": UNROUTED}),
    Exchange(EVENTS, "topic", {}),
    Exchange(WAKES, "fanout", {}),
    Exchange(GATEWAYS, "fanout", {}),
    *(Exchange(name, "fanout", {}) for name in RETRY_TIERS.values()),
]

QUEUES = [
    # First, so that nothing can be dead-lettered before there is a place for it.
    # RabbitMQ 4 drops a message after 20 returns unless told otherwise; there is no place after this one.
    Queue(
        DEAD_LETTERS,
        {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000},
        [(DEAD_LETTERS, ""), (UNROUTED, "")],
    ),
    *(Queue(commands_queue(area), _QUORUM_COMMANDS, _routing_keys(area, reads=False)) for area in AREAS),
    # What is published by the plain key all the same, by whoever knows no partitions, is in `<area>.commands`.
    *(
        Queue(
            partition_queue("chat", partition),
            # Its owner is kept in the database; this keeps the order while one takes over from another.
            {**_QUORUM_COMMANDS, "x-single-active-consumer": True},
            _partition_keys("chat", partition),
        )
        for partition in range(PARTITIONS)
    ),
    *(Queue(queries_queue(area), {}, _routing_keys(area, reads=True)) for area in AREAS if area != "webhook"),
    *(
        Queue(
            name,
            {
                "x-queue-type": "quorum",
                "x-message-ttl": seconds * 1000,
                "x-dead-letter-exchange": COMMANDS,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-max-length": MAX_QUEUE_LENGTH,
            },
            [(name, "")],
        )
        for seconds, name in RETRY_TIERS.items()
    ),
    Queue(
        EVENT_LOG,
        {
            "x-queue-type": "stream",
            "x-max-age": "7D",
            "x-max-length-bytes": 50_000_000_000,
            "x-stream-max-segment-size-bytes": 100_000_000,
        },
        [(EVENTS, "#")],
    ),
]


async def declare(connection: Connection) -> None:
    """Make everything above; what is there already stays. Raises `Unavailable` when it is there differently."""
    for exchange in EXCHANGES:
        await connection.call(
            amqp.Exchange.Declare(
                exchange=exchange.name, exchange_type=exchange.kind, durable=True, arguments=exchange.arguments
            )
        )
    for queue in QUEUES:
        await connection.call(amqp.Queue.Declare(queue=queue.name, durable=True, arguments=queue.arguments))
        for source, routing_key in queue.bindings:
            await connection.call(amqp.Queue.Bind(queue=queue.name, exchange=source, routing_key=routing_key))
