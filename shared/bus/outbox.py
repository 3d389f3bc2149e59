"""After the commit: publish a batch's events and follow-ups, confirmed, then its replies; what the broker has
is then marked.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from shared.bus.bodies import packed
from shared.bus.commit import Outcome
from shared.bus.handled import mark_published
from shared.bus.publications import Publication
from shared.bus.publisher import RECONNECT_SECONDS, Publisher
from shared.database import Database, is_transient
from shared.errors import BusError
from shared.logs import get_logger
from shared.telemetry import EVENTS_PUBLISHED

# Those of a batch's events, each with its error if it failed.
Confirms = asyncio.Future[list[BaseException | None]]
log = get_logger()


class Outbox:
    """Publishes what commits left behind. The commands themselves stay unacknowledged until it is done."""

    def __init__(self, publisher: Publisher, database: Database) -> None:
        self._publisher = publisher
        self._database = database
        # By message, whether it was kept as unconfirmed.
        self._published: dict[str, bool] = {}

    def send(self, outcomes: list[Outcome]) -> Confirms | None:
        """Publish every event and follow-up of a batch, in order, without waiting.

        To be called right after its commit, before the next one's.
        """
        confirms = [self._publish(each) for outcome in outcomes for each in outcome.publications]
        return asyncio.gather(*confirms, return_exceptions=True) if confirms else None

    async def deliver(self, outcomes: list[tuple[str, Outcome]], sent: Confirms | None) -> None:
        """Wait for the confirms of what `send` began, and publish again, as often as needed, what was not confirmed."""
        publications = [each for _, outcome in outcomes for each in outcome.publications]
        failed = publications
        if sent is not None:
            failed = [each for each, error in zip(publications, await sent, strict=True) if error is not None]
        while failed:
            await asyncio.sleep(RECONNECT_SECONDS)
            await self._publisher.wait_connected()
            again = await asyncio.gather(*(self._publish(each) for each in failed), return_exceptions=True)
            faults = [error for error in again if error is not None]
            if faults:
                log.warning("not_confirmed", messages=len(faults), reason=str(faults[0]), retry_s=RECONNECT_SECONDS)
            failed = [each for each, error in zip(failed, again, strict=True) if error is not None]
        EVENTS_PUBLISHED.inc(sum(len(outcome.events) for _, outcome in outcomes))
        for message_id, outcome in outcomes:
            if outcome.publications or outcome.unconfirmed:
                self._published[message_id] = outcome.unconfirmed or self._published.get(message_id, False)

    def _publish(self, message: Publication) -> asyncio.Future[None]:
        body, encoding = packed(message.body.encode())
        return self._publisher.send(
            message.exchange, message.routing_key, body, message_id=message.message_id, content_encoding=encoding,
            headers={"traceparent": message.traceparent} if message.traceparent else None,
        )  # fmt: skip

    def reply(self, reply_to: str, correlation_id: str, body: bytes) -> None:
        """Send a reply to whoever may still be waiting for it; a lost one is asked for again."""
        body, encoding = packed(body)
        self._publisher.send(
            "", reply_to, body, message_id="", mandatory=False, persistent=False,
            correlation_id=correlation_id, content_encoding=encoding,
        ).add_done_callback(_forget)  # fmt: skip

    @contextmanager
    def marking(self) -> Iterator[dict[str, bool]]:
        """The messages whose events the broker has by now, to be marked in a transaction within the block."""
        published, self._published = self._published, {}
        try:
            yield published
        except BaseException:
            self._published = published | self._published
            raise

    async def mark_idle(self) -> None:
        """Mark them in a transaction of its own, when no command has come to carry it."""
        if not self._published:
            return
        try:
            with self.marking() as published:
                async with self._database.transaction() as tx:
                    await mark_published(tx, published)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("events_not_marked", reason=str(error))


def _forget(confirm: asyncio.Future[None]) -> None:
    if not confirm.cancelled() and isinstance(error := confirm.exception(), BusError):
        log.debug("reply_lost", reason=str(error))
