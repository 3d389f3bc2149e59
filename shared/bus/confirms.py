"""Which publishes of a connection the broker has still to confirm; no I/O."""

import asyncio

from shared.bus.frames import Delivery
from shared.errors import Unavailable, Unconfirmed, Unroutable


class Confirms:
    """Futures of the messages under way, by the number the broker counts them with: 1, 2, 3 …"""

    def __init__(self) -> None:
        self._published = 0
        self._waiting: dict[int, tuple[asyncio.Future[None], tuple[str, str, str]]] = {}

    def expect(self, confirm: asyncio.Future[None], exchange: str, routing_key: str, message_id: str) -> None:
        """The next message was just published."""
        self._published += 1
        self._waiting[self._published] = (confirm, (exchange, routing_key, message_id))

    def settle(self, number: int, *, multiple: bool, refused: bool) -> None:
        """The broker took or refused a message, or with `multiple` every one up to it."""
        numbers = [number]
        if multiple:
            numbers = []
            for waiting in self._waiting:
                if waiting > number:
                    break
                numbers.append(waiting)
        for each in numbers:
            waited = self._waiting.pop(each, None)
            if waited is None or waited[0].done():
                continue
            confirm = waited[0]
            if refused:
                confirm.set_exception(Unavailable("the broker refused the message: a queue is full"))
            else:
                confirm.set_result(None)

    def returned(self, reason: str, message: Delivery) -> None:
        """The broker had no queue for a message; its confirm still follows and finds the future done."""
        # Attempts under one id may be under way at once, so the id alone does not tell which it was.
        published = (message.exchange, message.routing_key, message.message_id)
        for confirm, sent in self._waiting.values():
            if sent == published and not confirm.done():
                confirm.set_exception(
                    Unroutable(f"no queue takes {message.routing_key!r} from {message.exchange!r}: {reason}")
                )
                return

    def lost(self, reason: str) -> None:
        """The connection ended: what was not confirmed may or may not have been kept."""
        for confirm, _ in self._waiting.values():
            if not confirm.done():
                confirm.set_exception(Unconfirmed(f"the connection was lost before the confirm: {reason}"))
        self._waiting.clear()
