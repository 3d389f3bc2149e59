"""Coming back: resumed connections, what is told of stolen tokens, mentions that waited; and who is turned away."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from shared.messages import new_id
from tests.integration.ws_gateway.processes import Client, GatewayProcess, Source, connected, numbers, token
from tests.integration.ws_gateway.test_event_stream import bearer, listening
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

TOPIC = "session.s1.insight"


@pytest.fixture(scope="module")
def proxied(amqp_url: str, worker: object) -> Iterator[GatewayProcess]:
    """Another replica, behind a proxy on this machine."""
    settings = {"SWITCHYARD_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8", "SWITCHYARD_GATEWAY_CONNECTS_PER_ADDRESS": "3"}
    process = GatewayProcess(amqp_url, **settings)
    process.start()
    yield process
    process.stop()


@asynccontextmanager
async def admin(gateway: GatewayProcess) -> AsyncIterator[Client]:
    """A person who may do everything."""
    name = f"root-{new_id()}"
    async with connected(gateway, token(name, kind="human", scopes=["admin"], issued_to="chief")) as client:
        yield client


async def run(client: Client, name: str, **data: Any) -> Any:
    """The result of a command; events meanwhile are left out."""
    message_id = new_id()
    await client.send("command", command=name, data=data, message_id=message_id)
    while (answer := await client.receive()).get("correlation_id") != message_id:
        pass
    assert answer["type"] == "response", answer
    return answer["result"]


async def nothing_comes(client: Client) -> None:
    """Nothing was sent to the client before this."""
    assert (await client.ask("ping"))["type"] == "pong"


async def test_another_replica_goes_on_with_a_connection_that_still_hangs(
    gateway: GatewayProcess, proxied: GatewayProcess, source: Source
) -> None:
    name = f"agent-{new_id()}"
    async with connected(gateway, token(name)) as old:
        answer = await old.ask("subscribe", topics=[TOPIC])
        await source.publish(3)
        seen = await old.events(3)
        async with connect(proxied.url) as socket:
            new = Client(socket)
            await new.send("authenticate", token=token(name), resume_token=answer["resume_token"])
            hello = await new.receive()
            assert hello["type"] == "connected"
            assert await old.close_code() == 4409
            assert old.socket.close_reason == "resumed elsewhere"
            expected = await source.publish(3)
            resumed = await new.ask("resume", resume_token=answer["resume_token"], since=seen[1]["cursor"])
            assert (resumed["topics"], resumed["recovered"]) == ([TOPIC], True)
            assert resumed["resumed"] == old.hello["connection_id"]  # type: ignore[attr-defined]
            assert numbers(await new.events(4))[1:] == expected


async def test_a_used_token_is_refused_at_every_replica_and_only_admins_hear_of_it(
    gateway: GatewayProcess, proxied: GatewayProcess, source: Source
) -> None:
    name = f"agent-{new_id()}"
    async with connected(gateway, token(name)) as old:
        stolen = (await old.ask("subscribe", topics=[TOPIC]))["resume_token"]
    async with connected(gateway, token(name)) as first:
        assert (await first.ask("resume", resume_token=stolen))["type"] == "subscribed"
    async with (
        admin(gateway) as watcher,
        connected(gateway, token(kind="human")) as curious,
        connected(proxied, token(name)) as thief,
    ):
        for client in (watcher, curious):
            await client.ask("subscribe", topics=["#"])
        refused = await thief.ask("resume", resume_token=stolen, message_id="m1")
        assert (refused["code"], refused["correlation_id"]) == ("forbidden", "m1")
        refused = await thief.ask("subscribe", topics=[TOPIC], resume_token=stolen[:-2] + "xx")
        assert refused["code"] == "forbidden"
        alerts: list[dict[str, Any]] = []
        while len(alerts) < 2:
            event = await watcher.receive()
            alerts += [event] if event["type"] == "security_alert" else []
        assert [(alert["what"], alert["agent_id"]) for alert in alerts] == [
            ("resume_token_reused", name), ("resume_token_altered", name),
        ]  # fmt: skip
        assert alerts[0]["connection_id"] == old.hello["connection_id"]  # type: ignore[attr-defined]
        await source.publish()
        heard = [(await curious.receive())["type"]]
        while heard[-1] != "llm_conversation_insight":
            heard.append((await curious.receive())["type"])
        assert "security_alert" not in heard
        assert stolen not in str(alerts)

        async def noted() -> bool:
            acts = (await run(watcher, "list_audit", command="gateway.resume"))["entries"]
            mine = {(act["outcome"], act["target"]) for act in acts if act["agent_id"] == name}
            return {("ok", alerts[0]["connection_id"]), ("forbidden: reused", alerts[0]["connection_id"])} <= mine

        await eventually_async(noted, 10)


async def test_a_revoked_token_closes_its_sockets_at_every_replica(
    gateway: GatewayProcess, proxied: GatewayProcess
) -> None:
    name = f"agent-{new_id()}"
    old = token(name)
    async with (
        admin(gateway) as chief,
        connected(gateway, old) as active,
        connected(proxied, token(name, permission="observer")) as observer,
    ):
        await run(chief, "revoke_tokens", agent_id=name, reason="its laptop was lost")
        assert await active.close_code() == 4401
        assert await observer.close_code() == 4401
        async with connect(gateway.url, additional_headers={"Authorization": f"Bearer {old}"}) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4401
        async with connected(proxied, token(name)):
            pass


async def test_a_mention_waits_for_its_agent_and_comes_once_and_in_order(
    gateway: GatewayProcess, proxied: GatewayProcess, module_database_url: str
) -> None:
    name = f"agent-{new_id()}"
    async with connected(gateway, token("speaker", kind="human")) as speaker:
        for number in range(3):
            await run(speaker, "mention", target_agents=[name], message=f"hello {number}")
        async with connected(proxied, token(name)) as agent:
            told = [await agent.receive() for _ in range(3)]
            assert [(event["type"], event["message"]) for event in told] == [
                ("mention_route", f"hello {number}") for number in range(3)
            ]
            await run(speaker, "mention", target_agents=[name], message="live")
            live = await agent.receive()
            assert (live["message"], "cursor" in live) == ("live", True)
            await nothing_comes(agent)

            # By its pongs, or its ack.
            await agent.send("ack", message_id=live["message_id"])
            all_let_go(module_database_url, name)
        async with connected(gateway, token(name)) as agent:
            await nothing_comes(agent)
            await run(speaker, "mention", target_agents=[name], message="again")
            assert (await agent.receive())["message"] == "again"


async def test_a_person_reads_by_a_stream_of_events_too(gateway: GatewayProcess, module_database_url: str) -> None:
    name = f"person-{new_id()}"
    async with connected(gateway, token(kind="human")) as speaker:
        await run(speaker, "mention", target_agents=[name], message="hello")
    async with listening(gateway, "?topics=x", **bearer(token(name, kind="human", permission="observer"))) as stream:
        told = await stream.event()
        assert (told["type"], told["message"]) == ("mention_route", "hello")
        all_let_go(module_database_url, name)


def all_let_go(database_url: str, agent_id: str) -> None:
    """Wait until the worker keeps no mention of an agent."""
    with psycopg.connect(database_url, autocommit=True) as database:
        waiting = "select 1 from mentions where agent_id = %s"
        eventually(lambda: database.execute(waiting, (agent_id,)).fetchone() is None, because="all are let go")


async def test_an_agent_that_comes_back_at_once_is_not_told_again(gateway: GatewayProcess) -> None:
    name = f"agent-{new_id()}"
    async with connected(gateway, token(kind="human")) as speaker:
        await run(speaker, "mention", target_agents=[name], message="first")
        async with connected(gateway, token(name)) as agent:
            assert (await agent.receive())["message"] == "first"
        await run(speaker, "mention", target_agents=[name], message="second")
        async with connected(gateway, token(name)) as agent:
            assert (await agent.receive())["message"] == "second"


async def test_a_forwarded_address_is_believed_from_a_trusted_proxy_alone(
    gateway: GatewayProcess, proxied: GatewayProcess
) -> None:
    for place, number in ((gateway, 1), (proxied, 2)):
        headers = {"Authorization": "Bearer nonsense", "X-Forwarded-For": f"6.6.6.6, 198.51.100.{number}"}
        async with connect(place.url, additional_headers=headers) as socket:
            await socket.wait_closed()
            assert socket.close_code == 4401
    async with admin(gateway) as chief:

        async def refused() -> set[str]:
            acts = (await run(chief, "list_audit", command="gateway.refuse"))["entries"]
            return {act["target"] for act in acts if act["outcome"] == "4401"}

        async def noted() -> bool:
            return {"127.0.0.1", "198.51.100.2"} <= await refused()

        await eventually_async(noted, 10)
        assert not await refused() & {"198.51.100.1", "6.6.6.6"}


async def test_a_flood_of_connections_is_refused_by_address_and_told(
    gateway: GatewayProcess, proxied: GatewayProcess
) -> None:
    async with admin(gateway) as chief:
        await chief.ask("subscribe", topics=["system.security_alert"])

        async def come(address: str) -> int:
            headers = {"X-Forwarded-For": address, "Authorization": f"Bearer {token()}"}
            try:
                async with connect(proxied.url, additional_headers=headers):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

        answers = [await come("2001:db8::1") for _ in range(29)] + [await come("2001:db8::2") for _ in range(10)]
        assert answers[:30] == [101] * 30
        assert 429 in answers[30:]
        assert await come("2001:db8:0:1::1") == 101
        alert = await chief.receive()
        assert (alert["type"], alert["what"], alert["address"]) == (
            "security_alert", "connection_flood", "2001:db8::/64",
        )  # fmt: skip


async def test_a_flood_from_nobody_we_trust_is_cut_off_before_it_says_anything(
    gateway: GatewayProcess, proxied: GatewayProcess
) -> None:
    async def come() -> bool:
        """Whether there is an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", proxied.port, local_addr=("127.0.0.2", 0))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n")
        try:
            return (await reader.read(12)).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False
        finally:
            writer.transport.abort()

    async with admin(gateway) as chief:
        await chief.ask("subscribe", topics=["system.security_alert"])
        answers = [await come() for _ in range(50)]
        assert answers[:30] == [True] * 30
        assert not all(answers)
        alert = await chief.receive()
        assert (alert["what"], alert["address"]) == ("connection_flood", "127.0.0.2")
        assert proxied.get("/health/live")[0] == 200


