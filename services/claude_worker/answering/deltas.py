"""An answer while it is given: its pieces, gathered for a moment, as events that are not kept for anybody."""

import asyncio

from services.claude_worker.turns import Held
from shared.bus.publisher import Publisher
from shared.bus.topology import EVENTS
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages.chat_events import ChatDelta

# Nobody reads faster, and every piece is an event for all who listen.
GATHER_SECONDS = 0.15
log = get_logger()


class Deltas:
    """Publishes the pieces of one attempt: the first at once, the others gathered."""

    def __init__(self, publisher: Publisher, held: Held) -> None:
        self._publisher = publisher
        self._held = held
        self._text = ""
        self._index = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, piece: str) -> None:
        """A piece has come."""
        self._text += piece
        if self._timer is None:
            self._publish()
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._on_time)

    def close(self) -> None:
        """Publish what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._publish()

    def _on_time(self) -> None:
        self._timer = None
        if self._text:
            self.add("")

    def _publish(self) -> None:
        if not self._text:
            return
        turn = self._held.turn
        event = ChatDelta(
            room_id=turn.room_id,
            bot_id=turn.bot_id,
            turn_id=turn.turn_id,
            attempt=turn.attempt,
            index=self._index,
            text=self._text,
            sender_agent_id=turn.bot_id,
            correlation_id=self._held.message_id,
            hops=self._held.hops + 1,
            trust=self._held.trust,
            traceparent=self._held.traceparent,
        )
        self._text = ""
        self._index += 1
        self._publisher.send(
            EVENTS, event.routing_key(), event.encoded(), message_id=event.message_id, mandatory=False
        ).add_done_callback(_forget)


def _forget(confirm: "asyncio.Future[None]") -> None:
    if not confirm.cancelled() and isinstance(error := confirm.exception(), BusError):
        log.debug("delta_lost", reason=str(error))
