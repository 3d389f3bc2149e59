"""Following the event stream: where to begin, how the ring is filled, and what to do when the stream was made anew."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.ws_gateway.stream.intake import Epoch, Intake
from shared.bus.tail import StreamEvent, Tail, last_offset
from shared.errors import BusError, Rejected, Unavailable
from shared.logs import get_logger

RETRY_SECONDS = 0.5
# How long somebody waits for a stream that was lost from sight, and how often it is looked for.
AWAY_SECONDS, LOOK_SECONDS = 5.0, 0.05
# After this long nobody has said that a stream whose offsets went back is a new one: then it lost its end.
PATIENCE_SECONDS = 30.0

log = get_logger()


class _EventLog(msgspec.Struct):
    epoch: str
    base: int


class Follower:
    """Gives the intake every event of the stream, first the last `prefill` there are, then each as it comes."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        intake: Intake,
        ask: Callable[[str, dict[str, Any]], Awaitable[bytes]],
        prefill: int,
    ) -> None:
        self._url = url
        self._name = name
        self._intake = intake
        self._ask = ask
        self._prefill = prefill
        self._tail: Tail | None = None
        self._arrived: list[StreamEvent] = []
        self._filled_at = 0
        self._is_filled = asyncio.Event()
        # The stream's last cursor when the gateway came up, or lost what it had from there on.
        self.started_at: int | None = None
        self.waits_for = "the session worker and the event stream"

    @property
    def connected(self) -> bool:
        """Whether events come in now."""
        return self._tail is not None and self._tail.connected

    @property
    def ready(self) -> bool:
        """Whether the ring has been filled."""
        return self._is_filled.is_set()

    async def wait_ready(self) -> None:
        """Wait until the ring has been filled."""
        await self._is_filled.wait()

    async def wait_connected(self) -> None:
        """Wait until events come in; then the intake's epoch is the stream's. Raises `Unavailable` after a while."""
        try:
            async with asyncio.timeout(AWAY_SECONDS):
                while not self.connected:  # noqa: ASYNC110 (the tail tells nobody)
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise Unavailable("the event stream is away") from None

    async def run(self) -> None:
        """Follow until cancelled."""
        epoch, last = await self._look()
        start = max(last - self._prefill + 1, 0)
        self._filled_at = last + 1
        self.started_at = epoch.base + last
        self._intake.begin(epoch, start)
        self.waits_for = f"{last + 1 - start} recent events"
        self._check_filled()
        self._tail = Tail(
            self._url, name=self._name, on_events=self._on_events, start=start, on_reconnect=self._where_to_go_on
        )
        await self._tail.run()

    def _on_events(self, events: list[StreamEvent]) -> None:
        # Under load several reads come in one turn of the loop: together they make one write for each client.
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._hand_on)
        self._arrived += events

    def _hand_on(self) -> None:
        events, self._arrived = self._arrived, []
        self._intake.take(events)
        if not self._is_filled.is_set():
            self._check_filled()

    def _check_filled(self) -> None:
        if self._intake.next_offset >= self._filled_at:
            self._is_filled.set()

    async def _look(self) -> tuple[Epoch, int]:
        """The stream's epoch and its last offset, as soon as both can be had."""
        said = False
        while True:
            try:
                answer = msgspec.json.decode(await self._ask("get_event_log", {}), type=_EventLog)
                return Epoch(answer.epoch, answer.base), await last_offset(self._url, name=self._name)
            except (Rejected, BusError, TimeoutError) as fault:
                if not said:
                    log.warning("event_log_unknown", reason=str(fault) or "no answer", retry_s=RETRY_SECONDS)
                    said = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _where_to_go_on(self) -> int:
        """Where to follow a stream that was lost from sight: after the last event, unless it is not the same stream."""
        loop = asyncio.get_running_loop()
        last = await last_offset(self._url, name=self._name)
        if last >= self._intake.next_offset - 1:
            return self._intake.next_offset
        end = loop.time() + PATIENCE_SECONDS
        while True:
            epoch, last = await self._look()
            if epoch.name != self._intake.epoch.name:
                self._intake.begin(epoch, 0)
                return 0
            if last >= self._intake.next_offset - 1:
                return self._intake.next_offset  # it was not all there yet, just after the broker's start
            if loop.time() > end:
                log.error("event_log_shortened", last_offset=last, expected=self._intake.next_offset - 1)
                self._intake.restart(last + 1)
                self.started_at = self._intake.epoch.base + last
                return last + 1
            await asyncio.sleep(RETRY_SECONDS)
