"""Questions and answers over the bus: any number under way at once on one channel (RabbitMQ's direct reply-to)."""

import asyncio
from itertools import count
from typing import Any

import orjson

from shared.bus.bodies import packed, unpacked
from shared.bus.frames import Delivery
from shared.bus.publisher import REPLIES, Publisher
from shared.bus.topology import COMMANDS
from shared.errors import ERROR_CODES, ErrorCode, Rejected, Unavailable
from shared.messages import CommandSpec, JsonText, encode_command, new_id, spec_of
from shared.messages.json_text import slices
from shared.messages.partitions import routing_key_of


class Rpc:
    """Sends commands through a publisher and hands each its own reply."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        publisher.on_replies = self._on_replies
        publisher.on_lost = self._on_lost
        self._numbers = count(1)
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def request(
        self,
        spec: CommandSpec,
        body: bytes,
        *,
        message_id: str,
        wait: float,
        deadline: float = 2.5,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Send a command and return its reply's text, `{"ok": …}`.

        A writing command is first confirmed by the broker, within `deadline` seconds: until then `Unavailable`,
        `Unconfirmed` or `Unroutable` may be raised. After that it will be handled whatever happens, and TimeoutError
        says only that no reply came within `wait` seconds. A reading command is dropped when nobody takes it in time.
        """
        correlation_id = str(next(self._numbers))
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = reply
        routing_key = routing_key_of(spec, slices(body)["data"]) if spec.partitioned else spec.routing_key
        body, encoding = packed(body)
        address = {
            "reply_to": REPLIES,
            "correlation_id": correlation_id,
            "content_encoding": encoding,
            "headers": headers,
        }
        try:
            if spec.reads:
                sent = self._publisher.send(
                    COMMANDS, routing_key, body, message_id=message_id, persistent=False,
                    expiration=str(int(wait * 1000)), **address,
                )  # fmt: skip
                sent.add_done_callback(lambda confirm: _pass_failure(confirm, reply))
            else:
                await self._publisher.publish(
                    COMMANDS, routing_key, body, message_id=message_id, deadline=deadline, **address
                )
            async with asyncio.timeout(wait):
                return await reply
        finally:
            del self._waiting[correlation_id]
            if reply.done() and not reply.cancelled():
                reply.exception()  # looked at, or asyncio complains when it came while the confirm was waited for

    async def query(
        self, name: str, data: dict[str, Any], *, sender: str, wait: float = 5.0, by_admin: bool = False
    ) -> JsonText:
        """Ask a reading command; returns its result. Raises `Rejected`, `Unavailable` or TimeoutError.

        `by_admin`: the answer is for admins alone.
        """
        message_id = new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id=sender, by_admin=by_admin)
        reply = slices(await self.request(spec_of(name), body, message_id=message_id, wait=wait))
        if reply["ok"] == b"true":
            return JsonText(reply["result"])
        error = orjson.loads(reply["error"])
        code: ErrorCode = error["code"] if error["code"] in ERROR_CODES else "internal"
        raise Rejected(code, error["message"], **error.get("details", {}))

    def _on_replies(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            waiting = self._waiting.get(delivery.correlation_id)
            if waiting and not waiting.done():
                try:
                    waiting.set_result(unpacked(delivery))
                except Rejected as error:
                    waiting.set_exception(error)

    def _on_lost(self, reason: str) -> None:
        # Answers go to the lost channel's address, so none can come any more.
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TimeoutError(f"the connection was lost while waiting for the reply: {reason}"))


def _pass_failure(confirm: asyncio.Future[None], reply: asyncio.Future[bytes]) -> None:
    if confirm.cancelled():
        return
    error = confirm.exception()
    if error is not None and not reply.done():
        reply.set_exception(error if isinstance(error, Unavailable) else Unavailable(str(error)))
