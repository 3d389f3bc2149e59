"""The general client, FastStream over aio-pika, for what is not hot (docs/decisions/0002)."""

from collections.abc import Awaitable, Callable

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

from shared.bus.publisher import RECONNECT_SECONDS

HEARTBEAT_SECONDS = 10


def general_broker(url: str, *, prefetch: int) -> RabbitBroker:
    """A broker that restores its consumers by itself, and takes at most `prefetch` messages unacknowledged."""
    return RabbitBroker(
        # By aio-pika's default a dead connection is noticed after three minutes.
        f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT_SECONDS}",
        apply_types=False,
        reconnect_interval=RECONNECT_SECONDS,
        graceful_timeout=5,
        default_channel=Channel(prefetch_count=prefetch),
        logger=None,
    )


def consume(
    broker: RabbitBroker, queue: str, handle: Callable[[RabbitMessage], Awaitable[None]], ack_policy: AckPolicy
) -> None:
    """Hand each message of a queue to `handle`, undecoded; the publisher has made the queue when it is connected."""
    broker.subscriber(
        # A passive declaration is restored with the connection.
        RabbitQueue(queue, durable=True, declare=False),
        ack_policy=ack_policy,
        decoder=_as_it_came,
        no_reply=True,
    )(handle)


async def _as_it_came(message: RabbitMessage) -> RabbitMessage:
    return message
