"""Events over plain HTTP: who gets them, which, and how the stream ends."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import pytest

from shared.messages import new_id
from tests.integration.ws_gateway.processes import ORIGIN, GatewayProcess, Source, connected, numbers, token
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Answer:
    """An answer over HTTP/1.1, read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self._lines: list[str] = []
        self._rest = b""
        self.last_id: str | None = None
        self.ended = False

    async def read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}

    async def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = json.loads(await self._reader.readexactly(int(self.headers["content-length"])))
        assert await self._reader.read() == b""
        assert body["status"] == self.status
        return body

    async def _chunk(self) -> bytes:
        size = int(await self._reader.readline(), 16)
        body = await self._reader.readexactly(size)
        assert await self._reader.readexactly(2) == b"\r\n"
        self.ended = size == 0
        return body

    async def block(self) -> str:
        """The next event or comment, up to its blank line."""
        while b"\n\n" not in self._rest:
            self._rest += await self._chunk()
            assert not self.ended
        block, _, self._rest = self._rest.partition(b"\n\n")
        return block.decode()

    async def event(self) -> dict[str, Any]:
        """The next message; what has an id moves `last_id`."""
        async with asyncio.timeout(20):
            while True:
                fields = [line.partition(": ") for line in (await self.block()).split("\n")]
                for name, _, value in fields:
                    if name == "id":
                        self.last_id = value
                if data := [value for name, _, value in fields if name == "data"]:
                    message: dict[str, Any] = json.loads("\n".join(data))
                    return message

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.event() for _ in range(count)]

    async def end(self) -> None:
        """The stream ends as HTTP says."""
        assert self._rest == b""
        assert await self._chunk() == b""
        assert await self._reader.read() == b""


