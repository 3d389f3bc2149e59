"""More rooms than clients: limited by number, by memory, by how long nobody talks; and how clients end."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.local.ports import free_port
from services.claude_worker.client import processes
from services.claude_worker.client.cli import bound_to_us
from shared import WORKERS
from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import BOTS, ENDS, Rooms, clients_of
from tests.waiting import eventually, eventually_async

MANY = [f"room-{number}" for number in range(40)]
BRIEF = '[bots.brief]\nmodel = "claude-sonnet-4-5"\nidle_minutes = 0.02\n'
# Some seconds where nothing else runs; many where much does.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api, BOTS + BRIEF)
    yield made
    made.close()


def stats(rooms: Rooms) -> dict[str, Any]:
    """What the only worker that lives says of itself, as soon as it says something."""
    return eventually(lambda: rooms.send("chat_stats")["workers"])[0]  # type: ignore[no-any-return]


async def watched(look: Callable[[], float], work: Awaitable[Any]) -> tuple[Any, float]:
    """What some work comes to, and the most that was seen meanwhile."""
    task, most = asyncio.ensure_future(work), 0.0
    while not task.done():
        most = max(most, look())
        await asyncio.wait([task], timeout=0.3)
    return task.result(), most


async def all_ended(rooms: Rooms, said: list[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
    """The turns at their ends, in their order."""

    async def look() -> list[dict[str, Any]] | None:
        ends = {event["turn"]["turn_id"]: {**event["turn"], "event": event["type"]} for event in rooms.events(*ENDS)}
        return [ends[turn["turn_id"]] for turn in said] if all(turn["turn_id"] in ends for turn in said) else None

    ended = await eventually_async(look, deadline, interval=0.25, because="the ends of all turns")
    assert ended is not None
    return ended


def test_forty_rooms_share_four_clients_and_are_all_answered(rooms: Rooms) -> None:
    port = free_port(range(4))
    worker = rooms.start(SWITCHYARD_CHAT_MAX_CLIENTS="4", SWITCHYARD_WORKERS_PORT=str(port))

    async def talk() -> list[dict[str, Any]]:
        said = [await rooms.said(f"my colour is c-{room} [[say noted]]", room) for room in MANY]
        return await all_ended(rooms, said, 240)

    ended, most = rooms.run(watched(lambda: len(clients_of(worker)), talk()))
    assert {turn["event"] for turn in ended} == {"chat_answered"} and {turn["path"] for turn in ended} == {"cold"}
    assert most <= 4
    told = eventually(lambda: (seen := stats(rooms))["answers"].get("cold") == len(MANY) and seen)
    assert told["closed"]["pool_full"] >= len(MANY) - 4 and told["waiting"] == 0
    # The first to ask has not waited for the last.
    assert max(turn["connect_ms"] for turn in ended[:4]) < max(turn["connect_ms"] for turn in ended[-4:])

    def measured() -> bool:
        return stats(rooms)["memory_mb"] > 50 * stats(rooms)["clients"]

    eventually(measured, because="the memory of the clients")
    told = stats(rooms)
    assert (told["orphans"], told["orphans_killed"], told["max_memory_mb"]) == (0, 0, None)
    assert told["clients"] == told["busy"] + told["idle"] + told["connecting"] <= 4

    metrics = read_metrics(port)
    assert metrics['switchyard_chat_answers_total{path="cold"}'] == len(MANY)
    assert metrics['switchyard_chat_turns_total{fate="answered",reason=""}'] == len(MANY)
    assert metrics['switchyard_chat_turns_total{fate="queued",reason=""}'] == len(MANY)
    assert metrics['switchyard_chat_answer_seconds_count{path="cold"}'] == len(MANY)
    assert metrics['switchyard_chat_tokens_total{bot="helper",kind="output"}'] > 0
    assert metrics['switchyard_chat_cost_usd_total{bot="helper"}'] > 0
    assert metrics['switchyard_chat_closed_clients_total{reason="pool_full"}'] >= len(MANY) - 4
    assert metrics["switchyard_chat_partitions"] == 16 and metrics["switchyard_chat_orphans"] == 0
    assert metrics["switchyard_chat_memory_bytes"] > 50 * 2**20
    assert metrics['switchyard_chat_queue{status="queued"}'] == 0


def read_metrics(port: int) -> dict[str, float]:
    url = f"http://127.0.0.1:{port + WORKERS.index('claude_worker')}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    found = (re.fullmatch(r"(\S+) (\S+)", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


def test_a_bot_whose_client_was_closed_for_idleness_remembers_and_so_does_one_of_a_forgotten_room_not(
    rooms: Rooms,
) -> None:
    if not rooms.processes:
        rooms.start(SWITCHYARD_CHAT_MAX_CLIENTS="4")
    rooms.talk("my colour is teal [[say noted]]", "r-idle", bot="brief")
    eventually(lambda: stats(rooms)["closed"].get("idle"), 15)
    warm = rooms.talk("[[recall colour]]", "r-idle", bot="brief")
    assert (warm["answer"], warm["path"]) == ("my colour is teal", "warm")

    # A room of its own mind: its client stays for longer, and the conversation is not kept.
    rooms.send("set_chat", room_id="r-own", bot_id="brief", idle_minutes=5, keep_days=1)
    rooms.talk("my colour is teal [[say noted]]", "r-own", bot="brief")
    rooms.sql("update chats set last_activity = now() - interval '25 h' where room_id = 'r-own'")
    eventually(lambda: any(each["room_id"] == "r-own" for each in stats(rooms)["sessions"]), 15)
    assert rooms.send("clean_chats", keep=[{"bot_id": "brief", "days": 30}], days=30)["forgotten"] == 1
    eventually(lambda: stats(rooms)["closed"].get("forgotten"), 15)
    assert rooms.sql("select 1 from turns where room_id = 'r-own'") == []
    cold = rooms.talk("[[recall colour]]", "r-own", bot="brief")
    assert (cold["answer"], cold["path"], cold["number"]) == ("I don't remember: colour", "cold", 1)


def test_a_worker_that_is_told_to_stop_gives_back_what_it_answers_and_what_waits_and_leaves_no_process(
    rooms: Rooms,
) -> None:
    async def say() -> list[dict[str, Any]]:
        slow = [await rooms.said("[[wait 30]] [[say slow]] [[hang times=2]]", f"slow-{number}") for number in range(6)]

        async def asked() -> bool:
            return sum("[[say slow]]" in each.prompt for each in rooms.api.requests) >= 4

        await eventually_async(asked, 30)
        return slow

    said = rooms.run(say())
    (worker,) = rooms.processes
    clients = clients_of(worker)
    assert len(clients) == 4
    assert rooms.stop(worker) == 0
    assert not any(psutil.pid_exists(client.pid) for client in clients)
    assert not [each for each in processes.find_clients() if each.worker == worker.pid]
    left = rooms.sql("select status, failures from turns where room_id like 'slow-%'")
    assert left == [("queued", 0)] * len(said)
    rooms.sql("update turns set status = 'dropped', reason = 'reset' where status = 'queued'")


def test_twenty_rooms_keep_apart_after_a_restart_within_the_memory_they_may_take(rooms: Rooms) -> None:
    worker = rooms.start(SWITCHYARD_CHAT_MAX_MEMORY_MB="350")

    async def ask() -> list[dict[str, Any]]:
        return await all_ended(rooms, [await rooms.said("[[recall colour]]", room) for room in MANY[:20]], 180)

    def memory() -> float:
        return sum(processes.measure(client.pid for client in clients_of(worker)).values()) / 2**20

    ended, most = rooms.run(watched(memory, ask()))
    assert [turn["answer"] for turn in ended] == [f"my colour is c-{room}" for room in MANY[:20]]
    assert {turn["path"] for turn in ended} == {"warm"}
    # What is measured now and then may be a little more for a moment.
    assert 100 < most < 350 * 1.2
    eventually(lambda: stats(rooms)["closed"]["memory"] >= 15)
    rooms.stop(worker)


def test_with_less_memory_than_a_client_takes_rooms_are_answered_one_at_a_time(rooms: Rooms) -> None:
    worker = rooms.start(SWITCHYARD_CHAT_MAX_MEMORY_MB="1")

    async def ask() -> list[dict[str, Any]]:
        return await all_ended(rooms, [await rooms.said("[[say hi]]", room) for room in MANY[:4]], 90)

    ended, most = rooms.run(watched(lambda: len(clients_of(worker)), ask()))
    assert {turn["answer"] for turn in ended} == {"hi"} and most == 1
    rooms.stop(worker)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start something as somebody else")
@pytest.mark.parametrize("user", [0, 65534], ids=["root", "not root"])
def test_what_is_started_as_a_client_dies_with_whoever_has_started_it(tmp_path: Path, user: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = Path(shutil.copy(shutil.which("sleep") or "", folder / "claude-itself"))
        script = bound_to_us(folder, program)
        for each in (program, script):
            each.chmod(0o755)
        worker = subprocess.Popen(["sh", "-c", f"{script} 60 & wait"], user=user)
        (client,) = eventually(lambda: [each for each in children(worker) if each.name() == program.name])
        assert client.uids().real == user
        worker.kill()
        worker.wait()
        eventually(lambda: not client.is_running() or client.status() == psutil.STATUS_ZOMBIE, 5)


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_worker_that_starts_ends_the_clients_of_one_that_is_gone(rooms: Rooms, tmp_path: Path) -> None:
    # One that outlived its worker, as it may where there is no setpriv.
    gone = subprocess.Popen(["true"])
    gone.wait()
    program = tmp_path / "claude"
    shutil.copy(shutil.which("sleep") or "", program)
    orphan = subprocess.Popen([program, "60"], env={"HOME": f"{tmp_path}/switchyard-claude-{gone.pid}-x/home-1"})
    worker = rooms.start()
    assert orphan.wait(20) == -signal.SIGKILL
    told = eventually(lambda: (seen := stats(rooms))["orphans_killed"] and seen)
    assert (told["orphans"], told["orphans_killed"]) == (1, 1)
    rooms.stop(worker)
