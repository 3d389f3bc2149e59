"""What becomes of a message that can't be handled: a retry tier first, the dead letters in the end, its sender told."""

import asyncio
import traceback
from typing import Any

from shared.bus.frames import Delivery
from shared.bus.items import Item
from shared.bus.outbox import Outbox
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.bus.replies import error_reply
from shared.bus.topology import DEAD_LETTERS, RETRY_TIERS
from shared.errors import BusError, Rejected, Transient
from shared.logs import get_logger
from shared.telemetry import DEAD_LETTERED, RETRIES

MAX_ATTEMPTS = 6
# SQLSTATE classes of data that no repetition makes storable: data exceptions, program limits.
_PERMANENT = ("22", "54")
_OURS = frozenset({"x-attempt", "x-reason", "x-original-exchange", "x-original-routing-key"})
log = get_logger()


async def retry_later(item: Item, error: Exception, *, publisher: Publisher, outbox: Outbox) -> None:
    """Put a command that failed into a retry tier; after the last attempt, among the dead letters."""
    attempt = item.attempt + 1
    permanent = (getattr(getattr(error, "orig", error), "sqlstate", None) or "")[:2] in _PERMANENT
    if permanent or attempt >= MAX_ATTEMPTS:
        log.error("command_given_up", **item.names(), attempt=attempt, exception=whole_trace(error))
        refusal = Rejected("invalid" if permanent else "internal", f"{type(error).__name__}: {first_line(error)}")
        await give_up(item.delivery, refusal, "failed", publisher=publisher, outbox=outbox, attempts=attempt)
        return
    wait = error.retry_after if isinstance(error, Transient) else 4.0**attempt
    tier = next((name for seconds, name in RETRY_TIERS.items() if wait <= seconds), RETRY_TIERS[60])
    log.error("command_failed", **item.names(), attempt=attempt, retry=tier, exception=whole_trace(error))
    RETRIES.labels(item.command.spec.name).inc()
    await _move(item.delivery, tier, {**item.delivery.headers, "x-attempt": attempt}, publisher)


async def give_up(
    delivery: Delivery, error: Rejected, kind: str, *, publisher: Publisher, outbox: Outbox, attempts: int = 1
) -> None:
    """Dead-letter a message with the reason, and tell its sender."""
    DEAD_LETTERED.labels(kind).inc()
    log.warning("dead_lettered", routing_key=delivery.routing_key, kind=kind, reason=error.message)
    if delivery.reply_to:
        outbox.reply(delivery.reply_to, delivery.correlation_id, error_reply(error))
    headers = {
        **delivery.headers,
        "x-reason": error.message[:1000],
        "x-attempt": attempts,
        "x-original-exchange": delivery.exchange,
        "x-original-routing-key": delivery.routing_key,
    }
    await _move(delivery, DEAD_LETTERS, headers, publisher)


async def _move(delivery: Delivery, exchange: str, headers: dict[str, Any], publisher: Publisher) -> None:
    """Publish a message as it came to another exchange, until the broker has confirmed it.

    Another program's headers that can't be written, or leave no room for ours, stay behind.
    """
    while True:
        try:
            await publisher.publish(
                exchange, delivery.routing_key, delivery.body, message_id=delivery.message_id, headers=headers,
                reply_to=delivery.reply_to, correlation_id=delivery.correlation_id,
                content_encoding=delivery.content_encoding, deadline=10,
            )  # fmt: skip
            return
        except (ValueError, TypeError) as error:
            ours = {name: value for name, value in headers.items() if name in _OURS}
            if headers == ours:
                raise
            log.warning("headers_left_behind", exchange=exchange, reason=str(error), names=sorted(headers)[:20])
            headers = ours
        except BusError as error:
            log.warning("move_not_confirmed", exchange=exchange, reason=str(error), retry_s=RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)
            await publisher.wait_connected()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a log or a reply."""
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def whole_trace(error: BaseException) -> str:
    """An error with its traceback, as one text."""
    return "".join(traceback.format_exception(error))
