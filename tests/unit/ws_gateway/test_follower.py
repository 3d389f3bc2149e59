"""Where the stream is followed from, at the start and after it was lost from sight."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.fanout.interest import Interest
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream import follower as follower_module
from services.ws_gateway.stream.follower import Follower
from services.ws_gateway.stream.intake import Intake
from services.ws_gateway.stream.ring import Ring
from shared.bus.tail import StreamEvent
from shared.errors import Unavailable
from tests.unit.ws_gateway.wire import Wire
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


class Scene:
    """A stream whose last offset is `last`, and a session worker that names `epoch` and `base`."""

    def __init__(self, patch: pytest.MonkeyPatch, *, last: int, epoch: str = "e1", base: int = 1) -> None:
        self.last, self.epoch, self.base = last, epoch, base
        self.away = self.looks = 0
        self.hub = Hub(Ring(100, 10**6))
        self.intake = Intake(self.hub, Metrics(self.hub, CollectorRegistry()))
        self.follower = Follower("amqp://", name="test", intake=self.intake, ask=self.ask, prefill=100)
        self.tails: list[dict[str, Any]] = []
        patch.setattr(follower_module, "last_offset", self.last_offset)
        patch.setattr(follower_module, "Tail", self.tail)
        patch.setattr(follower_module, "RETRY_SECONDS", 0.001)

    async def ask(self, name: str, data: dict[str, Any]) -> bytes:
        if self.away:
            self.away -= 1
            raise Unavailable("no worker")
        return json.dumps({"epoch": self.epoch, "base": self.base, "first": 0, "last": 0}).encode()

    async def last_offset(self, url: str, *, name: str) -> int:
        self.looks += 1
        return self.last

    def tail(self, url: str, **options: Any) -> "Scene":
        self.tails.append(options)
        return self

    connected = True

    async def run(self) -> None:
        """Stands in for the tail."""

    def deliver(self, *offsets: int) -> None:
        """What the tail would hand on."""
        bodies = [json.dumps({"type": "test", "message_id": f"{self.epoch}-{n}"}).encode() for n in offsets]
        self.tails[-1]["on_events"]([StreamEvent(n, "a", body, "") for n, body in zip(offsets, bodies, strict=True)])

    async def turn(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_the_ring_is_filled_with_the_latest_events_before_anyone_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, last=999)
    scene.away = 3
    await scene.follower.run()
    assert scene.tails[0]["start"] == 900
    assert not scene.follower.ready
    scene.deliver(*range(900, 999))
    await scene.turn()
    assert not scene.follower.ready
    scene.deliver(999)
    await scene.turn()
    assert scene.follower.ready
    assert (len(scene.hub.ring), scene.hub.cursor, scene.hub.ring.floor) == (100, 1000, 900)


async def test_where_the_stream_stood_at_the_start_is_known_and_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, last=150, base=1000)
    assert scene.follower.started_at is None
    await scene.follower.run()
    assert scene.follower.started_at == 1150
    scene.deliver(*range(51, 160))
    await scene.turn()
    assert scene.hub.cursor == 1159
    assert scene.follower.started_at == 1150


async def test_an_empty_stream_is_ready_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, last=-1)
    await scene.follower.run()
    assert scene.follower.ready
    assert (scene.tails[0]["start"], scene.hub.cursor) == (0, 0)


async def test_what_one_turn_of_the_loop_brings_is_handed_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, last=-1)
    await scene.follower.run()
    wire = Wire(scene.hub)
    scene.hub.join(wire.connection, Interest(frozenset({"#"})))
    writes: list[bytes] = []
    wire.connection.group.writes = [writes.append]  # type: ignore[union-attr]
    scene.deliver(0, 1)
    scene.deliver(2)
    await scene.turn()
    assert len(writes) == 1
    assert scene.hub.cursor == 3


async def test_after_a_break_it_goes_on_behind_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, last=5)
    await scene.follower.run()
    scene.deliver(*range(6))
    await scene.turn()
    scene.last = 9
    assert await scene.tails[0]["on_reconnect"]() == 6


async def test_a_stream_whose_offsets_went_back_is_followed_from_its_start_once_its_epoch_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, last=5)
    await scene.follower.run()
    scene.deliver(*range(6))
    await scene.turn()
    scene.last = 2
    going_on = asyncio.ensure_future(scene.tails[0]["on_reconnect"]())
    await eventually_async(lambda: asyncio.sleep(0, scene.looks >= 5))
    assert not going_on.done()
    scene.epoch, scene.base = "e2", 1000
    assert await going_on == 0
    assert (scene.intake.epoch.name, scene.hub.cursor) == ("e2", 999)


async def test_a_stream_that_was_not_all_there_yet_is_gone_on_with_as_soon_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, last=5)
    await scene.follower.run()
    scene.deliver(*range(6))
    await scene.turn()
    scene.last = 2
    going_on = asyncio.ensure_future(scene.tails[0]["on_reconnect"]())
    await eventually_async(lambda: asyncio.sleep(0, scene.looks >= 5))
    scene.last = 7
    assert await going_on == 6
    assert scene.intake.epoch.name == scene.epoch


async def test_a_stream_that_lost_its_end_is_followed_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "PATIENCE_SECONDS", 0.01)
    scene = Scene(monkeypatch, last=5)
    await scene.follower.run()
    scene.deliver(*range(6))
    await scene.turn()
    scene.last = 2
    assert await scene.tails[0]["on_reconnect"]() == 3
    assert scene.hub.cursor == 3
    assert scene.follower.started_at == 3
