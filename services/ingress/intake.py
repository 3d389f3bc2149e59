"""The intake: gets every writing command kept, by the broker's confirm or, when that fails, by the spool."""

import asyncio

from services.ingress.diversion import Diversion
from services.ingress.outgoing import Outgoing, pack
from services.ingress.spool import Spool, SpoolFull
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.errors import BusError, Rejected, Unavailable, Unconfirmed
from shared.messages import CommandSpec

# How long a confirm may take. With the rest of the way an answer is out within 3 s, whatever the broker does.
CONFIRM_SECONDS = 1.5
_SWEEP_SECONDS = 0.1
_PROBE_EVERY_SECONDS = 0.5
_REMEMBERED = 20_000


class Intake:
    """Keeps writing commands, and asks for replies."""

    def __init__(
        self,
        publisher: Publisher,
        rpc: Rpc,
        spool: Spool,
        way: Diversion,
        *,
        confirm_seconds: float = CONFIRM_SECONDS,
    ) -> None:
        self._publisher = publisher
        self._rpc = rpc
        self._spool = spool
        self._confirm_seconds = confirm_seconds
        self._loop = asyncio.get_running_loop()
        self._way = way
        # Confirms waited for, in the order of their deadlines.
        self._under_way: dict[asyncio.Future[None], float] = {}
        self.spooled = 0
        # Message ids kept lately, in two generations.
        self._lately: set[str] = set()
        self._earlier: set[str] = set()

    @property
    def broker_answers(self) -> bool:
        """Whether the broker is connected and takes messages."""
        return self._publisher.connected and not self._way.silent

    @property
    def can_keep(self) -> bool:
        """Whether a message would be taken now."""
        return (self._way.direct and self._publisher.connected) or self._spool.has_room

    def kept_lately(self, message_id: str) -> bool:
        """Whether a message with this id was kept a short while ago."""
        return message_id in self._lately or message_id in self._earlier

    async def holds(self, message_id: str) -> bool:
        """Whether a message with this id waits in the spool. Raises sqlite3.Error."""
        return await self._spool.holds(message_id)

    async def keep(self, message: Outgoing) -> None:
        """Return once the message is kept. Raises `Rejected("unavailable")` when neither broker nor spool takes it."""
        self._remember(message.message_id)
        if self._way.direct or await self._way.opens():
            try:
                await self._publish(message)
            except BusError as error:
                self._way.divert(error)
            else:
                return
        await self._put(message)

    async def ask(self, spec: CommandSpec, message: Outgoing, wait: float) -> bytes | None:
        """Keep a writing command and return its reply's text; None when none has come within `wait` seconds.

        Raises as `keep` does.
        """
        if wait <= 0 or not (self._way.direct or await self._way.opens()):
            await self.keep(await pack(message))
            return None
        self._remember(message.message_id)
        try:
            return await self._rpc.request(
                spec,
                message.body,
                message_id=message.message_id,
                wait=wait,
                deadline=self._confirm_seconds,
                headers={"traceparent": message.traceparent},
            )
        except TimeoutError:
            return None
        except BusError as error:
            self._way.divert(error)
            await self._put(await pack(message))
            return None

    async def query(self, spec: CommandSpec, question: Outgoing, wait: float) -> bytes:
        """The reply's text of a reading command. Raises `Rejected`: `unavailable`, or `timeout` after `wait` s."""
        if not self.broker_answers:
            raise _away()
        try:
            return await self._rpc.request(
                spec,
                question.body,
                message_id=question.message_id,
                wait=wait,
                headers={"traceparent": question.traceparent},
            )
        except TimeoutError:
            if not self.broker_answers:
                raise _away() from None
            raise Rejected("timeout", f"no answer within {wait:g} s; the worker is away or busy") from None
        except BusError:
            raise _away() from None

    def hurry(self) -> None:
        """Answer everybody who waits for a reply now: the service is about to stop."""
        self._publisher.on_lost("the service is stopping")

    async def run(self) -> None:
        """Watch the broker, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            tasks.create_task(self._probe())

    def _remember(self, message_id: str) -> None:
        self._lately.add(message_id)
        if len(self._lately) > _REMEMBERED:
            self._earlier, self._lately = self._lately, set()

    async def _publish(self, message: Outgoing) -> None:
        confirm = self._way.send(message)
        self._under_way[confirm] = self._loop.time() + self._confirm_seconds
        try:
            await confirm
        finally:
            del self._under_way[confirm]

    async def _put(self, message: Outgoing) -> None:
        try:
            await self._spool.put(message)
        except SpoolFull as error:
            self._lately.discard(message.message_id)
            raise Rejected(
                "unavailable", f"the broker is away and the spool takes no more: {error}", retry_after=5
            ) from None
        self.spooled += 1
        if self._way.direct:
            # It took its time, and nobody looks into the spool any more.
            self._way.divert(Unavailable("a message came to the spool when that was emptied already"))

    async def _sweep(self) -> None:
        """Fail publishes whose confirm is overdue: one timer for all, since one for each costs a tenth of a request."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self._loop.time()
            for confirm, due in list(self._under_way.items()):
                if due > now:
                    break
                if not confirm.done():
                    confirm.set_exception(Unconfirmed(f"no confirm from the broker within {self._confirm_seconds:g} s"))

    async def _probe(self) -> None:
        """Notice a frozen broker even when nothing is published: queries and waiting callers want an answer too."""
        while True:
            await asyncio.sleep(_PROBE_EVERY_SECONDS)
            if self._way.silent or not self._publisher.connected:
                continue
            try:
                async with asyncio.timeout(self._confirm_seconds):
                    await self._way.echo()
            except TimeoutError:
                self._way.divert(Unconfirmed(f"the broker has not answered for {self._confirm_seconds:g} s"))
            except BusError:
                pass  # the connection is lost, which its owner has noticed


def _away() -> Rejected:
    return Rejected("unavailable", "the broker is away; commands that write are still taken", retry_after=2)
