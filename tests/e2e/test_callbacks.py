"""Callbacks through the public doors, to receivers as docs/callbacks.md shows them."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli.local.ports import accepts, free_port
from cli.local.stack import Stack
from tests.e2e.conftest import Doors
from tests.integration.callbacks.receiver import Receiver
from tests.waiting import eventually

DOCS = Path(__file__).resolve().parents[2] / "docs" / "callbacks.md"


@pytest.fixture(scope="module")
def secret(stack: Stack) -> str:
    return stack.environment.get("SWITCHYARD_CALLBACK_SECRET")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def told(receiver: Receiver, secret: str) -> Callable[[str], dict[str, Any]]:
    """Waits for the one callback that tells of a command or a task."""

    def wait(identifier: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            bodies = [got.verified(secret) for got in list(receiver.received)]
            return [body for body in bodies if identifier in (body["data"].get("message_id"), _task_id(body))]

        (body,) = eventually(found, 20, because=f"a callback of {identifier}")
        return body

    return wait


def _task_id(body: dict[str, Any]) -> Any:
    return body["data"].get("task", {}).get("task_id")


def call(doors: Doors, url: str, command: str, **data: Any) -> str:
    """A command that is not waited for; returns its message id."""
    message_id = str(uuid4())
    body = {"command": command, "data": data, "message_id": message_id, "callback_url": url, "wait_s": 0}
    answer = doors.http.post("/api/commands", json=body)
    assert answer.status_code in (200, 202, 404), answer.text
    return message_id


def test_the_reply_of_a_command_comes_signed(doors, receiver, told):
    message_id = call(doors, receiver.url, "create_session", title="called back")
    body = told(message_id)
    assert (body["type"], body["data"]["status"], body["data"]["command"]) == (
        "command_reply",
        "done",
        "create_session",
    )
    status = doors.http.get(f"/api/commands/{message_id}").json()
    assert body["data"]["result"] == status["result"]

    refused = call(doors, receiver.url, "pause_session", session_id="there-is-none")
    assert told(refused)["data"]["error"]["code"] == "not_found"

    session_id = body["data"]["result"]["session"]["session_id"]
    read = call(doors, receiver.url, "get_session", session_id=session_id)
    assert told(read)["data"]["result"]["session"]["title"] == "called back"
    none = call(doors, receiver.url, "get_session", session_id="there-is-none")
    assert told(none)["data"]["error"]["code"] == "not_found"


def test_the_end_of_a_task_comes_signed_and_its_attempts_are_listed(doors, receiver, told):
    session_id = doors.session()
    task = doors.command(
        "delegate_task", session_id=session_id, agent_name="codex", task_type="t", callback_url=receiver.url
    )["task"]
    (claimed,) = doors.command("claim_task", agent_name="codex", worker_id="w1", session_id=session_id)["tasks"]
    assert claimed["task_id"] == task["task_id"]
    done = {"task_id": task["task_id"], "lease_token": claimed["lease_token"], "output_data": {"lines": 7}}
    doors.command("complete_task", **done)
    body = told(task["task_id"])
    assert body["type"] == "task_completed"
    assert (body["data"]["task"]["status"], body["data"]["task"]["output_data"]) == ("completed", {"lines": 7})

    def delivered() -> list[dict[str, Any]]:
        listed = doors.command("list_callbacks", task_id=task["task_id"])["callbacks"]
        return [each for each in listed if each["status"] == "delivered"]

    (listed,) = eventually(delivered)
    assert [attempt["status"] for attempt in listed["attempts"]] == [204]
    assert listed["url"] == receiver.url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "http://localhost/", "http://[::ffff:127.0.0.1]/", "http://10.1.1.1"]
)
def test_a_target_that_is_not_allowed_is_refused_at_the_door(doors, url):
    answer = doors.http.post("/api/commands", json={"command": "create_session", "callback_url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["details"]["fields"][0]["field"] == "callback_url"


def snippet(language: str) -> str:
    """The example of a receiver in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return text


@contextmanager
def example(program: list[str], secret: str) -> Iterator[tuple[str, list[str]]]:
    """An example's process as the page shows it: its URL, and the lines it prints."""
    port = free_port()
    environment = {**os.environ, "SWITCHYARD_CALLBACK_SECRET": secret, "PORT": str(port)}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reading.start()
    try:
        eventually(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}/", lines
    finally:
        process.terminate()
        process.wait(10)
        reading.join(10)
        process.stdout.close()


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_receivers_of_the_documentation_tell_ours_from_others(doors, secret, language):
    node = shutil.which("node")
    if language == "js" and node is None:
        pytest.skip("node is not installed")
    program = [sys.executable, "-c", snippet("python")] if language == "python" else [str(node), "-e", snippet("js")]
    with example(program, secret) as (url, lines):
        message_id = call(doors, url, "create_session")
        eventually(lambda: [line for line in lines if message_id in line and line.startswith("command_reply")], 20)
    with example(program, "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhlc2UgdGVzdHM=") as (url, lines):
        message_id = call(doors, url, "create_session")

        def refused() -> list[int]:
            listed = doors.command("list_callbacks", message_id=message_id)["callbacks"]
            return [attempt["status"] for each in listed for attempt in each["attempts"] if attempt["status"]]

        assert eventually(refused, 20) == [401]
        assert lines == []
