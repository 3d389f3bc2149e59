"""A connection to the gateway that lasts: made anew whenever it breaks, with what was under way and subscribed to."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from switchyard_client.errors import CommandRefused, ConnectionRefused
from switchyard_client.pace import Pace
from switchyard_client.sockets import MAX_FRAME_BYTES, Call, as_json, dial, next_frame
from switchyard_client.tokens import TokenSource, token_given

# Answers that say the command was not settled: it is sent again under its message id.
UNSETTLED = ("timeout", "unavailable", "rate_limited")
# Close codes after which the same token would be turned away again, and those after which nothing would help.
_BAD_TOKEN = 4401
_NOT_ALLOWED = 4403
_FLOODING = 4429

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_EVENTS_WAITING = 10_000

log = logging.getLogger(__name__)


class Connection:
    """Commands, subscriptions and events over one WebSocket.

    It reconnects by itself until it is closed: commands that have no answer yet are sent again under the same
    `message_id`, so each happens once, and events go on after the last one that was read, without gap or repetition
    (what the gateway can't give it tells by an event of the type `gap`).

        async with Connection("ws://127.0.0.1:8001/ws", token) as bus:
            await bus.subscribe("task.#")
            task = await bus.command("get_task", {"task_id": task_id})
            async for event in bus.events():
                ...
    """

    def __init__(self, url: str, token: str | TokenSource, *, pace: Pace | None = None) -> None:
        """`token` is one, or a source of them (`token_from_file`, `token_by_key`)."""
        self.url = url
        # Of the last event that was handed out; what to show to resume from there.
        self.cursor: int | None = None
        # The gateway's first frame on the present connection.
        self.hello: dict[str, Any] = {}
        self._token = token_given(token) if isinstance(token, str) else token
        self._pace = pace or Pace()
        self._socket: ClientConnection | None = None
        self._number = 0
        self._up = asyncio.Event()
        self._calls: dict[str, Call] = {}
        self._topics: dict[str, None] = {}
        self._mode: str | None = None
        # The answer to the subscription that is asked for, and the message id it was asked under.
        self._subscribed: asyncio.Future[dict[str, Any]] | None = None
        self._asked = ""
        # The last event that came, handed out or not.
        self._received: int | None = None
        self._subscribing = asyncio.Lock()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_EVENTS_WAITING)
        # Events were left unread since nobody took those before them.
        self._behind = False
        self._resume_token: str | None = None
        self._life: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> "Connection":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether the gateway has let us in, just now."""
        return self._up.is_set()

    async def open(self) -> None:
        """Connect; returns once the gateway has let us in, however long that takes. Raises `ConnectionRefused`."""
        if self._life is None:
            self._life = asyncio.create_task(self._live())
        await self.until_connected()

    async def until_connected(self) -> None:
        """Wait until there is a connection. Raises `ConnectionRefused` when there will be none."""
        await self._or_end(self._up.wait())

    async def close(self) -> None:
        """Close the connection; commands without an answer are given up."""
        self._closing = True
        if self._life is not None:
            if self._socket is not None:
                await self._socket.close()  # in good order, where a cancelled reader would say 1011
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        for call in self._calls.values():
            call.answer.cancel()
        self._calls.clear()

    async def command(
        self,
        name: str,
        data: Mapping[str, Any] | str,
        *,
        message_id: str | None = None,
        timeout: float | None = None,
        **envelope: Any,
    ) -> dict[str, Any]:
        """Run a command and return its result, over as many connections as that takes.

        Raises `CommandRefused`; TimeoutError after `timeout` seconds, when it may have happened or not;
        `ConnectionRefused`. Data that is text is JSON already. `envelope`: `priority`, `correlation_id` and the like.
        """
        message_id = message_id or str(uuid4())
        frame = {"type": "command", "message_id": message_id, "command": name, **envelope}
        text = f'{as_json(frame)[:-1]},"data":{data if isinstance(data, str) else as_json(data)}}}'
        if len(text.encode()) > MAX_FRAME_BYTES:
            raise CommandRefused("too_large", f"{name}: a frame has at most {MAX_FRAME_BYTES // 1024} KiB")
        async with asyncio.timeout(timeout):
            pause = 0.2
            while True:
                answer = await self._call(message_id, text)
                if answer["type"] == "response":
                    result: dict[str, Any] = answer["result"]
                    return result
                code = answer.get("code", "internal")
                if code not in UNSETTLED:
                    raise CommandRefused(code, answer.get("message", ""), answer.get("details"))
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, 5.0)

    async def subscribe(self, *topics: str, since: int | str | None = None, mode: str | None = None) -> dict[str, Any]:
        """Hear the events of these topics, beside those subscribed to before; returns the gateway's `subscribed`.

        `since` is a cursor to go on from, or `"last"`. Raises `CommandRefused` for a topic that is not allowed.
        """
        async with self._subscribing:
            while True:
                await self.until_connected()
                asked = [*self._topics, *topics]
                answer = await self._ask_for(asked, self._received if since is None else since, mode or self._mode)
                if answer["type"] == "subscribed":
                    self._topics |= dict.fromkeys(topics)
                    self._mode = mode or self._mode
                    if self._received is None or since is not None:
                        self.cursor = self._received = answer["cursor"]
                    return answer
                if answer.get("code") not in (*UNSETTLED, "lost"):
                    raise CommandRefused(answer.get("code", "internal"), answer.get("message", ""))
                await asyncio.sleep(0.2)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The events subscribed to, and what else the gateway tells, one after the other, for as long as it lasts."""
        while True:
            if self._behind and self._events.empty():
                self._behind = False
                async with self._subscribing:
                    await self._ask_for(list(self._topics), self._received, self._mode)
            event: dict[str, Any] = await self._or_end(self._events.get())
            if isinstance(event.get("cursor"), int):
                self.cursor = event.get("since", event["cursor"])
            yield event

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame that has no answer, such as `ack` or `agent_presence`; lost where the connection breaks."""
        await self.until_connected()
        await self._write(json.dumps(frame))

    # What follows is the life of the sockets.

    async def _live(self) -> None:
        pause, renew = _FIRST_PAUSE, False
        while True:
            code = 0
            try:
                await self._one(await self._token(renew))
            except ConnectionRefused:
                raise
            except ConnectionClosed as closed:
                if self._closing:
                    return
                code = closed.rcvd.code if closed.rcvd else 0
                reason = closed.rcvd.reason if closed.rcvd else "the connection broke"
                if code == _NOT_ALLOWED:
                    raise ConnectionRefused(code, reason) from None
                log.warning("%s: %s; connecting anew", self.url, reason or code)
            except InvalidURI as error:
                raise ConnectionRefused(0, str(error)) from None
            except (OSError, TimeoutError, InvalidHandshake) as error:
                log.warning("%s: %s; trying again", self.url, error or type(error).__name__)
            if self._up.is_set():
                self._down()
                pause = _FIRST_PAUSE
            renew = code == _BAD_TOKEN
            if code == _FLOODING:
                pause = _LONGEST_PAUSE / 2
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _one(self, token: str) -> None:
        """One connection, from the handshake to its end. Raises what ended it."""
        async with dial(self.url) as socket:
            # The seat of a connection that hangs is taken at once. A token of this kind is good for one time.
            seat, self._resume_token = self._resume_token, None
            showing = {"type": "authenticate", "token": token} | ({"resume_token": seat} if seat else {})
            await socket.send(json.dumps(showing))
            self.hello = await asyncio.wait_for(next_frame(socket), 15)
            self._resume_token = self.hello.get("resume_token")
            self._number += 1
            self._socket = socket
            self._up.set()
            again = asyncio.create_task(self._take_up())
            try:
                while True:
                    self._heard(await next_frame(socket))
            finally:
                again.cancel()

    def _down(self) -> None:
        self._up.clear()
        self._socket = None
        if self._subscribed and not self._subscribed.done():
            self._subscribed.set_result({"type": "error", "code": "lost", "message": "the connection broke"})

    async def _take_up(self) -> None:
        """Bring a fresh connection to where the last one was."""
        for call in list(self._calls.values()):
            await self._transmit(call)
        while self._topics:
            async with self._subscribing:
                answer = await self._ask_for(list(self._topics), self._received, self._mode)
            if answer["type"] == "subscribed" or answer.get("code") not in UNSETTLED:
                return
            await asyncio.sleep(0.2)

    def _heard(self, frame: dict[str, Any]) -> None:
        """One frame of the gateway."""
        kind = frame.get("type")
        about = frame.get("correlation_id")
        if kind in ("response", "error") and about in self._calls:
            answer = self._calls[about].answer
            if not answer.done():
                answer.set_result(frame)
        elif self._subscribed is not None and about == self._asked:
            self._resume_token = frame.get("resume_token", self._resume_token)
            if not self._subscribed.done():
                self._subscribed.set_result(frame)
        elif kind in ("pong", "duplicate_ack", "response", "subscribed"):
            return
        elif self._behind or self._events.full():
            self._behind = True
        else:
            if isinstance(frame.get("cursor"), int):
                self._received = frame.get("since", frame["cursor"])
            self._events.put_nowait(frame)

    async def _call(self, message_id: str, frame: str) -> dict[str, Any]:
        call = self._calls[message_id] = Call(frame)
        try:
            if self.connected:
                await self._transmit(call)
            answer: dict[str, Any] = await self._or_end(call.answer)
            return answer
        finally:
            del self._calls[message_id]

    async def _transmit(self, call: Call) -> None:
        """Send a command on the present connection, once; where it breaks, the next one takes care of it."""
        if call.sent_on == self._number:
            return
        call.sent_on = self._number
        await self._write(call.frame)

    async def _write(self, text: str) -> None:
        await self._pace.turn()
        if self._socket is None:
            return
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            return  # the reader notices, too

    async def _ask_for(self, topics: list[str], since: int | str | None, mode: str | None) -> dict[str, Any]:
        """What the gateway says to a `subscribe`."""
        self._subscribed = asyncio.get_running_loop().create_future()
        self._asked = str(uuid4())
        frame: dict[str, Any] = {"type": "subscribe", "message_id": self._asked, "topics": topics}
        frame |= {"since": since} if since is not None else {}
        frame |= {"mode": mode} if mode is not None else {}
        await self._write(json.dumps(frame))
        if not self.connected:
            return {"type": "error", "code": "lost", "message": "the connection broke"}
        answer: dict[str, Any] = await self._or_end(self._subscribed)
        return answer

    async def _or_end(self, waiting: Any) -> Any:
        """What is waited for, unless the connection ends for good before that: its reason is raised then."""
        if self._life is None:
            raise ConnectionRefused(0, "the connection is not open")
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait((task, self._life), return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            if self._life.cancelled():
                raise ConnectionRefused(0, "the connection was closed")
            self._life.result()
            raise ConnectionRefused(0, "the connection has ended")
        finally:
            task.cancel()
