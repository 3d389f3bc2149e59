"""The output of one run: split into lines, numbered, and sent as fast as the server takes it, no faster."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from switchyard_client.agents.lines import LineSplitter, Piece, encode
from switchyard_client.agents.outbox import Outbox
from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused

# Between two batches of a run: what comes meanwhile goes together, and others have their turn.
_INTERVAL = 0.025
# Of lines, before the server has said what it takes.
_FIRST_CREDIT = 500
_LAST = 5

log = logging.getLogger(__name__)

# Told of each piece: its stream, and what it is.
Listener = Callable[[str, Piece], None]


class Output:
    """What one process writes, on its way to the server."""

    def __init__(self, bus: Connection, run_id: str, session_id: str, outbox: Outbox) -> None:
        self._bus = bus
        self._run_id = run_id
        self._session_id = session_id
        self._outbox = outbox
        self._splitters = {name: LineSplitter() for name in ("stdout", "stderr", "input")}
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._credit = _FIRST_CREDIT
        self.bytes = 0
        # The last lines there were, as `get_state` shows them.
        self.last: deque[dict[str, object]] = deque(maxlen=_LAST)
        self.listener: Listener | None = None
        # Called when there is room again.
        self.on_room: Callable[[], None] | None = None
        # Why no more output can be handed in, should that be.
        self.refused: CommandRefused | None = None

    @property
    def lines(self) -> int:
        """How many lines there were."""
        return self._outbox.given

    @property
    def full(self) -> bool:
        """Whether the process should not be read from."""
        self._outbox.away = not self._bus.connected
        return self._outbox.full

    def add(self, stream: str, data: bytes) -> None:
        """What came of a stream; nothing means that it has ended."""
        self.bytes += len(data)
        splitter = self._splitters[stream]
        self._put(stream, splitter.feed(data) if data else splitter.finish())

    def flush(self) -> None:
        """Hand out lines that have not ended: somebody may be waiting for an answer to one."""
        for stream, splitter in self._splitters.items():
            self._put(stream, splitter.flush())

    def finish(self) -> None:
        """No more comes."""
        for stream, splitter in self._splitters.items():
            self._put(stream, splitter.finish())

    async def sent(self) -> None:
        """Wait until the server has all of it."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send what is there, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while len(self._outbox) and not self.refused:
                await asyncio.sleep(max(_INTERVAL, await self._send()))
                if self.on_room:
                    self.on_room()
            self._empty.set()

    async def _send(self) -> float:
        """Send a batch; returns how long the server wants to be left alone."""
        first = self._outbox.first
        batch = ",".join(self._outbox.batch(max(1, self._credit)))
        data = (
            f'{{"run_id":"{self._run_id}","session_id":{json.dumps(self._session_id)},'
            f'"first_line":{first},"lines":[{batch}]}}'
        )
        try:
            answer = (await self._bus.command("agent_output", data))["output"]
        except CommandRefused as refused:
            expected = refused.details.get("expected")
            if isinstance(expected, int) and expected > first:
                self._outbox.stored(expected)
                return 0.0
            log.error("the output of run %s is refused: %s", self._run_id, refused)
            self.refused = refused
            return 0.0
        self._outbox.stored(answer["next_line"])
        self._credit = answer["credit"]
        pause: float = answer["pause_s"]
        return max(pause, 0.0 if self._credit > 0 else 1.0)

    def _put(self, stream: str, pieces: list[Piece]) -> None:
        if not pieces:
            return
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        lines = []
        for number, piece in enumerate(pieces, self._outbox.given + 1):
            text, encoding = encode(piece.content)
            self.last.append(
                {
                    "number": number,
                    "stream": stream,
                    "text": text,
                    "at": at,
                    "partial": piece.more,
                    "encoding": encoding,
                }
            )
            line: dict[str, object] = {"stream": stream, "text": text, "at": at}
            if piece.more:
                line["partial"] = True
            if encoding:
                line["encoding"] = encoding
            lines.append((json.dumps(line, ensure_ascii=False, separators=(",", ":")), len(text.encode())))
        if not self.refused:
            self._outbox.put(lines)
            self._empty.clear()
            self._news.set()
        if self.listener:
            for piece in pieces:
                self.listener(stream, piece)

    def prompt(self) -> bytes:
        """What the last line of the process begins with, where it has not ended."""
        return self._splitters["stdout"].unfinished or self._splitters["stderr"].unfinished