async def test_a_gateway_that_stops_has_written_down_all_it_did(
    gateway: GatewayProcess, make_gateway: Callable[..., GatewayProcess]
) -> None:
    leaving, name = make_gateway(), f"agent-{new_id()}"
    leaving.start()
    async with connected(leaving, token(name, issued_to="ci")) as client:
        await client.ask("subscribe", topics=[TOPIC])
        connection_id = client.hello["connection_id"]  # type: ignore[attr-defined]
        leaving.signal(signal.SIGTERM)
        assert await client.close_code() == 1012
    async with admin(gateway) as chief:

        async def acts(act: str) -> list[tuple[str, str, str, str]]:
            entries = (await run(chief, "list_audit", command=f"gateway.{act}", limit=200))["entries"]
            return [(entry["key"], entry["agent_id"], entry["target"], entry["outcome"]) for entry in entries]

        async def noted() -> bool:
            return bool(await acts("shutdown"))

        await eventually_async(noted, 10)
        for act in ("connect", "subscribe"):
            assert ("ci", name, connection_id, "ok") in await acts(act)
        ((key, agent_id, gateway_id, outcome),) = await acts("shutdown")
        assert (key, agent_id, outcome) == ("-", "-", "restart")
        assert gateway_id


async def test_a_hundred_connections_resume_at_once(gateway: GatewayProcess) -> None:
    names = [f"storm-{new_id()}" for _ in range(100)]
    shown = {name: token(name) for name in names}

    async def begin(name: str) -> str:
        async with connected(gateway, shown[name]) as client:
            return str((await client.ask("subscribe", topics=[TOPIC]))["resume_token"])

    async def again(name: str, resume_token: str) -> str:
        async with connected(gateway, shown[name]) as client:
            return str((await client.ask("resume", resume_token=resume_token))["type"])

    tokens = await asyncio.gather(*map(begin, names))
    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*map(again, names, tokens))) == {"subscribed"}
