"""Replies: in time they are the answer, late they are asked after, and each caller gets its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from shared.auth import sign
from shared.bus.bodies import unpacked
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.topology import declare
from shared.messages import Command, decode_command, new_id
from tests.integration.ingress.conftest import SECRET, Ingress
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio
Answerer = Callable[[Command], bytes | None]


class Worker:
    """Answers the session commands as a test says; None is no answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.seen: list[Command] = []
        self.answers: Answerer = lambda command: b'{"ok":true,"result":{}}'

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            command = decode_command(unpacked(delivery))
            if command.spec.name == "get_key_ring":
                # The ingress asks for it by itself, whatever a test is about.
                reply: bytes | None = b'{"ok":true,"result":{"keys":[],"revoked":[]}}'
            else:
                self.seen.append(command)
                reply = self.answers(command)
            if reply is not None and delivery.reply_to:
                self._connection.send(
                    "",
                    delivery.reply_to,
                    reply,
                    correlation_id=delivery.correlation_id,
                    mandatory=False,
                    persistent=False,
                )
            self._connection.ack(delivery.tag)

    async def take(self, queue: str, count: int) -> list[Command]:
        """So many commands of another queue."""
        taken: list[Command] = []

        def on_deliveries(deliveries: list[Delivery]) -> None:
            taken.extend(decode_command(unpacked(delivery)) for delivery in deliveries)
            self._connection.ack(deliveries[-1].tag, multiple=True)

        await self._connection.consume(queue, on_deliveries, prefetch=100)
        await eventually_async(lambda: asyncio.sleep(0, len(taken) >= count))
        return taken


@pytest.fixture
async def worker(amqp_url: str, ingress: Ingress) -> AsyncIterator[Worker]:
    async with await Connection.open(amqp_url, name="stand-in") as connection:
        await declare(connection)
        made = Worker(connection)
        for queue in ("session.commands", "session.queries"):
            await connection.consume(queue, made.on_deliveries, prefetch=100)
        yield made


def says(text: str) -> Answerer:
    return lambda command: text.encode()


