"""The spool: what it acknowledged is on disk, in order, and within its bounds."""

import asyncio
import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from services.ingress import slots
from services.ingress.outgoing import Outgoing
from services.ingress.spool import Spool, SpoolFull
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]


def message(number: int, body: bytes = b"{}") -> Outgoing:
    return Outgoing("memory.store_memory", f"m{number}", body, "", f"00-{number:032x}-{1:016x}-01")


@asynccontextmanager
async def opened(folder: Path, max_bytes: int = 1 << 30) -> AsyncIterator[Spool]:
    spool = Spool(folder, max_bytes)
    await spool.open()
    try:
        yield spool
    finally:
        await spool.close()


async def everything(spool: Spool) -> list[Outgoing]:
    return [row.message for row in await spool.head(0, rows=100_000, size=1 << 40)]


async def test_messages_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    put = [message(number, bytes([number])) for number in range(200)]
    async with opened(tmp_path) as spool:
        await asyncio.gather(*map(spool.put, put))
        assert await everything(spool) == put
        assert spool.messages == 200


async def test_a_restart_finds_what_was_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        for number in range(5):
            await spool.put(message(number, b"x" * 1000))
        await spool.remove(await spool.head(0, rows=2, size=1 << 20))
        size = spool.bytes
    async with opened(tmp_path) as spool:
        assert [found.message_id for found in await everything(spool)] == ["m2", "m3", "m4"]
        assert (spool.messages, spool.bytes) == (3, size)
        await spool.put(message(9))
        assert [found.message_id for found in await everything(spool)][-1] == "m9"


async def test_a_page_is_bounded_by_rows_and_by_bytes(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        for number in range(10):
            await spool.put(message(number, b"x" * 100))
        page = await spool.head(0, rows=3, size=1 << 20)
        assert [row.message.message_id for row in page] == ["m0", "m1", "m2"]
        page = await spool.head(page[-1].id, rows=100, size=250)
        assert [row.message.message_id for row in page] == ["m3", "m4", "m5"]


async def test_a_full_spool_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=10_000) as spool:
        kept = 0
        with pytest.raises(SpoolFull):
            while True:
                await spool.put(message(kept, b"x" * 1000))
                kept += 1
        assert 5 < kept < 10
        assert len(await everything(spool)) == kept
        await spool.remove(await spool.head(0, rows=1, size=1))
        await spool.put(message(99, b"x" * 1000))


async def test_a_spool_of_no_size_takes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=0) as spool:
        with pytest.raises(SpoolFull):
            await spool.put(message(1))
        assert not spool.has_room


