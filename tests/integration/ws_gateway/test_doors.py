"""How one gets in, and how one does not."""

import asyncio
import json
import re
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.ws_gateway.processes import ORIGIN, Client, GatewayProcess, connected, token
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def refused(gateway: GatewayProcess, path: str = "", **options) -> tuple[int, str]:
    """Close code and reason of a connection that is not let in."""
    async with connect(gateway.url + path, **options) as socket:
        async with asyncio.timeout(20):
            await socket.wait_closed()
        return socket.close_code or 0, socket.close_reason or ""


def bearer(shown: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {shown}"}


async def test_a_token_is_taken_from_either_header(gateway: GatewayProcess) -> None:
    for headers in (bearer(token("ana")), {"X-Memory-Auth": token("ana")}):
        async with connect(gateway.url, additional_headers=headers) as socket:
            hello = await Client(socket).receive()
            assert (hello["type"], hello["agent_id"], hello["permission"]) == ("connected", "ana", "active")
            assert hello["heartbeat_s"] == 30
            assert socket.protocol.extensions == []
        eventually(lambda: gateway.metric("connections", permission="active") == 0)


async def test_a_browser_shows_its_token_by_subprotocol(gateway: GatewayProcess) -> None:
    shown = token(kind="human")
    async with connect(gateway.url, subprotocols=["switchyard.v1", f"token.{shown}"], origin=ORIGIN) as socket:
        assert socket.subprotocol == "switchyard.v1"
        assert (await Client(socket).receive())["type"] == "connected"


async def test_a_token_may_come_in_the_first_frame(gateway: GatewayProcess) -> None:
    async with connect(gateway.url) as socket:
        assert (await Client(socket).ask("authenticate", token=token()))["type"] == "connected"


async def test_firefox_is_let_in_though_it_names_more_than_the_upgrade(gateway: GatewayProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
    writer.close()


async def test_a_page_of_another_origin_is_refused(gateway: GatewayProcess) -> None:
    code, _ = await refused(gateway, origin="http://evil.example", additional_headers=bearer(token()))
    assert code == 4403


async def test_a_bad_an_expired_and_a_token_in_the_url_are_refused(gateway: GatewayProcess) -> None:
    assert (await refused(gateway, additional_headers=bearer("nonsense")))[0] == 4401
    assert (await refused(gateway, additional_headers=bearer(token(ttl_s=-5))))[0] == 4401
    code, reason = await refused(gateway, f"?token={token()}")
    assert (code, "URL" in reason) == (4401, True)


async def test_a_first_frame_that_is_not_the_token_ends_the_connection(gateway: GatewayProcess) -> None:
    async with connect(gateway.url) as socket:
        client = Client(socket)
        await client.send("subscribe", topics=["#"])
        assert await client.close_code() == 4401


async def test_a_token_ends_its_connection_when_it_expires(gateway: GatewayProcess) -> None:
    async with connected(gateway, token(ttl_s=2)) as client:
        assert await client.close_code() == 4401


async def test_an_agent_has_one_active_and_one_observer_connection(gateway: GatewayProcess) -> None:
    async with (
        connected(gateway, token("twin")),
        connected(gateway, token("twin", permission="observer")),
    ):
        assert (await refused(gateway, additional_headers=bearer(token("twin"))))[0] == 4409
        assert (await refused(gateway, additional_headers=bearer(token("twin", permission="observer"))))[0] == 4409
    eventually(lambda: gateway.metric("connections", permission="observer") == 0)
    async with connected(gateway, token("twin")):
        pass


async def test_a_human_has_five_tabs(gateway: GatewayProcess) -> None:
    async with asyncio.TaskGroup() as group:
        open_tabs, done = asyncio.Semaphore(0), asyncio.Event()

        async def tab() -> None:
            async with connected(gateway, token("eve", kind="human")):
                open_tabs.release()
                await done.wait()

        for _ in range(5):
            group.create_task(tab())
        for _ in range(5):
            await open_tabs.acquire()
        assert (await refused(gateway, additional_headers=bearer(token("eve", kind="human"))))[0] == 4409
        done.set()


async def test_more_connections_than_there_are_places_are_refused(make_gateway) -> None:
    gateway = make_gateway(SWITCHYARD_GATEWAY_MAX_CONNECTIONS="2")
    gateway.start()
    async with connected(gateway), connected(gateway):
        assert (await refused(gateway, additional_headers=bearer(token())))[0] == 4409
    eventually(lambda: gateway.metric("connections", permission="active") == 0)
    async with connected(gateway):
        pass


def test_health_and_metrics_answer_on_the_same_port(gateway: GatewayProcess) -> None:
    assert gateway.get("/health/live") == (200, '{"status": "live"}')
    assert gateway.get("/health/ready") == (200, '{"status": "ready"}')
    status, body = gateway.get("/metrics")
    assert status == 200
    assert re.search(r"^switchyard_gateway_connections\{permission=\"active\"\} ", body, re.MULTILINE)
    assert "process_resident_memory_bytes" in body
    assert gateway.get("/nothing")[0] == 404
    assert gateway.get("/ws")[0] == 426


async def test_it_waits_live_but_not_ready_while_the_broker_is_away() -> None:
    gateway = GatewayProcess("amqp://guest:guest@127.0.0.1:1/")
    try:
        gateway.start(ready=False)
        status, body = gateway.get("/health/ready")
        assert status == 503
        assert set(json.loads(body)["failing"]) == {"broker", "event_log", "keys"}
        with pytest.raises(InvalidStatus) as answer:
            await connect(gateway.url)
        assert answer.value.response.status_code == 503
    finally:
        gateway.stop()
    assert gateway.wait() == 0


async def test_slow_handshakes_and_who_shows_no_token_end_while_others_are_served(gateway: GatewayProcess) -> None:
    async def stays_without_a_token() -> tuple[int, float]:
        began = time.monotonic()
        code, _ = await refused(gateway)
        return code, time.monotonic() - began

    nobody = asyncio.ensure_future(stays_without_a_token())
    slow = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(300)]
    for _, writer in slow:
        writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    async with connected(gateway) as client:
        assert (await client.ask("ping"))["type"] == "pong"
    async with asyncio.timeout(15):
        for reader, writer in slow:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
    code, seconds = await nobody
    assert code == 4408
    assert 4 < seconds < 15


async def test_no_token_ever_reaches_the_log(make_gateway, capfd: pytest.CaptureFixture[str]) -> None:
    gateway = make_gateway(SWITCHYARD_LOG_LEVEL="debug")
    gateway.start()
    shown = token("ana", kind="human")
    await refused(gateway, f"?token={shown}")
    await refused(gateway, additional_headers=bearer(shown + "x"))
    async with connect(gateway.url, subprotocols=["switchyard.v1", f"token.{shown}"]) as socket:
        hello = await Client(socket).receive()
        assert (await Client(socket).ask("authenticate", token=shown))["type"] == "error"
    gateway.stop()
    log = capfd.readouterr().err
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    closed = [line for line in lines if line["event"] == "client_closed"]
    assert [line["code"] for line in closed] == [4401, 4401, 1000]
    assert (closed[-1]["agent_id"], closed[-1]["connection_id"]) == ("ana", hello["connection_id"])
    assert shown not in log
    assert hello["resume_token"] not in log