@asynccontextmanager
async def asking(
    gateway: GatewayProcess, query: str = "", *, method: str = "GET", headers: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Answer]:
    """The answer to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, **more)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **(headers or {})}.items())
    writer.write(f"{method} /events{query} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = Answer(reader, writer)
    try:
        async with asyncio.timeout(20):
            await answer.read_head()
        yield answer
    finally:
        await hang_up(writer)


def bearer(shown: str | None = None, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {shown or token(permission='observer')}", **more}


@asynccontextmanager
async def listening(gateway: GatewayProcess, query: str, **headers: str) -> AsyncIterator[Answer]:
    """A stream that has begun, its greeting and the answer to its subscription read."""
    async with asking(gateway, query, headers=headers or bearer()) as stream:
        assert stream.status == 200
        assert (await stream.event())["type"] == "connected"
        assert (await stream.event())["type"] == "subscribed"
        yield stream


async def test_a_stream_says_who_is_connected_and_then_gives_the_events(
    gateway: GatewayProcess, source: Source
) -> None:
    async with asking(gateway, f"?topics={quote('session.s1.#')}", headers=bearer(token("ana"))) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert await stream.block() == "retry: 2000"
        hello = await stream.event()
        assert (hello["type"], hello["agent_id"], hello["permission"]) == ("connected", "ana", "observer")
        assert "resume_token" not in hello
        subscribed = await stream.event()
        assert (subscribed["type"], subscribed["topics"]) == ("subscribed", ["session.s1.#"])
        assert stream.last_id == str(subscribed["cursor"])
        published = await source.publish(3)
        events = await stream.events(3)
        assert numbers(events) == published
        assert stream.last_id == str(events[-1]["cursor"])
        assert gateway.metric("connections", permission="observer") == 1
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)


async def test_a_stream_goes_on_where_the_last_one_ended(gateway: GatewayProcess, source: Source) -> None:
    shown = token("rex", permission="observer")
    async with listening(gateway, f"?topics={TOPIC}", **bearer(shown)) as stream:
        first = await source.publish(2)
        assert numbers(await stream.events(2)) == first
        place = stream.last_id
    missed = await source.publish(5)
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)
    async with listening(gateway, f"?topics={TOPIC}&since=last", **bearer(shown, **{"Last-Event-ID": place})) as stream:
        assert numbers(await stream.events(5)) == missed
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)
    async with listening(gateway, f"?topics={TOPIC}&last_event_id={place}", **bearer(shown)) as stream:
        assert numbers(await stream.events(5)) == missed
        live = await source.publish(1)
        assert numbers(await stream.events(1)) == live


async def test_a_stream_holds_no_more_of_sidebars_than_a_socket_would(gateway: GatewayProcess, source: Source) -> None:
    query = f"?topics={quote('sidebar.#')},{TOPIC}"
    async with (
        listening(gateway, query, **bearer(token("ana"))) as inside,
        listening(gateway, query, **bearer(token("bob"))) as outside,
    ):
        status = {"type": "sidebar_status_update", "message_id": new_id(), "sidebar": {"participants": ["ana"]}}
        await source.send("sidebar.b1.status", json.dumps({**status, "participants": ["ana"]}).encode())
        await source.publish(1)
        assert [event["type"] for event in await inside.events(2)] == [status["type"], "llm_conversation_insight"]
        assert (await outside.event())["type"] == "llm_conversation_insight"
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)


async def test_what_is_too_old_for_this_log_is_told_of(gateway: GatewayProcess) -> None:
    async with listening(gateway, f"?topics={TOPIC}&since=999999999") as stream:
        gap = await stream.event()
        assert (gap["type"], gap["reason"]) == ("gap", "epoch")


@pytest.mark.parametrize(
    ("query", "headers", "status", "said"),
    [
        ("?topics=a", {}, 401, "show a token"),
        ("?topics=a", {"Authorization": "Bearer nonsense"}, 401, "not valid"),
        ("?topics=a", {"X-API-Key": "sy_wrong"}, 401, "the key is wrong"),
        ("?topics=a&token=x", None, 401, "never taken from the URL"),
        ("?topics=a&api_key=x", None, 401, "never taken from the URL"),
        ("", None, 422, "`topics` names none"),
        ("?topics=a.b%23", None, 422, "is not a topic"),
        ("?topics=a&since=soon", None, 422, "is no cursor"),
        ("?topics=a&color=red", None, 422, "no parameter 'color'"),
        ("?topics=a", {"Origin": "http://evil.example"}, 403, "origin"),
    ],
)
async def test_what_can_not_be_given_is_said_before_the_stream_begins(
    gateway: GatewayProcess, query: str, headers: dict[str, str] | None, status: int, said: str
) -> None:
    async with asking(gateway, query, headers=bearer() if headers is None else headers) as answer:
        assert answer.status == status
        problem = await answer.problem()
        assert said in problem["detail"]
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)


async def test_a_token_hears_no_more_than_it_allows(gateway: GatewayProcess) -> None:
    narrow = token(permission="observer", topics=["session.s1.#"])
    async with asking(gateway, f"?topics={quote('session.#')}", headers=bearer(narrow)) as answer:
        assert answer.status == 403
        assert (await answer.problem())["details"] == {"topics": ["session.#"]}


async def test_a_stream_takes_the_observers_seat(gateway: GatewayProcess) -> None:
    async with (
        connected(gateway, token("twin")),
        listening(gateway, "?topics=a", **bearer(token("twin"))),
        asking(gateway, "?topics=a", headers=bearer(token("twin"))) as answer,
    ):
        assert answer.status == 409
        assert "observer connection already" in (await answer.problem())["detail"]
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)
    async with listening(gateway, "?topics=a", **bearer(token("twin"))):
        pass


async def test_pages_of_allowed_origins_may_ask_and_read(gateway: GatewayProcess) -> None:
    origin = {"Origin": ORIGIN}
    preflight = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with asking(gateway, "?topics=a", method="OPTIONS", headers=preflight) as answer:
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Authorization" in answer.headers["access-control-allow-headers"]
        assert "Last-Event-ID" in answer.headers["access-control-allow-headers"]
    async with listening(gateway, "?topics=a", **bearer(), **origin) as stream:
        assert stream.headers["access-control-allow-origin"] == ORIGIN
        assert stream.headers["vary"] == "Origin"
    async with asking(gateway, "?topics=a", headers=origin) as answer:
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)
    async with asking(gateway, method="OPTIONS", headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
async def test_other_methods_are_not_allowed(gateway: GatewayProcess, method: str) -> None:
    async with asking(gateway, "?topics=a", method=method, headers=bearer()) as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, OPTIONS")


async def test_a_head_that_is_too_long_or_no_head_is_refused(gateway: GatewayProcess) -> None:
    async with asking(gateway, f"?topics={'x' * 17_000}") as answer:
        assert answer.status == 431
    async with asking(gateway, headers={"Content-Length": "5"}) as answer:
        assert answer.status == 400


async def test_a_request_may_come_in_pieces(gateway: GatewayProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in f"GET /events?topics=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token()}\r\n\r\n".encode():
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    answer = Answer(reader, writer)
    async with asyncio.timeout(10):
        await answer.read_head()
    assert answer.status == 200
    await hang_up(writer)


async def test_a_key_may_listen_by_itself(amqp_url: str, worker: Any, make_gateway: Any, source: Source) -> None:
    key = "sy_a bootstrap key of these tests"
    gateway: GatewayProcess = make_gateway(SWITCHYARD_API_KEY=key)
    gateway.start()
    async with asking(gateway, f"?topics={TOPIC}", headers={"X-API-Key": key}) as stream:
        assert (await stream.event())["agent_id"] == "key:bootstrap"
        assert (await stream.event())["type"] == "subscribed"
        published = await source.publish(2)
        assert numbers(await stream.events(2)) == published


async def test_a_slow_reader_is_told_what_it_missed(gateway: GatewayProcess, source: Source) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", gateway.port))
    sock.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    writer.write(f"GET /events?topics={TOPIC} HTTP/1.1\r\nHost: x\r\nX-Memory-Auth: {token()}\r\n\r\n".encode())
    stream = Answer(reader, writer)
    await stream.read_head()
    assert [(await stream.event())["type"] for _ in range(2)] == ["connected", "subscribed"]
    expected = await source.publish(1500, size=1000)
    eventually(lambda: gateway.metric("dropped_total") > 0)
    frames = [await stream.event()]
    while numbers([frame for frame in frames[-1:] if frame["type"] != "gap"]) != expected[-1:]:
        frames.append(await stream.event())
    gaps = [frame for frame in frames if frame["type"] == "gap"]
    assert {gap["reason"] for gap in gaps} == {"backpressure"}
    heard = {*numbers([frame for frame in frames if frame["type"] != "gap"])}
    assert heard < {*expected}
    await hang_up(writer)


async def test_a_stream_ends_with_the_gateway_and_says_so(make_gateway: Any) -> None:
    gateway: GatewayProcess = make_gateway()
    gateway.start()
    async with listening(gateway, "?topics=a") as stream:
        gateway.signal(signal.SIGTERM)
        last = await stream.event()
        assert last == {"type": "close", "code": 1012, "reason": "restart; resume from cursor"}
        await stream.end()
    assert gateway.wait(15) == 0


async def test_a_stream_ends_when_its_token_does(gateway: GatewayProcess) -> None:
    async with listening(gateway, "?topics=a", **bearer(token(ttl_s=2))) as stream:
        assert (await stream.event())["code"] == 4401
        await stream.end()


async def test_who_says_more_than_the_request_is_cut_off(gateway: GatewayProcess) -> None:
    async with listening(gateway, "?topics=a") as stream:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            stream.writer.write(b"x" * 100_000)
            await stream.event()
