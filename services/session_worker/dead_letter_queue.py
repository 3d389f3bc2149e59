"""The consumer of the dead-letter queue, on FastStream: keeps each message once, tells of it, then acknowledges it."""

import asyncio
from collections.abc import Awaitable, Callable

from aio_pika import IncomingMessage
from faststream import AckPolicy
from faststream.rabbit import RabbitBroker, RabbitMessage

from services.session_worker import store
from services.session_worker.dead_letters import BEGINNING, Arrival, added, letter_of, refusal
from services.session_worker.letter_callbacks import callback_of
from services.session_worker.store.dead_letters import Letter
from shared.bus.general_client import consume, general_broker
from shared.bus.publisher import Publisher
from shared.bus.replies import error_reply
from shared.bus.topology import COMMANDS, DEAD_LETTERS
from shared.database import Database, is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import Event, spec_of

# Letters may have 26 MB each.
PREFETCH = 10
RETRY_SECONDS = 1.0
_SEND_CALLBACK = spec_of("send_callback").routing_key
log = get_logger()


class DeadLetterQueue:
    """Drains the dead-letter queue into `dead_letters`; `publish` sends an event and returns when it is confirmed."""

    def __init__(
        self, *, url: str, database: Database, publisher: Publisher, publish: Callable[[Event], Awaitable[None]]
    ) -> None:
        self._url = url
        self._database = database
        self._publisher = publisher
        self._publish = publish

    async def run(self) -> None:
        """Drain until cancelled."""
        while True:
            # The publisher has made the queue when it is connected.
            await self._publisher.wait_connected()
            broker = self._broker()
            try:
                async with asyncio.timeout(10):
                    await broker.start()
                await asyncio.Event().wait()
            except Exception as error:  # noqa: BLE001 (logged; tried again with another connection)
                log.warning("dead_letters_not_started", reason=str(error) or "timed out", retry_s=RETRY_SECONDS)
            finally:
                await broker.stop()
            await asyncio.sleep(RETRY_SECONDS)

    def _broker(self) -> RabbitBroker:
        broker = general_broker(self._url, prefetch=PREFETCH)
        # Every other policy acknowledges or rejects by itself, and would lose a letter while the database is away.
        consume(broker, DEAD_LETTERS, self._on_letter, AckPolicy.MANUAL)
        return broker

    async def _on_letter(self, message: RabbitMessage) -> None:
        try:
            arrival = _arrival(message.raw_message)
            letter = letter_of(arrival)
            # Unacknowledged, so it is here again after a crash; its key and its event's id are the same then.
            while not await self._kept(arrival, letter):  # noqa: ASYNC110 (nobody signals that the database is back)
                await asyncio.sleep(RETRY_SECONDS)
            if arrival.unroutable and arrival.reply_to:
                await self._reply(arrival)
            await message.ack()
        except Exception as error:
            log.error("dead_letter_not_acknowledged", message_id=message.raw_message.message_id, exc_info=error)

    async def _kept(self, arrival: Arrival, letter: Letter) -> bool:
        try:
            async with self._database.transaction() as tx:
                kept = await store.dead_letters.insert_letter(tx, letter, BEGINNING)
            await self._publish(added(kept))
            if owed := callback_of(arrival, kept):
                message_id, command = owed
                await self._publisher.publish(COMMANDS, _SEND_CALLBACK, command, message_id=message_id, deadline=5)
        except Exception as error:
            if isinstance(error, BusError) or is_transient(error):
                log.warning("dead_letter_waits", reason=str(error).split("\n")[0], retry_s=RETRY_SECONDS)
            else:
                log.error("dead_letter_not_kept", routing_key=letter.routing_key, exc_info=error, retry_s=RETRY_SECONDS)
            return False
        log.warning(
            "dead_letter_kept",
            dead_letter_id=kept.id,
            message_id=kept.message_id,
            routing_key=kept.routing_key,
            reason=kept.reason,
        )
        return True

    async def _reply(self, arrival: Arrival) -> None:
        """Tell the sender; it may be gone by now, and a lost answer is not sent again."""
        try:
            await self._publisher.publish(
                "", arrival.reply_to, error_reply(refusal(arrival)), message_id="", mandatory=False, persistent=False,
                correlation_id=arrival.correlation_id,
            )  # fmt: skip
        except BusError as error:
            log.info("reply_lost", reason=str(error))


def _arrival(raw: IncomingMessage) -> Arrival:
    return Arrival(
        exchange=raw.exchange or "",
        routing_key=raw.routing_key or "",
        headers=dict(raw.headers),
        body=raw.body,
        content_encoding=raw.content_encoding or "",
        message_id=raw.message_id or "",
        correlation_id=raw.correlation_id or "",
        reply_to=raw.reply_to or "",
    )