async def post(ingress: Ingress, path: str, body: Any = None, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(ingress.http.post, path, json={} if body is None else body, headers=given)


async def get(ingress: Ingress, path: str) -> httpx.Response:
    return await asyncio.to_thread(ingress.http.get, path)


async def test_the_result_is_the_answer_byte_for_byte(ingress: Ingress, worker: Worker) -> None:
    worker.answers = says('{"ok":true,"result":{"session":{"session_id":"s1","initial":{"z":1.10,"a":1e5}}}}')
    got = await post(ingress, "/api/commands/create_session")
    assert got.status_code == 201
    assert got.headers["content-type"] == "application/json"
    assert got.content == b'{"session":{"session_id":"s1","initial":{"z":1.10,"a":1e5}}}'
    assert (await post(ingress, "/api/commands/pause_session", {"session_id": "s1"})).status_code == 200
    body = {"command": "create_session", "message_id": "m-9"}
    assert (await post(ingress, "/api/commands", body)).status_code == 201
    assert worker.seen[-1].message_id == "m-9"
    form = {"type": "collaborative_session_command", **body}
    assert (await post(ingress, "/webhook", form)).content == got.content


@pytest.mark.parametrize(
    ("code", "status"),
    [("invalid", 422), ("not_found", 404), ("conflict", 409), ("forbidden", 403), ("loop", 409), ("unavailable", 503),
     ("timeout", 504), ("internal", 500)],
)  # fmt: skip
async def test_a_refusal_is_a_problem_with_its_status(ingress: Ingress, worker: Worker, code: str, status: int) -> None:
    error = {"code": code, "message": "because", "details": {"task_id": "t"}}
    worker.answers = says(json.dumps({"ok": False, "error": error}))
    got = await post(ingress, "/api/commands/pause_session", {"session_id": "s1"})
    assert got.status_code == status
    assert got.headers["content-type"] == "application/problem+json"
    document = got.json()
    assert (document["code"], document["detail"], document["details"]) == (code, "because", {"task_id": "t"})


async def test_without_a_reply_in_time_it_is_202_and_can_be_asked_after(ingress: Ingress, worker: Worker) -> None:
    worker.answers = lambda command: (
        None if command.spec.name == "create_session" else b'{"ok":false,"error":{"code":"not_found","message":"no"}}'
    )
    got = await post(ingress, "/api/commands/create_session", Prefer="wait=0", Idempotency_Key="late/1")
    assert got.status_code == 202
    assert got.headers["location"] == "/api/commands/late%2F1"
    assert (await get(ingress, got.headers["location"])).json() == {"status": "pending"}
    got = await post(ingress, "/api/commands/create_session", Prefer="wait=1")
    assert got.status_code == 202
    assert (await post(ingress, "/api/commands", {"command": "create_session", "wait_s": 0.2})).status_code == 202


async def test_what_became_of_a_command_is_what_the_worker_says(ingress: Ingress, worker: Worker) -> None:
    worker.answers = says('{"ok":true,"result":{"status":"done","result":{"n":1.50}}}')
    got = await get(ingress, "/api/commands/m-1")
    assert (got.status_code, got.content) == (200, b'{"status":"done","result":{"n":1.50}}')
    assert worker.seen[-1].data.message_id == "m-1"
    worker.answers = says('{"ok":false,"error":{"code":"not_found","message":"no such command"}}')
    assert (await get(ingress, "/api/commands/never-sent")).status_code == 404
    assert (await get(ingress, f"/api/commands/{new_id()}")).json() == {"status": "pending"}
    assert (await get(ingress, "/api/commands/01000000-0000-7000-8000-000000000000")).status_code == 404


async def test_the_worker_is_told_who_asks_after_a_command(ingress: Ingress, worker: Worker) -> None:
    worker.answers = says('{"ok":true,"result":{"status":"done","result":{}}}')
    await get(ingress, "/api/commands/m-1")
    asked = worker.seen[-1].data
    assert (asked.asker, asked.admin, asked.caller) == ("bootstrap", True, None)
    for scopes, caller in (["read", "publish"], None), (["publish"], "dashboard"):
        token = sign(SECRET, "api", {"name": "dashboard", "scopes": scopes}, ttl_s=60)
        headers = {"X-API-Key": token}
        got = await asyncio.to_thread(ingress.http.get, "/api/commands/m-1", headers=headers)
        assert got.status_code == 200
        asked = worker.seen[-1].data
        assert (asked.asker, asked.admin, asked.caller) == ("dashboard", False, caller)


async def test_a_reading_command_without_an_answer_is_504(ingress: Ingress, worker: Worker) -> None:
    worker.answers = lambda command: None
    got = await post(ingress, "/api/commands/get_session", {"session_id": "s1"}, Prefer="wait=1")
    assert (got.status_code, got.json()["code"]) == (504, "timeout")


async def test_a_hundred_callers_at_once_each_get_their_own_reply(ingress: Ingress, worker: Worker) -> None:
    worker.answers = lambda command: json.dumps({"ok": True, "result": {"mine": command.data.session_id}}).encode()
    async with httpx.AsyncClient(base_url=ingress.http.base_url, headers=ingress.http.headers, timeout=30) as http:
        answers = await asyncio.gather(
            *(http.post("/api/commands/create_session", json={"session_id": f"s{number}"}) for number in range(100))
        )
    assert [answer.json() for answer in answers] == [{"mine": f"s{number}"} for number in range(100)]


async def test_the_session_api_answers_in_camel_case(ingress: Ingress, worker: Worker) -> None:
    worker.answers = says('{"ok":true,"result":{"session":{"session_id":"s1","user_id":null,"initial":{"a_b":1}}}}')
    got = await post(ingress, "/api/sessions", {"sessionId": "s1", "initial": {"a_b": 1}})
    noun = {"sessionId": "s1", "userId": None, "initial": {"a_b": 1}}
    assert (got.status_code, got.json()) == (201, {**noun, "session": noun})
    assert (await get(ingress, "/api/sessions/s1")).json()["session"]["sessionId"] == "s1"
    worker.answers = says('{"ok":true,"result":{"sessions":[{"session_id":"s1"}],"next":"c"}}')
    assert (await get(ingress, "/api/query/recent?limit=1")).json() == {"sessions": [{"sessionId": "s1"}], "next": "c"}
    assert worker.seen[-1].data.limit == 1
    await get(ingress, "/api/query/active?cursor=c")
    assert (worker.seen[-1].data.status, worker.seen[-1].data.cursor) == ("active", "c")


async def test_deliveries_and_dead_letters_are_asked_of_the_worker(ingress: Ingress, worker: Worker) -> None:
    worker.answers = says('{"ok":true,"result":{"deliveries":[],"next":null}}')
    assert (await get(ingress, "/api/deliveries?source=github")).json() == {"deliveries": [], "next": None}
    assert worker.seen[-1].data.source == "github"
    await get(ingress, "/api/deliveries/a%2Fb")
    assert worker.seen[-1].data.delivery_id == "a/b"
    await get(ingress, "/api/dead-letters?limit=7")
    assert worker.seen[-1].data.limit == 7
    worker.answers = says('{"ok":true,"result":{"redriven":2}}')
    got = await post(ingress, "/api/dead-letters/redrive", {"dead_letter_ids": [1, 2]})
    assert (got.status_code, got.json()) == (200, {"redriven": 2})


async def test_the_reply_of_a_reading_command_is_sent_to_its_callback_by_a_command_of_its_own(
    ingress: Ingress, worker: Worker
) -> None:
    url = "https://hooks.example.com/"
    worker.answers = says('{"ok":true,"result":{"session":{"n":1.10}}}')
    body = {"command": "get_session", "data": {"session_id": "s1"}, "message_id": "m-read", "callback_url": url}
    assert (await post(ingress, "/api/commands", body)).content == b'{"session":{"n":1.10}}'
    worker.answers = says('{"ok":false,"error":{"code":"not_found","message":"no","details":{}}}')
    assert (await post(ingress, "/api/commands", {**body, "message_id": "m-none"})).status_code == 404
    assert {command.callback_url for command in worker.seen} == {None}

    done, failed = [command.data for command in await worker.take("task.commands", 2)]
    assert (done.url, done.message_id, done.command, done.error) == (url, "m-read", "get_session", None)
    assert str(done.result) == '{"session":{"n":1.10}}'
    assert (failed.message_id, failed.result) == ("m-none", None)
    assert failed.error.value() == {"code": "not_found", "message": "no", "details": {}}
