"""An emergency that an admin declares, as everyone who is connected gets it."""

import pytest

from tests.integration.ws_gateway.processes import Client, GatewayProcess, Source, connected, numbers, token
from tests.integration.ws_gateway.test_slow import TOPIC, slow_client
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

KIND = "security_emergency_broadcast"


async def declare(chief: Client) -> None:
    data = {"lane": "security_emergency", "subject": "a stolen key", "details": {"key": "ci"}}
    answer = await chief.ask("command", message_id="m1", command="declare_emergency", data=data)
    while answer["type"] != "response":
        answer = await chief.receive()
    assert answer["result"]["emergency"]["declared_by"] == "the admin"


async def until_alarm(client: Client) -> list[dict[str, object]]:
    """Everything that comes, up to the emergency."""
    frames = [await client.receive()]
    while frames[-1]["type"] != KIND:
        frames.append(await client.receive())
    return frames


async def test_an_emergency_reaches_everyone_ahead_of_all_that_waits(gateway: GatewayProcess, source: Source) -> None:
    chief_token = token("the admin", kind="human", scopes=["admin"])
    async with (
        connected(gateway, chief_token) as chief,
        connected(gateway) as silent,
        connected(gateway, token(permission="observer")) as observer,
        slow_client(gateway, token()) as slow,
        slow_client(gateway, token()) as replaying,
    ):
        published = await source.publish(1500, size=1000)
        eventually(lambda: gateway.metric("slow") == 2)
        # Asked for all of it again, it is given older events while its socket is full.
        await replaying.send("subscribe", topics=[TOPIC], since=0)
        published += await source.publish(150, size=1000, priority="critical")
        before = gateway.metric("lane_broadcasts_total", lane="security_emergency")
        await declare(chief)
        for client in (silent, observer):
            (alarm,) = await until_alarm(client)
            assert alarm["message"] == "Security breach detected: a stolen key"
            assert alarm["details"] == {"key": "ci"}
            assert alarm["priority_lane"] is True
            assert "since" not in alarm
        assert gateway.metric("lane_broadcasts_total", lane="security_emergency") == before + 1
        for client in (slow, replaying):
            *earlier, alarm = await until_alarm(client)
            assert alarm["since"] < alarm["cursor"]
            # It came before the end of what was published before it.
            events = [frame for frame in earlier if "insight" in frame]
            assert len(set(numbers(events))) < len(published)
