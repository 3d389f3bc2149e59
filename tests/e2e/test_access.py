"""API keys from their making to their end, as their holders see it, and what the audit log and nobody else knows."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cli.local.stack import Stack
from shared.messages import COMMANDS
from tests.e2e.conftest import Doors
from tests.waiting import eventually


class Holder:
    """Somebody with a key."""

    def __init__(self, doors: Doors, name: str, secret: str) -> None:
        self.name, self.secret = name, secret
        self._gateway_url = doors.gateway_url
        self.http = httpx.Client(
            base_url=doors.http.base_url, headers={"Authorization": f"Bearer {secret}"}, timeout=30
        )

    def run(self, name: str, /, **data: Any) -> httpx.Response:
        return self.http.post(f"/api/commands/{name}", json=data)

    def token(self, **asked: Any) -> httpx.Response:
        return self.http.post("/api/tokens", json={"agent_id": f"a-{uuid4().hex[:8]}", **asked})

    @contextmanager
    def socket(self, token: str | None = None, **asked: Any) -> Iterator["Socket"]:
        """A connection with a token of this key."""
        token = token or self.token(permission="active", **asked).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        with connect(self._gateway_url, subprotocols=["switchyard.v1"], additional_headers=headers) as socket:  # type: ignore[list-item]
            yield Socket(socket)


class Socket:
    """A connection's frames."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self._socket.recv(timeout=10))
        return frame

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The answer to a frame."""
        self._socket.send(json.dumps({"type": kind, "message_id": f"m-{uuid4().hex}", **fields}))
        while (frame := self.next())["type"] not in ("response", "error", "subscribed"):
            pass
        return frame

    def run(self, name: str, /, **data: Any) -> dict[str, Any]:
        return self.ask("command", command=name, data=data)

    def closed(self) -> int | None:
        """The code the connection is closed with, within ten seconds."""
        with pytest.raises(ConnectionClosed) as end:
            while True:
                self._socket.recv(timeout=10)
        return end.value.rcvd.code if end.value.rcvd else None


@pytest.fixture
def make(doors: Doors) -> Iterator[Callable[..., Holder]]:
    """Makes keys; each works within a second."""
    made: list[Holder] = []

    def holder(*scopes: str, **bounds: Any) -> Holder:
        name = f"key-{uuid4().hex[:8]}"
        done = doors.command("create_key", name=name, scopes=list(scopes), **bounds)
        made.append(Holder(doors, name, done["secret"]))
        eventually(lambda: made[-1].http.get("/api/query/recent").status_code not in (401, 503), 1)
        return made[-1]

    yield holder
    for each in made:
        each.http.close()


def test_a_revoked_key_and_all_it_opened_end_within_a_second(doors: Doors, make: Callable[..., Holder]) -> None:
    holder, other = make("publish", "read"), make("publish", "read")
    token = holder.token(permission="active").json()["token"]
    with holder.socket() as socket, other.socket() as neighbour:
        assert socket.next()["type"] == "connected"
        assert neighbour.next()["type"] == "connected"
        started = time.monotonic()
        doors.command("revoke_key", name=holder.name)
        assert socket.closed() == 4401
        assert time.monotonic() - started < 1
        eventually(lambda: holder.run("create_session").status_code == 401, 1 - (time.monotonic() - started))
        assert neighbour.run("create_session")["type"] == "response"
    assert holder.token().status_code == 401
    with holder.socket(token) as late:
        assert late.closed() == 4401
    assert other.run("create_session").status_code == 201


def test_a_replay_ends_with_its_key(doors: Doors, make: Callable[..., Holder]) -> None:
    holder, session_id = make("read"), doors.session()
    doors.command("complete_session", session_id=session_id)
    path = f"/api/replay/session/{session_id}"
    with holder.http.stream("GET", path, params={"speed": 0.00001}) as answer:
        lines = answer.iter_lines()
        assert "event: session_created" in lines
        doors.command("revoke_key", name=holder.name)
        revoked = time.monotonic()
        assert "event: replay_ended" not in list(lines)
        assert time.monotonic() - revoked < 5
    assert holder.http.get(path).status_code == 401


def test_a_key_for_some_sessions_works_in_those_only_on_both_doors(doors: Doors, make: Callable[..., Holder]) -> None:
    team = f"team-{uuid4().hex[:8]}"
    holder = make("publish", "read", sessions=[f"{team}-*"])
    mine, foreign = f"{team}-1", doors.session()
    assert holder.run("create_session", session_id=mine).status_code == 201
    for name, data in (("store_memory", {"type": "fact", "key": "k", "content": 1}), ("get_session", {})):
        assert holder.run(name, session_id=mine, **data).is_success
        refused = holder.run(name, session_id=foreign, **data)
        assert (refused.status_code, refused.json()["details"]["sessions"]) == (403, [f"{team}-*"])
    assert holder.run("list_sessions").status_code == 403
    assert holder.http.get(f"/api/sessions/{mine}").status_code == 200
    assert holder.http.get(f"/api/sessions/{foreign}").status_code == 403

    assert holder.token(topics=[f"session.{foreign}.#"]).status_code == 403
    with holder.socket() as socket:
        assert socket.ask("subscribe", topics=["#"])["code"] == "forbidden"
        assert socket.ask("subscribe", topics=[f"memory.{foreign}.#"])["code"] == "forbidden"
        assert socket.ask("subscribe", topics=[f"memory.{mine}.#"])["type"] == "subscribed"
        assert socket.run("get_session", session_id=foreign)["code"] == "forbidden"
        assert socket.run("create_session")["code"] == "forbidden"
        assert socket.run("get_session", session_id=mine)["result"]["session"]["session_id"] == mine
        within = [{"command": "pause_session", "data": {"session_id": each}} for each in (mine, foreign)]
        assert socket.run("batch", commands=within)["code"] == "forbidden"
        assert holder.run("get_session", session_id=mine).json()["session"]["status"] == "active"


@pytest.mark.parametrize(
    ("scopes", "sessions"), [(["publish", "read"], ["own-*"]), (["publish"], None)], ids=["a-list", "no-read"]
)
def test_such_a_key_may_ask_after_its_own_commands_only(
    make: Callable[..., Holder], scopes: list[str], sessions: list[str] | None
) -> None:
    holder, other = make(*scopes, sessions=sessions), make(*scopes, sessions=sessions)
    data = {"session_id": f"own-{uuid4().hex[:8]}"}
    asked = holder.http.post("/api/commands/create_session", json=data, headers={"Prefer": "respond-async"})
    where = asked.headers["location"]
    eventually(lambda: holder.http.get(where).json()["status"] == "done")
    # A fresh id nobody knows may still be on its way.
    assert "result" not in other.http.get(where).json()


def test_scopes_hold_on_the_socket_too(make: Callable[..., Holder]) -> None:
    with make("agent").socket() as worker:
        assert worker.ask("subscribe", topics=["#"])["code"] == "forbidden"
        assert worker.run("create_session")["code"] == "forbidden"
        assert worker.run("list_sessions")["code"] == "forbidden"
        claimed = worker.run("claim_task", agent_name="researcher", worker_id="w")
        assert claimed["result"]["tasks"] == []
    with make("publish", "read").socket() as writer:
        assert writer.run("list_audit")["code"] == "forbidden"


def test_a_used_up_rate_is_429_and_comes_back(make: Callable[..., Holder]) -> None:
    holder = make("read", "publish", rate_per_minute=60)
    answers = [holder.http.get("/api/query/recent")]
    while answers[-1].status_code == 200 and len(answers) < 80:
        answers.append(holder.http.get("/api/query/recent"))
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "rate_limited")
    assert answers[-1].headers["retry-after"] == "1"
    eventually(lambda: holder.http.get("/api/query/recent").status_code == 200, 3, interval=0.3)


def test_a_used_up_rate_stops_commands_on_the_socket(make: Callable[..., Holder]) -> None:
    holder = make("read", "publish", rate_per_minute=5)
    with holder.socket() as socket:
        answers = [socket.run("list_sessions", limit=1) for _ in range(6)]
    assert [answer["type"] for answer in answers] == ["response"] * 5 + ["error"]
    assert (answers[-1]["code"], answers[-1]["details"]["limit"]) == ("rate_limited", 5)


def test_writes_are_found_in_the_audit_log_and_reads_are_not(doors: Doors, make: Callable[..., Holder]) -> None:
    holder = make("publish", "read")
    session_id = f"s-{uuid4().hex[:8]}"
    holder.run("create_session", session_id=session_id)
    holder.run("create_session", session_id=session_id)
    holder.http.post(
        "/api/commands/store_memory",
        json={"session_id": session_id, "type": "fact", "key": "k", "content": 1},
        headers={"Idempotency-Key": f"m-{session_id}", "X-Agent-Id": "coder"},
    )
    holder.run("get_session", session_id=session_id)
    with holder.socket() as socket:
        socket.run("pause_session", session_id=session_id)
    # What happens at the gateway's door is there too, within a second.
    entries = [
        entry
        for entry in doors.command("list_audit", key=holder.name)["entries"]
        if not entry["command"].startswith("gateway.")
    ]
    assert [(each["command"], each["target"], each["outcome"]) for each in entries] == [
        ("pause_session", session_id, "ok"),
        ("store_memory", "k", "ok"),
        ("create_session", None, "conflict"),
        ("create_session", session_id, "ok"),
    ]
    assert (entries[1]["message_id"], entries[1]["agent_id"]) == (f"m-{session_id}", "coder")
    assert doors.command("list_audit", session_id=session_id, command="store_memory")["entries"] == [entries[1]]
    made = doors.command("list_audit", command="create_key", limit=1)["entries"][0]
    assert (made["key"], made["target"]) == ("bootstrap", holder.name)
    told = {each["command"] for each in doors.command("list_audit", limit=500)["entries"]}
    assert not {name for name in told if not name.startswith("gateway.") and COMMANDS[name].reads}


def test_the_secret_comes_again_with_the_same_message_and_lies_nowhere(doors: Doors, stack: Stack) -> None:
    name = f"key-{uuid4().hex[:8]}"

    def create(**headers: str) -> httpx.Response:
        return doors.http.post("/api/commands/create_key", json={"name": name, "scopes": ["read"]}, headers=headers)

    with doors.listen("#") as listener:
        first, again = create(**{"Idempotency-Key": f"m-{name}"}), create(**{"Idempotency-Key": f"m-{name}"})
        event = listener.next()
        while event["type"] != "key_changed":
            event = listener.next()
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    secret = first.json()["secret"]
    assert secret.startswith("sy_")
    assert create().json()["code"] == "conflict"
    assert event["name"] == name
    stored = doors.http.get(f"/api/commands/m-{name}").json()
    assert stored["result"]["secret"] is None

    texts = [json.dumps([event, stored]), (stack.data / "stack.log").read_text()]
    with psycopg.connect(stack.database_url) as database:
        for table in ("handled_messages", "api_keys", "audit", "events", "dead_letters", "callbacks"):
            texts.append(str(database.execute(f"select t::text from {table} t").fetchall()))  # type: ignore[arg-type]
    assert name in texts[2]
    assert secret not in "".join(texts)


def test_a_new_key_made_over_the_socket_works_as_well(doors: Doors, make: Callable[..., Holder]) -> None:
    name = f"key-{uuid4().hex[:8]}"
    with make("admin").socket() as socket:
        made = socket.run("create_key", name=name, scopes=["read"])["result"]
    holder = Holder(doors, name, made["secret"])
    eventually(lambda: holder.http.get("/api/query/recent").status_code == 200, 1)
    holder.http.close()


def test_who_was_refused_is_told_in_the_logs(doors: Doors, stack: Stack, make: Callable[..., Holder]) -> None:
    holder = make("read", sessions=["s1"])
    assert holder.run("create_session", session_id="s1").status_code == 403
    with holder.socket(holder.token(permission="observer").json()["token"]) as socket:
        assert socket.run("get_session", session_id="s2")["code"] == "forbidden"

    def told() -> bool:
        lines = [line for line in (stack.data / "stack.log").read_text().splitlines() if "access_refused" in line]
        ours = [line for line in lines if holder.name in line]
        return any("ingress" in line for line in ours) and any("ws_gateway" in line for line in ours)

    eventually(told)


def test_another_sessions_tasks_and_artifacts_are_out_of_reach_by_their_ids(
    doors: Doors, make: Callable[..., Holder]
) -> None:
    holder = make("publish", "read", sessions=["own-*"])
    own, foreign = f"own-{uuid4().hex[:8]}", doors.session()
    assert holder.run("create_session", session_id=own).status_code == 201
    agent = f"agent-{uuid4().hex[:8]}"
    doors.command("register_agent", name=agent, type="worker")
    work = {"agent_name": agent, "task_type": "t"}
    taken = doors.command("delegate_task", session_id=foreign, **work)["task"]["task_id"]
    mine = holder.run("delegate_task", session_id=own, **work).json()["task"]["task_id"]
    claimed = holder.run("claim_task", agent_name=agent, worker_id="w", count=50, session_id=own).json()["tasks"]
    assert [task["task_id"] for task in claimed] == [mine]
    lease = doors.command("claim_task", agent_name=agent, worker_id="w", session_id=foreign)["tasks"][0]
    held = {"task_id": taken, "lease_token": lease["lease_token"]}
    for name, data in (
        ("get_task", {"task_id": taken}),
        ("start_task", held),
        ("heartbeat_task", held),
        ("complete_task", held),
        ("fail_task", {**held, "error_message": "x"}),
        ("cancel_task", {"task_id": taken}),
        ("retry_task", {"task_id": taken}),
    ):
        refused = holder.run(name, session_id=own, **data)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found"), name
        assert holder.run(name, **data).status_code == 403, name
    assert {task["session_id"] for task in holder.run("list_tasks", session_id=own).json()["tasks"]} == {own}
    artifact = doors.command("add_artifact", session_id=foreign, name="a", type="text", content="x")["artifact"]
    assert holder.run("get_artifact", session_id=own, artifact_id=artifact["artifact_id"]).status_code == 404
    refused = holder.run("delegate_task", session_id=own, **work, depends_on=[taken])
    assert refused.json()["code"] == "not_found"
    told = doors.command("list_audit", key=holder.name, session_id=own)["entries"]
    assert [(each["command"], each["target"], each["outcome"]) for each in reversed(told)] == [
        ("create_session", own, "ok"),
        ("delegate_task", mine, "ok"),
        ("claim_task", None, "ok"),
        *((name, None, "not_found") for name in (
            "start_task", "heartbeat_task", "complete_task", "fail_task", "cancel_task", "retry_task", "delegate_task"
        )),
    ]  # fmt: skip
