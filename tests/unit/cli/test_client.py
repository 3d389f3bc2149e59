"""What the client makes of answers: results as they came, refusals with their exit code and what to do about them."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from cli.client import CallFailed, Client, Feed
from cli.local.environment import Environment


class Door:
    """A door that gives the answer it is told to, and remembers the last request."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        self.asked: dict[str, Any] = {}
        self.port = 0


@pytest.fixture
def door() -> Iterator[Door]:
    told = Door()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.asked = {"path": self.path, "body": body, "headers": dict(self.headers)}
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest shows what goes wrong."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.port = server.server_port
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    values = {"SWITCHYARD_INGRESS_PORT": str(door.port), "SWITCHYARD_API_KEY": "sy_key"}
    with Client(Environment(values)) as made:
        yield made


def test_a_result_is_given_as_it_came(door: Door, client: Client) -> None:
    door.body = b'{"memory": {"content": 1e5}}'
    assert client.run("store_memory", b'{"content": 1e5}', wait_s=2.5, message_id="mü", sender="Äda") == door.body
    assert door.asked["path"] == "/api/commands/store_memory"
    assert door.asked["body"] == b'{"content": 1e5}'
    sent = {name.lower(): value.encode("latin-1") for name, value in door.asked["headers"].items()}
    assert (sent["x-api-key"], sent["prefer"]) == (b"sy_key", b"wait=2.5")
    assert (sent["idempotency-key"], sent["x-agent-id"]) == ("mü".encode(), "Äda".encode())


def test_a_name_cannot_lead_to_another_path(door: Door, client: Client) -> None:
    client.run("../../health?x", {}, wait_s=0)
    assert door.asked["path"] == "/api/commands/..%2F..%2Fhealth%3Fx"
    assert door.asked["headers"]["Prefer"] == "respond-async"


@pytest.mark.parametrize(
    "ask", [lambda c: c.result("pause_session", {}), lambda c: c.post("/api/dead-letters/redrive", {})]
)
def test_a_command_nobody_answered_in_time_is_no_result(door: Door, client: Client, ask: Any) -> None:
    door.status, door.body = 202, b'{"message_id": "m1", "status": "accepted"}'
    with pytest.raises(CallFailed, match="was accepted as m1 and will be done; no worker answered in 10 s") as failed:
        ask(client)
    assert failed.value.exit_code == 3
    assert "switchyard status" in failed.value.hint


@pytest.mark.parametrize(
    ("status", "headers", "code", "hint"),
    [
        (401, {}, 1, "The key is SWITCHYARD_API_KEY of "),
        (403, {}, 1, "`switchyard keys list`"),
        (404, {}, 4, ""),
        (409, {}, 1, ""),
        (422, {}, 1, ""),
        (429, {"Retry-After": "7"}, 1, "Try again in 7 s."),
        (500, {}, 1, ""),
        (503, {}, 3, "`switchyard status`"),
        (504, {}, 3, "`switchyard status`"),
    ],
)
def test_a_refusal_has_its_exit_code_and_what_to_do(
    door: Door, client: Client, status: int, headers: dict[str, str], code: int, hint: str
) -> None:
    problem = {"code": "why", "detail": "because", "details": {"fields": [{"field": f"f{n}"} for n in range(6)]}}
    door.status, door.headers, door.body = status, headers, json.dumps(problem).encode()
    with pytest.raises(CallFailed, match=f"^{status} why: because$") as failed:
        client.run("x", {})
    assert failed.value.exit_code == code
    assert failed.value.hint.startswith(hint)
    assert bool(failed.value.hint) == bool(hint)
    assert failed.value.text == door.body
    assert len(failed.value.fields) == 6


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b""])
def test_an_answer_that_is_no_problem_document_is_shown_as_it_is(door: Door, client: Client, body: bytes) -> None:
    door.status, door.body = 502, body
    with pytest.raises(CallFailed, match=r"^502 Bad Gateway: ") as failed:
        client.run("x", {})
    assert (failed.value.exit_code, failed.value.fields) == (3, [])


def test_a_door_that_is_not_there_is_not_reachable() -> None:
    away = r"http://127\.0\.0\.1:1 does not answer .* `make up`"
    with (
        Client(Environment({"SWITCHYARD_INGRESS_PORT": "1"})) as client,
        pytest.raises(CallFailed, match=away) as failed,
    ):
        client.run("x", {})
    assert failed.value.exit_code == 3


class Gateway:
    """The gateway's end of a WebSocket: frames to be read, and what was answered."""

    def __init__(self, *frames: dict[str, Any]) -> None:
        self.frames = [json.dumps(frame) for frame in frames]
        self.answered: list[dict[str, Any]] = []

    def recv(self, seconds: float | None, *, decode: bool) -> str:
        return self.frames.pop(0)

    def send(self, text: str) -> None:
        self.answered.append(json.loads(text))


def test_critical_events_since_the_connection_are_acknowledged() -> None:
    events = [
        {"type": "a", "message_id": "m4", "priority": "critical", "cursor": 4},
        {"type": "a", "message_id": "m5", "priority": "normal", "cursor": 5, "text": 'a "critical" matter'},
        {"type": "a", "message_id": "m6", "priority": "critical", "cursor": 6},
    ]
    gateway = Gateway({"type": "connected", "cursor": 4}, *events)
    feed = Feed(gateway)  # type: ignore[arg-type]
    assert [feed.next()["cursor"] for _ in events] == [4, 5, 6]
    assert gateway.answered == [{"type": "ack", "message_id": "m6"}]
