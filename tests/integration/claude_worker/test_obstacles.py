"""What keeps a worker from answering at all: it says so, in the room and in its figures, or ends with the reason."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local.ports import free_port
from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms
from tests.waiting import eventually


@pytest.fixture(scope="module")
def rooms(
    amqp_url: str, module_database_url: str, tmp_path_factory: pytest.TempPathFactory, api: MessagesAPI
) -> Iterator[Rooms]:
    """Rooms, with a worker for each test."""
    made = Rooms(amqp_url, module_database_url, tmp_path_factory.mktemp("rooms"), api)
    yield made
    made.close()


def obstacle(rooms: Rooms) -> str | None:
    """What the worker says is in its way."""
    (worker,) = eventually(lambda: rooms.send("chat_stats")["workers"])
    found: str | None = worker["obstacle"]
    return found


def test_without_the_sdk_the_room_is_told_that_it_is_not_installed(rooms: Rooms, tmp_path: Path) -> None:
    package = tmp_path / "claude_agent_sdk"
    package.mkdir()
    # As if there were none: found before the real one.
    (package / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'claude_agent_sdk'\", name='claude_agent_sdk')\n"
    )
    worker = rooms.start(PYTHONPATH=str(tmp_path))
    failed = rooms.talk("hello?", "r-sdk")
    assert (failed["event"], failed["reason"], failed["attempt"]) == ("chat_failed", "not_installed", 1)
    assert failed["answer"] == "I can't answer: the Claude Agent SDK is not installed where I run."
    assert obstacle(rooms) == "not_installed"
    assert rooms.stop(worker) == 0


def test_without_a_credential_the_room_is_told_how_to_give_one(rooms: Rooms) -> None:
    worker = rooms.start(ANTHROPIC_API_KEY="")
    failed = rooms.talk("hello?", "r-key")
    assert (failed["event"], failed["reason"]) == ("chat_failed", "no_credential")
    assert failed["answer"] == "I can't answer: no credential for Claude is configured here (set ANTHROPIC_API_KEY)."
    assert obstacle(rooms) == "no_credential"
    assert rooms.stop(worker) == 0


def test_an_api_that_refuses_connections_is_told_as_out_of_reach(rooms: Rooms) -> None:
    worker = rooms.start(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    failed = rooms.talk("hello?", "r-refused")
    assert (failed["event"], failed["reason"], failed["attempt"]) == ("chat_failed", "api_unreachable", 2)
    assert failed["answer"] == "Sorry, I could not reach Claude. Please try again later."
    assert rooms.stop(worker) == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[bots.ada]\nidle_minutes = 0\n", ["[bots.ada]", "idle_minutes", "greater than 0"]),
        ("[bots.ada]\nmodle = 'claude'\n", ["[bots.ada]", "modle", "there is no such setting"]),
        ("[bots.ada]\nbusy = 'never'\n", ["[bots.ada]", "busy", "'enqueue'"]),
        ("[bots.'a b']\n", ["[bots.a b]", "letters, digits"]),
        ("bots = 3\n", ["[bots.NAME] tables are expected"]),
        ("[bots.ada\n", ["switchyard.toml", "line 1"]),
    ],
    ids=["value", "field", "choice", "name", "no table", "no toml"],
)
def test_a_wrong_table_ends_the_worker_with_the_place_and_the_fault(
    table: str, said: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "switchyard.toml"
    config.write_text(table)
    told = {"DATABASE_URL": "postgresql://nowhere", "AMQP_URL": "amqp://nowhere", "SWITCHYARD_CONFIG": str(config)}
    done = subprocess.run(
        [sys.executable, "-m", "services.claude_worker"],
        env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("claude_worker: ") and all(each in line for each in said), line
