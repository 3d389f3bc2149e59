"""Clients of the gateways that come and go: by `websockets`, or by plain HTTP, with nothing of ours on their side."""

import asyncio
import json
from contextlib import suppress
from random import Random
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

# How long a connection is kept, and how long one is away.
KEPT_SECONDS = (0.6, 4.0)
AWAY_SECONDS = (0.0, 0.4)


class Listener:
    """One client, which goes on at any gateway from the last cursor it has seen, as the documentation says.

    It stays until it is told to `roam`: then it leaves at random, until `stays` again. `wants`: what it subscribes
    with; `expected`: the numbers of the events that this matches, in the order of their publication.
    """

    def __init__(self, urls: list[str], token: str, wants: dict[str, Any], seed: str) -> None:
        self.wants = wants
        self.expected: list[int] = []
        # The cursors of the events that it has, with their numbers, in the order they came.
        self.heard: dict[int, int] = {}
        self.began = asyncio.Event()
        self.stays = True
        self.faults: list[str] = []
        self.connections = self.resumed = self.told_gaps = 0
        self._urls = urls
        self._token = token
        self._random = Random(seed)
        # Everything up to here has come, and the newest that came in order.
        self._position: int | None = None
        self._newest = -1
        self._resume_token = ""
        self._socket: ClientConnection | None = None

    @property
    def has_all(self) -> bool:
        """Whether it has every event it is to have, or more."""
        return len(self.heard) >= len(self.expected)

    def roam(self) -> None:
        """Leave now and then from now on."""
        self.stays = False

    async def run(self) -> None:
        """Connect, listen and leave, over and over, until cancelled."""
        while True:
            with suppress(OSError, InvalidHandshake, ConnectionClosed, TimeoutError, httpx.TransportError):
                await self._connection(self._random.choice(self._urls))
            await asyncio.sleep(self._random.uniform(*AWAY_SECONDS))

    async def settled(self) -> None:
        """Return when the gateway has nothing more for it."""
        if self._socket is None:
            return
        pong = await self._socket.ping()
        async with asyncio.timeout(10):
            await pong

    async def _connection(self, url: str) -> None:
        quiet: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "open_timeout": 10}
        headers = {"Authorization": f"Bearer {self._token}"}
        async with connect(url, additional_headers=headers, close_timeout=1, **quiet) as socket:
            self._socket = socket
            if not await self._subscribe(socket):
                return
            self.connections += 1
            now = asyncio.get_running_loop().time
            until = now() + self._random.uniform(*KEPT_SECONDS)
            while self.stays or now() < until:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        text = await socket.recv()
                    if not self._take(json.loads(text)):
                        await self._subscribe(socket)
            if self._random.random() < 0.5:
                # As when its machine is gone: no goodbye.
                socket.transport.abort()

    async def _subscribe(self, socket: ClientConnection) -> bool:
        """Ask for what is missing, half of the time by the resume token; whether it was answered well."""
        resumes = bool(self._resume_token) and self._random.random() < 0.5
        frames = [{"type": "subscribe", **self.wants}]
        if resumes:
            frames.insert(0, {"type": "resume", "resume_token": self._resume_token})
        for frame in frames:
            since = {} if self._position is None else {"since": self._position}
            await socket.send(json.dumps(frame | since))
            async with asyncio.timeout(20):
                answer: dict[str, Any] = {}
                while answer.get("type") not in ("subscribed", "error"):
                    answer = json.loads(await socket.recv())
            if answer["type"] == "subscribed":
                self.resumed += frame["type"] == "resume"
                self._subscribed(answer)
                return True
        return False

    def _subscribed(self, answer: dict[str, Any]) -> None:
        self._resume_token = answer.get("resume_token", "")
        if (answer["mode"], set(answer["topics"])) != (self.wants["mode"], set(self.wants["topics"])):
            self.faults.append(f"other than it was: {answer}")
        if self._position is None:
            self._position = answer["cursor"]
            self.began.set()
        elif not answer["recovered"]:
            self.faults.append(f"not recovered: {answer}")
        # What overtook older events comes again with these.
        self.heard = {cursor: number for cursor, number in self.heard.items() if cursor <= self._position}
        self._newest = self._position

    def _take(self, frame: dict[str, Any]) -> bool:
        """Note what has come; False when it must ask again for what a gap tells of."""
        if frame["type"] == "gap":
            self.told_gaps += 1
            if frame["reason"] != "backpressure":
                self.faults.append(f"a gap: {frame}")
            self._position = min(self._position or 0, frame["from"] - 1)
            return False
        if "cursor" in frame and frame["type"] not in ("connected", "subscribed"):
            cursor = frame["cursor"]
            if cursor in self.heard:
                self.faults.append(f"twice: {frame}")
            if "since" not in frame and cursor <= self._newest:
                self.faults.append(f"after {self._newest}: {frame}")
            self._position = frame.get("since", cursor)
            if "since" not in frame:
                self._newest = cursor
            if "insight" in frame:
                self.heard[cursor] = frame["insight"]["number"]
        return True


class StreamListener(Listener):
    """The same by an event stream: it has no resume token, and asks again by connecting again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._leaving: asyncio.Timeout | None = None

    def roam(self) -> None:
        """Leave now and then from now on."""
        super().roam()
        if self._leaving is not None:
            self._leaving.reschedule(asyncio.get_running_loop().time() + self._random.uniform(*KEPT_SECONDS))

    async def _connection(self, url: str) -> None:
        place = {} if self._position is None else {"Last-Event-ID": str(self._position)}
        wanted = {"topics": ",".join(self.wants["topics"]), "mode": self.wants["mode"]}
        for name in ("filters", "peripheral_awareness"):
            if name in self.wants:
                wanted[name] = json.dumps(self.wants[name])
        headers = {"Authorization": f"Bearer {self._token}", **place}
        at = url.replace("ws://", "http://").replace("/ws", "/events")
        # Without TLS there is nothing to verify, and no certificates need be read.
        async with (
            httpx.AsyncClient(headers=headers, timeout=60, verify=False) as http,
            asyncio.timeout(None if self.stays else self._random.uniform(*KEPT_SECONDS)) as self._leaving,
        ):
            try:
                async with http.stream("GET", at, params=wanted) as answer:
                    if answer.status_code == 200:
                        await self._listen(answer)
            finally:
                self._leaving = None

    async def _listen(self, answer: httpx.Response) -> None:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                frame = json.loads(line[6:])
                if frame["type"] == "subscribed":
                    self._subscribed(frame)
                    self.connections += 1
                elif not self._take(frame):
                    return
