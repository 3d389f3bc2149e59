"""Two replicas: one is killed in mid-answer, or told to stop, and the other goes on."""

import signal
import subprocess
from typing import Any

import psutil

from tests.integration.claude_worker.rooms import Rooms, clients_of
from tests.waiting import eventually, eventually_async


def shares(rooms: Rooms) -> list[int]:
    """How many partitions each worker that lives says it has."""
    return sorted(len(worker.get("partitions", [])) for worker in rooms.send("chat_stats")["workers"])


def busy(workers: list[subprocess.Popen[bytes]]) -> tuple[subprocess.Popen[bytes], list[psutil.Process]] | None:
    """The worker that has a client, with its processes."""
    found = [(worker, clients) for worker in workers if (clients := clients_of(worker))]
    return found[0] if found else None


def test_a_worker_killed_in_mid_answer_leaves_nothing_and_the_other_answers_once_and_remembers(rooms: Rooms) -> None:
    workers = [rooms.start(), rooms.start()]
    eventually(lambda: shares(rooms) == [8, 8], 40)
    rooms.talk("my colour is teal [[say noted]]")
    turn = rooms.run(rooms.said("[[recall colour]] [[wait 4]]"))

    async def asked() -> bool:
        return any("wait 4" in each.prompt for each in rooms.api.requests)

    rooms.run(eventually_async(asked, 20))
    owner, clients = eventually(lambda: busy(workers))
    rooms.stop(owner, signal.SIGKILL)
    eventually(lambda: not any(client.is_running() for client in clients), 5, because="the CLI died with its worker")

    ended = rooms.run(rooms.ended(turn["turn_id"], 30))
    assert (ended["event"], ended["answer"], ended["path"]) == ("chat_answered", "my colour is teal", "warm")
    assert ended["attempt"] == 2
    again = rooms.talk("[[recall colour]]")
    assert (again["answer"], again["path"]) == ("my colour is teal", "hot")
    answered: list[dict[str, Any]] = rooms.events("chat_answered")
    assert [event["turn"]["number"] for event in answered] == [1, 2, 3]
    eventually(lambda: shares(rooms) == [16], 15)
