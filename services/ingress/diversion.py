"""The diversion: whether messages go straight to the broker or by the spool, and the way back from the spool.

*Direct*: messages are published as they come. *Diverted*, from the first publish that fails or gets no confirm in time:
everything goes to the spool, behind what already waits there, so that order holds and nobody waits for a frozen broker.
A background task publishes the spool in order. When it has read to the end, it stops new messages for the few
milliseconds it takes to send the rest; from then on they go direct again, on the same channel and so behind it.
"""

import asyncio
import sqlite3

from services.ingress.outgoing import Outgoing
from services.ingress.spool import Row, Spool, SpoolFull
from shared.bus.publisher import Publisher
from shared.bus.topology import COMMANDS
from shared.errors import BusError, Unavailable, Unconfirmed, Unroutable
from shared.logs import get_logger
from shared.messages import new_id

_RETRY_SECONDS = 0.5
_GATE_SECONDS = 1.0
_ADOPT_EVERY_SECONDS = 30
_BATCH_ROWS = 500
_BATCH_BYTES = 8_000_000

log = get_logger()


class Diversion:
    """Decides the way of each message; publishes the spool."""

    def __init__(self, publisher: Publisher, spool: Spool) -> None:
        self._publisher = publisher
        self._spool = spool
        # Whether messages go direct. Not before the spool, which may hold something, was looked through.
        self.direct = False
        # The broker holds the connection but does not answer.
        self.silent = False
        # Whether the broker was reached at all since the start.
        self.was_connected = False
        self.replayed = 0
        # Closed while the last of the spool is being sent; new messages wait for it.
        self._gate: asyncio.Event | None = None
        self._diverted = asyncio.Event()
        self._diverted.set()

    def send(self, message: Outgoing) -> asyncio.Future[None]:
        """Publish; the future resolves at the confirm, or fails with a BusError."""
        return self._publisher.send(
            COMMANDS,
            message.routing_key,
            message.body,
            message_id=message.message_id,
            content_encoding=message.content_encoding,
            headers={"traceparent": message.traceparent},
        )

    async def echo(self) -> None:
        """Return when the broker answers. Raises BusError when it is lost first."""
        # Nobody listens under this name: an answering broker returns the message at once.
        try:
            await self._publisher.send("", "switchyard.nobody", b"", message_id=new_id(), persistent=False)
        except Unroutable:
            return

    async def opens(self) -> bool:
        """Whether messages go direct, once the gate is open if it is closed just now."""
        while (gate := self._gate) is not None:
            try:
                async with asyncio.timeout(_GATE_SECONDS):
                    await gate.wait()
            except TimeoutError:
                return False
        return self.direct

    def divert(self, error: BusError) -> None:
        """A publish failed: from now on messages go by the spool, until that is empty again."""
        if isinstance(error, Unroutable):
            log.error("topology_broken", fault=str(error))
        if isinstance(error, Unconfirmed) and self._publisher.connected and not self.silent:
            self._fall_silent(str(error))
        if self.direct:
            self.direct = False
            log.warning("diverted_to_spool", reason=str(error))
        self._diverted.set()

    def _fall_silent(self, reason: str) -> None:
        self.silent = True
        # Whoever waits for a reply is answered now.
        self._publisher.on_lost(reason)

    async def run(self) -> None:
        """Publish the spool whenever something is in it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._replay())
            tasks.create_task(self._adopt())

    async def _adopt(self) -> None:
        while True:
            try:
                if await self._spool.adopt():
                    self.divert(Unavailable("messages of another ingress were taken over"))
            except (OSError, sqlite3.Error, SpoolFull) as error:
                log.error("spool_adoption_failed", fault=str(error))
            await asyncio.sleep(_ADOPT_EVERY_SECONDS)

    async def _replay(self) -> None:
        said = ""
        while True:
            await self._diverted.wait()
            await self._publisher.wait_connected()
            self._diverted.clear()
            before = self.replayed
            try:
                await self._drain()
            except (BusError, sqlite3.Error) as error:
                self.direct = False
                self._diverted.set()
                if str(error) != said:
                    said = str(error)
                    log.warning(
                        "replay_stopped", reason=said, left=self._spool.messages, replayed=self.replayed - before
                    )
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                said = ""
                log.info("publishing_directly", replayed=self.replayed - before)
                if self._spool.messages:
                    # Somebody did not wait for the gate.
                    self.divert(Unavailable("a message came to the spool during the last look at it"))
            finally:
                self._open_gate()

    async def _drain(self) -> None:
        """Publish the spool from its beginning and go direct at its end. Raises BusError, sqlite3.Error."""
        # One message alone first, without a deadline: a frozen broker or a queue without a leader holds us here.
        rows = await self._spool.head(0, rows=1, size=1)
        if rows:
            await self._forward(rows, self._send_all(rows))
        else:
            await self.echo()
        self.was_connected, self.silent = True, False
        after = 0
        while True:
            rows = await self._spool.head(after, rows=_BATCH_ROWS, size=_BATCH_BYTES)
            if len(rows) < _BATCH_ROWS and sum(len(row.message.body) for row in rows) < _BATCH_BYTES:
                break
            await self._forward(rows, self._send_all(rows))
            after = rows[-1].id
        self._gate = asyncio.Event()
        confirms = self._send_all(rows)
        if rows:
            after = rows[-1].id
        # Puts begun before the gate closed are seen by this read.
        last = await self._spool.head(after, rows=1_000_000, size=1 << 40)
        confirms += self._send_all(last)
        if not self._publisher.connected:
            raise Unavailable("the broker is away")
        self.direct = True
        self._open_gate()
        await self._forward([*rows, *last], confirms)

    def _send_all(self, rows: list[Row]) -> list[asyncio.Future[None]]:
        return [self.send(row.message) for row in rows]

    async def _forward(self, rows: list[Row], confirms: list[asyncio.Future[None]]) -> None:
        """Wait for the confirms and remove what is confirmed. Raises the first BusError, if any."""
        outcomes = await asyncio.gather(*confirms, return_exceptions=True)
        confirmed = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if confirmed:
            await self._spool.remove(confirmed)
            self.replayed += len(confirmed)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _open_gate(self) -> None:
        if self._gate is not None:
            self._gate.set()
            self._gate = None
