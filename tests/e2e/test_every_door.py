"""Every public command through every door: HTTP, WebSocket, MCP and the command line, with the same result."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from websockets.sync.client import ClientConnection, connect

from cli.local.environment import ROOT
from cli.local.stack import Stack
from services.ingress.schemas import result_schema_alone
from shared.messages import COMMANDS
from tests.e2e.conftest import Doors
from tests.e2e.scenarios import SCENARIOS, Data, Stage

PUBLIC = sorted(spec.name for spec in COMMANDS.values() if spec.public)
Door = Callable[[str, Data], Data]
_RUN = uuid4().hex[:6]


@pytest.fixture(scope="module")
def doors(stack: Stack) -> Iterator[Doors]:
    """The doors of the module's stack, opened once."""
    doors = Doors(stack)
    yield doors
    doors.http.close()


@pytest.fixture(scope="module")
def socket(stack: Stack, doors: Doors) -> Iterator[ClientConnection]:
    """A WebSocket of an admin that may write."""
    with connect(
        doors.gateway_url,
        subprotocols=["switchyard.v1"],  # type: ignore[list-item]
        additional_headers={"Authorization": f"Bearer {doors.token(permission='active', kind='human')}"},
        max_size=None,
    ) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "connected"
        yield socket


@pytest.fixture(scope="module")
def command_line(stack: Stack) -> Iterator["CommandLine"]:
    """The command line, started once."""
    with CommandLine(stack) as command_line:
        yield command_line


class CommandLine:
    """`switchyard` in a process of its own that takes one command after the other: starting one takes half a second."""

    def __init__(self, stack: Stack) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.command_line"],
            cwd=stack.data,
            env={**os.environ, **stack.environment.values, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "CommandLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def send(self, name: str, data: Data) -> Data:
        """What `switchyard send NAME --data …` prints."""
        done = self._run("send", name, "--data", json.dumps(data))
        assert done["exit_code"] == 0, done
        result: Data = json.loads(done["stdout"])
        return result

    def refused(self, name: str, data: Data) -> Data:
        """The problem it prints with `--json`."""
        done = self._run("send", name, "--data", json.dumps(data), "--json")
        assert done["exit_code"] in (1, 4), done
        problem: Data = json.loads(done["stderr"])
        return problem

    def _run(self, *words: str) -> Data:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        done: Data = json.loads(self._process.stdout.readline())
        return done


def over_http(doors: Doors, name: str, data: Data) -> Data:
    return doors.command(name, **data)


def over_websocket(socket: ClientConnection, name: str, data: Data, *, expect: str = "response") -> Data:
    message_id = str(uuid4())
    socket.send(json.dumps({"type": "command", "message_id": message_id, "command": name, "data": data}))
    frame: Data = json.loads(socket.recv(timeout=30))
    while "correlation_id" not in frame or "cursor" in frame:
        # What reaches everyone, whatever they are subscribed to, and what the gateway says of the connection.
        frame = json.loads(socket.recv(timeout=30))
    assert (frame["type"], frame["correlation_id"]) == (expect, message_id), frame
    result: Data = frame["result"] if expect == "response" else frame
    return result


def over_mcp(doors: Doors, name: str, data: Data, *, is_error: bool = False) -> Data:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": data}}
    answer = doors.http.post("/mcp", json=call)
    assert answer.status_code == 200, answer.text
    tool = answer.json()["result"]
    assert tool["isError"] == is_error, tool
    result: Data = tool["structuredContent"]["error"] if is_error else tool["structuredContent"]
    assert json.loads(tool["content"][0]["text"]) == result
    return result


def shape(value: Any) -> Any:
    """The members of a result, down to the first item of each list, without what they hold: the schema sees to that."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return ...


def test_every_public_command_has_a_scenario_and_no_other() -> None:
    assert sorted(SCENARIOS) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_command_gives_the_same_through_every_door(
    name: str, doors: Doors, socket: ClientConnection, command_line: CommandLine
) -> None:
    by: dict[str, Door] = {
        "http": lambda *command: over_http(doors, *command),
        "websocket": lambda *command: over_websocket(socket, *command),
        "mcp": lambda *command: over_mcp(doors, *command),
        "cli": command_line.send,
    }
    results: dict[str, Data] = {}
    for door, run in by.items():
        data = Stage(name, f"{name}-{door}-{_RUN}").prepare(by["http"])
        results[door] = run(name, data)

    schema = jsonschema.Draft202012Validator(result_schema_alone(COMMANDS[name]))
    for door, result in results.items():
        schema.validate(result)
        for found in SCENARIOS[name].finds:
            assert result[found], (door, found)
        assert shape(result) == shape(results["http"]), door


@pytest.mark.parametrize("name", PUBLIC)
def test_a_refusal_is_the_same_through_every_door(
    name: str, doors: Doors, socket: ClientConnection, command_line: CommandLine
) -> None:
    data = {**COMMANDS[name].example, "no_such_field": 1}
    answer = doors.http.post(f"/api/commands/{name}", json=data)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["details"]["fields"][0]["field"] == "no_such_field"
    expected = (problem["code"], problem["detail"], problem["details"])
    frame = over_websocket(socket, name, data, expect="error")
    assert (frame["code"], frame["message"], frame["details"]) == expected
    error = over_mcp(doors, name, data, is_error=True)
    assert (error["code"], error["message"], error["details"]) == expected
    printed = command_line.refused(name, data)
    assert (printed["code"], printed["detail"], printed["details"]) == expected
