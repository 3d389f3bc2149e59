"""The status display: what it says, who sees what of it, and who is sent it when."""

import asyncio
from typing import Any

import pytest

from services.ws_gateway.operation import vitals
from services.ws_gateway.operation.status import Sources, Status
from services.ws_gateway.operation.viewers import Asked, Viewer, read_asked
from shared.auth import SCOPES, Caller
from shared.errors import Rejected, Unavailable
from tests.unit.ws_gateway.house import House, Visitor
from tests.unit.ws_gateway.wire import event
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio

ADMIN = Viewer("ada", "bootstrap", True)


class Watched:
    """A gateway with a display, whose clock stands still unless it is moved."""

    def __init__(self) -> None:
        self.house = House()
        self.time = 0.0
        self.healths: dict[str, int] = {}
        self.sidebars: bytes | None = b'{"open":3}'
        self.asked = 0
        self.agents = ["ana", "ben"]
        self.status = Status(
            self.house.gateway,
            "g1",
            Sources(
                health=lambda client: self.healths.get(client.id, 100),
                troubles=lambda client: ["its socket is full"],
                about=vitals.about,
                gateways=list,
                agents=self._agents,
                sidebars=self._sidebars,
            ),
            events_in=lambda: 7,
            every=5.0,
            clock=lambda: self.time,
        )

    def _agents(self, health: Any, *, only: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        return [{"agent_id": name, "health": health(name)} for name in self.agents if only in (None, name)]

    async def _sidebars(self) -> bytes:
        self.asked += 1
        if self.sidebars is None:
            raise Unavailable("the broker is away")
        return self.sidebars

    async def view(self, viewer: Viewer = ADMIN, **asked: Any) -> dict[str, Any]:
        return await self.status.ask(viewer, Asked(**asked))

    def come(self, agent_id: str, health: int = 100, **more: Any) -> Visitor:
        visitor = self.house.come(agent_id, **more)
        self.healths[visitor.client.id] = health
        return visitor

    def admin(self, agent_id: str = "ada") -> Visitor:
        return self.come(agent_id, kind="human", scopes=["admin"])

    async def shown(self, visitor: Visitor) -> dict[str, Any]:
        """The display that is sent after a beat."""
        self.status.beat()
        (frame,) = await visitor.hear(1)
        assert frame["type"] == "gateway_state"
        return frame


def names(view: dict[str, Any]) -> list[str]:
    return [connection["agent_id"] for connection in view["connections"]]


async def test_the_least_healthy_connections_come_first_page_by_page() -> None:
    watched = Watched()
    for number, health in enumerate([90, 20, 100, 50, 70]):
        watched.come(f"a{health}", health, permission="observer" if number % 2 else "active")
    first = await watched.view(limit=2)
    second = await watched.view(limit=2, cursor=first["next"])
    third = await watched.view(limit=2, cursor=second["next"])
    assert [names(page) for page in (first, second, third)] == [["a20", "a50"], ["a70", "a90"], ["a100"]]
    assert third["next"] is None


async def test_totals_count_everyone() -> None:
    watched = Watched()
    watched.come("ana")
    watched.come("ana", permission="observer")
    watched.come("hal", kind="human")
    gateway = (await watched.view())["gateway"]
    assert gateway["connections_total"] == 3
    assert gateway["by_kind"] == {"human": 1, "agent": 2}
    assert gateway["by_permission"] == {"observer": 1, "active": 2}
    assert gateway["events_in"] == 7
    assert gateway["memory_bytes"] > 1_000_000
    assert (await watched.view())["gateways"][0]["gateway_id"] == "g1"


async def test_who_is_no_admin_sees_its_own_connections_and_totals_only() -> None:
    watched = Watched()
    watched.come("ana", 10)
    watched.come("ben", 20)
    view = await watched.view(Viewer("ben", "key", False))
    assert names(view) == ["ben"]
    assert "address" not in view["connections"][0]
    assert [agent["agent_id"] for agent in view["agents"]] == ["ben"]
    assert len(view["problems"]) == 1
    assert "ben" in view["problems"][0]
    assert view["sidebars"] is None
    assert view["gateway"]["connections_total"] == 2
    assert (await watched.view())["connections"][0]["address"] == "1.2.3.4"
    assert [agent["health"] for agent in (await watched.view())["agents"]] == [10, 20]


async def test_agents_with_much_to_say_do_not_make_it_too_large_for_a_client() -> None:
    watched = Watched()
    watched.agents = ["x" * 50_000] * 30
    assert len((await watched.view())["agents"]) == 5


async def test_a_key_that_reads_sees_the_connections_it_has_let_in() -> None:
    watched = Watched()
    watched.come("ana", issued_to="dashboards")
    watched.come("ben", issued_to="others")
    assert names(await watched.view(Viewer.of_key(Caller("dashboards", frozenset({"read"}))))) == ["ana"]
    assert len(names(await watched.view(Viewer.of_key(Caller("bootstrap", SCOPES))))) == 2


async def test_an_agent_is_never_an_admin_whatever_its_key_may_do() -> None:
    watched = Watched()
    agent = watched.come("ana", scopes=["admin"])
    human = watched.admin("hal")
    assert agent.client.identity and not Viewer.of_identity(agent.client.identity).is_admin
    assert human.client.identity and Viewer.of_identity(human.client.identity).is_admin


async def test_what_is_wrong_is_said_in_words() -> None:
    watched = Watched()
    visitor = watched.come("ana", 12)
    watched.come("ben", 60)
    (problem,) = (await watched.view())["problems"]
    assert problem == f"ana (active, {visitor.client.id}): health 12 of 100: its socket is full"


async def test_a_connection_in_trouble_says_in_words_what_it_suffers_from() -> None:
    house = House()
    client = house.come("ana").client
    assert vitals.troubles(client) == []
    client.pulse.unanswered = 3
    client.quality.slow = "stalled"
    client.connection.backlog.add(event(1))
    client.connection.backlog.dropped = 7
    client.quality.pong(1_500.0)
    assert vitals.troubles(client) == [
        "2 pings not answered",
        "its socket has been full for seconds",
        "1 of 200 events wait",
        "7 events dropped so far",
        "a ping takes 1500 ms",
    ]
    assert vitals.health(client) < 60
    assert vitals.about(client)["connected_at"][:4].isdecimal()


async def test_it_is_computed_at_most_every_five_seconds() -> None:
    watched = Watched()
    assert (await watched.view())["gateway"]["connections_total"] == 0
    watched.come("ana")
    watched.time = 4.9
    assert (await watched.view())["gateway"]["connections_total"] == 0
    watched.time = 5.0
    assert (await watched.view())["gateway"]["connections_total"] == 1


async def test_a_connection_that_has_gone_meanwhile_is_left_out() -> None:
    watched = Watched()
    visitor = watched.come("ana", 3)
    assert names(await watched.view()) == ["ana"]
    visitor.client.close(1000, "")
    assert names(await watched.view()) == []
    assert (await watched.view())["problems"] == []


async def test_who_names_the_topic_is_sent_it_at_once_and_then_every_five_seconds() -> None:
    watched = Watched()
    listener, other = watched.admin(), watched.come("ana")
    listener.say("subscribe", topics=["system.gateway"])
    other.say("subscribe", topics=["#", "system.#"])
    watched.time = 1.0
    frame = await watched.shown(listener)
    assert frame["gateway"]["gateway_id"] == "g1"
    assert frame["sidebars"] == {"open": 3}
    assert "cursor" not in frame
    watched.time = 2.0
    watched.status.beat()
    watched.time = 6.0
    assert (await watched.shown(listener))["gateway"]["uptime_s"] == 6.0
    assert listener.socket.read() == []
    assert other.socket.read() == []


async def test_each_sees_its_own_and_the_sidebars_are_asked_for_once() -> None:
    watched = Watched()
    ada, eve, ana = watched.admin("ada"), watched.admin("eve"), watched.come("ana")
    for visitor in (ada, eve, ana):
        visitor.say("subscribe", topics=["system.gateway"])
    watched.status.beat()
    frames = [(await visitor.hear(1))[0] for visitor in (ada, eve, ana)]
    assert [len(frame["connections"]) for frame in frames] == [3, 3, 1]
    assert watched.asked == 1


async def test_who_reads_slowly_is_sent_the_next_one() -> None:
    watched = Watched()
    slow = watched.come("ana")
    slow.say("subscribe", topics=["system.gateway"])
    slow.client.full()
    watched.status.beat()

    async def pushed() -> bool:
        return bool(watched.status._pushing and watched.status._pushing.done())

    await eventually_async(pushed)
    assert slow.socket.read() == []
    slow.client.drained()
    watched.time = 5.0
    await watched.shown(slow)


async def test_without_the_session_worker_the_sidebars_are_left_out() -> None:
    watched = Watched()
    watched.sidebars = None
    admin = watched.admin()
    assert admin.client.identity
    answer = await watched.status.answer(admin.client.identity, {})
    assert answer["sidebars"] is None
    assert names(answer) == ["ada"]


async def test_a_display_nobody_looks_at_holds_no_clients() -> None:
    watched = Watched()
    await watched.view()
    watched.time = 11.0
    watched.status.beat()
    assert watched.status._last is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"session": "s1"}, "unknown field `session`"),
        ({"cursor": 4}, "cursor"),
    ],
    ids=["no limit", "too many", "another field", "a number"],
)
def test_what_can_not_be_asked_is_said(data: dict[str, Any], said: str) -> None:
    with pytest.raises(Rejected, match=said):
        read_asked(data)


async def test_a_cursor_that_is_none_is_refused() -> None:
    watched = Watched()
    for cursor in ("", "x.y", "4711.a", "7", "٣.a"):
        with pytest.raises(Rejected, match="no cursor"):
            await watched.view(cursor=cursor)
    await asyncio.sleep(0)
