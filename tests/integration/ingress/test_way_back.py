"""The way back from the spool: whatever comes to it late still goes out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.ingress import diversion
from services.ingress.diversion import Diversion
from services.ingress.intake import Intake
from services.ingress.outgoing import Outgoing, command
from services.ingress.spool import Row, Spool
from shared.bus.rpc import Rpc
from shared.errors import Unavailable
from shared.messages import new_id, spec_of
from tests.integration.bus.clients import Clients, until

pytestmark = pytest.mark.anyio


class SlowSpool(Spool):
    """A spool whose last look before the way is direct again takes as long as a test wants."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 1 << 30)
        self.looked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def head(self, after: int, *, rows: int, size: int) -> list[Row]:
        found = await super().head(after, rows=rows, size=size)
        if rows == 1_000_000:
            self.looked.set()
            await self.go_on.wait()
        return found


@dataclass
class House:
    """An intake before a real broker."""

    rpc: Rpc
    spool: SlowSpool
    way: Diversion
    intake: Intake


@pytest.fixture
async def house(fresh_amqp_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        clients = Clients(stack)
        publisher = await clients.publisher(fresh_amqp_url)
        rpc = Rpc(publisher)
        spool = SlowSpool(tmp_path)
        await spool.open()
        stack.push_async_callback(spool.close)
        way = Diversion(publisher, spool)
        clients.spawn(way.run())
        await until(lambda: way.direct)
        yield House(rpc, spool, way, Intake(publisher, rpc, spool, way))


def insight() -> Outgoing:
    envelope: dict[str, Any] = {"message_id": new_id(), "sender_agent_id": "ada"}
    return command(spec_of("record_insight"), envelope, b'{"insight":1}', f"00-{1:032x}-{1:016x}-01")


async def test_what_did_not_wait_for_the_last_look_goes_out_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diversion, "_GATE_SECONDS", 0.01)
    house.spool.looked.clear()
    house.spool.go_on.clear()
    house.way.divert(Unavailable("as a test wants it"))
    await house.spool.looked.wait()
    await house.intake.keep(insight())
    assert house.spool.messages == 1
    house.spool.go_on.set()
    await until(lambda: not house.spool.messages and house.way.direct)
    assert house.way.replayed == 1


async def test_what_comes_to_the_spool_when_the_way_is_direct_again_goes_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = asyncio.Event()

    async def pack(message: Outgoing) -> Outgoing:
        await packed.wait()
        return message

    async def request(*_: Any, **__: Any) -> bytes:
        raise Unavailable("as a test wants it")

    monkeypatch.setattr("services.ingress.intake.pack", pack)
    monkeypatch.setattr(house.rpc, "request", request)
    house.spool.looked.clear()
    house.spool.go_on.clear()
    asking = asyncio.ensure_future(house.intake.ask(spec_of("record_insight"), insight(), 5))
    await house.spool.looked.wait()
    house.spool.go_on.set()
    await until(lambda: house.way.direct)
    packed.set()
    assert await asking is None
    await until(lambda: not house.spool.messages and house.way.direct)
    assert house.way.replayed == 1