async def test_a_disk_that_takes_no_more_is_a_full_spool(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.put(message(1))
        pages = spool._connection.execute("pragma page_count").fetchone()[0]
        spool._connection.execute(f"pragma max_page_count = {pages + 2}")
        with pytest.raises(SpoolFull, match="disk"):
            await spool.put(message(2, b"x" * 100_000))
        assert spool.messages == 1
        spool._connection.execute("pragma max_page_count = 1000000")
        await spool.put(message(3, b"x" * 100_000))
        assert [found.message_id for found in await everything(spool)] == ["m1", "m3"]


async def test_it_knows_which_ids_it_holds(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        assert not await spool.holds("m1")
        await spool.put(message(1))
        assert await spool.holds("m1")
        assert not await spool.holds("m2")


async def test_two_processes_never_share_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await one.put(message(1))
        await other.put(message(2))
        assert [found.message_id for found in await everything(one)] == ["m1"]
        assert [found.message_id for found in await everything(other)] == ["m2"]
        assert await other.adopt() == 0
    assert {file.name for file in tmp_path.glob("*.sqlite")} == {"ingress-0.sqlite", "ingress-1.sqlite"}


async def test_what_a_vanished_process_left_is_taken_over_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path), opened(tmp_path) as second:
        await asyncio.gather(*(second.put(message(number)) for number in range(2500)))
    async with opened(tmp_path, max_bytes=1000) as spool:
        assert await spool.adopt() == 2500  # more than it may hold, since it was accepted before
        assert [found.message_id for found in await everything(spool)] == [f"m{number}" for number in range(2500)]
        assert await spool.adopt() == 0
    assert [file.name for file in tmp_path.glob("*.sqlite")] == ["ingress-0.sqlite"]


@pytest.mark.parametrize("damage", [b"not a database at all", b""], ids=["overwritten", "header gone"])
async def test_a_damaged_file_is_set_aside_and_nothing_of_it_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    async with opened(tmp_path) as spool:
        for number in range(50):
            await spool.put(message(number, b"y" * 500))
    file = tmp_path / "ingress-0.sqlite"
    content = file.read_bytes()
    file.write_bytes(damage + b"\0" * (100 - len(damage)) + content[100:])
    async with opened(tmp_path) as spool:
        assert await everything(spool) == []
        await spool.put(message(1))
    aside = next(tmp_path.glob("ingress-0.sqlite.damaged-*"))
    assert aside.read_bytes()[100:] == content[100:]
    said = capsys.readouterr()
    assert "spool_damaged" in said.out + said.err


async def test_a_file_damaged_in_the_middle_is_noticed_when_it_is_opened(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await asyncio.gather(*(spool.put(message(number, b"y" * 500)) for number in range(500)))
    file = tmp_path / "ingress-0.sqlite"
    content = bytearray(file.read_bytes())
    content[8192:16384] = b"\xaa" * 8192
    file.write_bytes(content)
    async with opened(tmp_path) as spool:
        assert await everything(spool) == []
    assert list(tmp_path.glob("ingress-0.sqlite.damaged-*"))


async def test_damage_while_running_is_set_aside_and_the_next_message_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await asyncio.gather(*(spool.put(message(number, b"y" * 500)) for number in range(500)))
        spool._connection.execute("pragma wal_checkpoint(truncate)")
        spool._connection.execute("pragma cache_size = 0")
        with (tmp_path / "ingress-0.sqlite").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xaa" * 200_000)

        async def set_aside() -> bool:
            with suppress(sqlite3.Error, SpoolFull):
                await everything(spool)
                await spool.put(message(1000))
            return bool(list(tmp_path.glob("ingress-0.sqlite.damaged-*")))

        await eventually_async(set_aside)
        await spool.put(message(1001))
        assert [found.message_id for found in await everything(spool)][-1] == "m1001"
        assert spool.messages == len(await everything(spool))


async def test_a_damaged_file_that_can_not_be_replaced_refuses_instead_of_hanging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, error: Exception) -> Path:
        raise OSError(errno.EROFS, "read-only file system")

    def damaged(connection: sqlite3.Connection, messages: list[Outgoing]) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    async with opened(tmp_path) as spool:
        monkeypatch.setattr(slots, "set_aside", read_only)
        monkeypatch.setattr("services.ingress.spool._insert", damaged)
        async with asyncio.timeout(5):
            with pytest.raises(SpoolFull):
                await spool.put(message(1))
            monkeypatch.undo()
            with pytest.raises(SpoolFull):
                await spool.put(message(2))


async def test_what_was_committed_counts_though_the_file_could_not_be_shrunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with opened(tmp_path) as spool:
        await spool.put(message(1))
        monkeypatch.setattr("services.ingress.spool._shrink", full)
        await spool.remove(await spool.head(0, rows=10, size=1 << 20))
        assert (spool.messages, spool.bytes) == (0, 0)


async def test_an_emptied_spool_gives_the_disk_its_space_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await asyncio.gather(*(spool.put(message(number, b"z" * 1_000_000)) for number in range(80)))
        await spool.remove(await spool.head(0, rows=1000, size=1 << 40))
        assert (spool.messages, spool.bytes) == (0, 0)
        await everything(spool)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 10_000_000


async def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool"):
        assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_a_held_slot_is_left_alone(tmp_path: Path) -> None:
    first = slots.claim(tmp_path)
    second = slots.claim(tmp_path)
    assert (first.number, second.number) == (0, 1)
    first.release()
    again = slots.claim(tmp_path)
    assert again.number == 0
    again.release()
    second.release()


WRITER = """
import asyncio, sys
from pathlib import Path
from services.ingress.spool import Spool
from services.ingress.outgoing import Outgoing

async def main():
    spool = Spool(Path(sys.argv[1]), 1 << 30)
    await spool.open()
    async def writer(lane):
        number = 0
        while True:
            await spool.put(Outgoing("k", f"{lane}-{number}", b"x" * 2000, "", ""))
            sys.stdout.write(f"{lane}-{number}\\n")
            sys.stdout.flush()
            number += 1
    await asyncio.gather(*(writer(lane) for lane in range(16)))

asyncio.run(main())
"""


def test_kill_9_keeps_every_message_that_was_acknowledged(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(3000)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().split("\n")[:-1]
    writer.wait()
    writer.stdout.close()

    async def found() -> list[str]:
        async with opened(tmp_path) as spool:
            return [each.message_id for each in await everything(spool)]

    kept = asyncio.run(found())
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    for lane in range(16):
        numbers = [int(name.split("-")[1]) for name in kept if name.startswith(f"{lane}-")]
        assert numbers == list(range(len(numbers)))


def test_a_killed_processes_slot_is_free_at_once(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    assert slots.left_behind(tmp_path, 99) == []
    writer.kill()
    writer.wait()
    writer.stdout.close()
    slot = eventually(lambda: next(iter(slots.left_behind(tmp_path, 99)), None))
    assert slot is not None
    assert slot.number == 0
    slot.release()
