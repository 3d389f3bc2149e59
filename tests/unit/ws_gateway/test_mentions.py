"""Mentions: given in order, on a connection once, and let go when they were read."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ws_gateway.delivery import mentions as module
from services.ws_gateway.delivery.mentions import Mentions
from shared.bus.tail import StreamEvent
from shared.errors import Rejected, Unavailable
from shared.messages import rfc3339
from shared.messages.mentions import KeptMention, MentionRoute
from tests.unit.ws_gateway.house import House, Visitor
from tests.unit.ws_gateway.wire import payloads
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


def kept(mention_id: str, agent_id: str = "ada", *, age_s: float = 60, size: int = 0) -> KeptMention:
    return KeptMention(
        mention_id=mention_id,
        agent_id=agent_id,
        author="bob",
        message=f"@{agent_id} {mention_id} {'x' * size}",
        target_agents=[agent_id],
        context_refs=["exchange-1"],
        session_id="s1",
        sidebar_id=None,
        priority="high",
        hops=2,
        trust="untrusted",
        created=rfc3339(datetime.now(UTC) - timedelta(seconds=age_s)),
    )


class Post:
    """A gateway's mentions, and a worker that keeps them."""

    def __init__(self) -> None:
        self.house = House()
        self.waiting: list[KeptMention] = []
        self.marked: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.mentions = Mentions(self.house.gateway, self.house.intake, self._query, self._command)
        self._posting = asyncio.ensure_future(self.mentions.posting.run())

    async def stop(self) -> None:
        self._posting.cancel()
        await asyncio.gather(self._posting, return_exceptions=True)
        for client in self.house.gateway.clients:
            client.gone(1000)
        await asyncio.sleep(0)

    async def _query(self, name: str, data: dict[str, Any]) -> bytes:
        assert name == "list_mentions"
        self.asked.append(data)
        waiting = [mention for mention in self.waiting if mention.agent_id == data["agent_id"]]
        after = next((n + 1 for n, mention in enumerate(waiting) if mention.mention_id == data["after"]), 0)
        await self.go_on.wait()
        if self.fault:
            raise self.fault
        page = waiting[after : after + data["limit"]]
        return json.dumps({"mentions": [mention.model_dump() for mention in page]}).encode()

    async def _command(self, name: str, data: dict[str, Any], message_id: str) -> None:
        assert name == "mark_mentions"
        self.marked += data["mention_ids"]
        self.waiting = [mention for mention in self.waiting if mention.mention_id not in data["mention_ids"]]

    def tell(self, mention: KeptMention) -> None:
        """Its event comes from the stream."""
        event = MentionRoute(
            message_id=mention.mention_id, sender_agent_id="bob", agent_id=mention.agent_id, mention=mention,
            target_agents=[mention.agent_id], message=mention.message, context_refs=[], participants=None,
        )  # fmt: skip
        offset = len(self.house.stored)
        self.house.stored.append(StreamEvent(offset, event.routing_key(), event.encoded(), event.message_id))
        self.house.intake.take(self.house.stored[-1:])

    def live(self, mention_id: str, agent_id: str = "ada") -> None:
        """Somebody is mentioned now."""
        mention = kept(mention_id, agent_id, age_s=0)
        self.waiting.append(mention)
        self.tell(mention)

    async def until_marked(self, *mention_ids: str) -> None:
        async def marked() -> bool:
            return self.marked == list(mention_ids)

        await eventually_async(marked, 5, because=f"{mention_ids} are marked, {self.marked} are")


@pytest.fixture
async def post(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "MARK_SECONDS", 0.01)
    monkeypatch.setattr(module, "ROOM_SECONDS", 0.01)
    made = Post()
    yield made
    await made.stop()


async def heard(visitor: Visitor, count: int) -> list[str]:
    """The ids of the next mentions."""
    return [frame["message_id"] for frame in await visitor.hear(count)]


async def pong(visitor: Visitor) -> None:
    """Read everything up to a ping and answer that."""

    async def pinged() -> bool:
        return visitor.client.pulse.sent > visitor.client.pulse.answered

    await eventually_async(pinged, 5, because="a ping comes")
    visitor.socket.written = b""
    visitor.client.ponged(visitor.client.pulse.sent.to_bytes(4, "big"))


async def settled(post: Post) -> None:
    """Let everything under way come to its end."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waited_is_given_in_order_before_a_ping_and_let_go_when_that_is_answered(post: Post) -> None:
    post.waiting = [kept(f"m{number}") for number in range(5)] + [kept("other", "eve")]
    ada = post.house.come("ada")

    async def pinged() -> bool:
        return any(opcode == 9 for opcode, _ in payloads(ada.socket.written))

    await eventually_async(pinged, 5)
    frames = payloads(ada.socket.written)
    assert [opcode for opcode, _ in frames] == [1] * 5 + [9]
    first = json.loads(frames[0][1])
    assert first == {
        "type": "mention_route", "message_id": "m0", "timestamp": post.waiting[0].created, "sender_agent_id": "bob",
        "session_id": "s1", "priority": "high", "hops": 2, "trust": "untrusted", "agent_id": "ada",
        "mention": post.waiting[0].model_dump(), "target_agents": ["ada"], "message": post.waiting[0].message,
        "context_refs": ["exchange-1"], "participants": None,
    }  # fmt: skip
    assert post.marked == []
    await pong(ada)
    await post.until_marked(*(f"m{number}" for number in range(5)))
    ada.client.gone(1000)
    again = post.house.come("ada")
    await settled(post)
    assert again.socket.read() == []


async def test_what_was_not_read_comes_again_on_the_next_connection(post: Post) -> None:
    post.waiting = [kept("m0"), kept("m1")]
    ada = post.house.come("ada")
    assert await heard(ada, 2) == ["m0", "m1"]
    ada.say("ack", message_id="m1")
    await post.until_marked("m1")
    ada.client.gone(1006)
    again = post.house.come("ada")
    assert await heard(again, 1) == ["m0"]


async def test_an_old_pong_and_a_strange_ack_let_nothing_go(post: Post) -> None:
    post.waiting = [kept("m0")]
    ada = post.house.come("ada")
    old = ada.client.ping_now()
    assert await heard(ada, 1) == ["m0"]
    ada.client.ponged(old.to_bytes(4, "big"))
    ada.client.ponged(b"")
    ada.say("ack", message_id="m7")
    ada.say("ack")
    post.house.come("eve").say("ack", message_id="m0")
    await settled(post)
    assert len(post.mentions.posting) == 0
    assert post.marked == []


async def test_an_observer_is_told_too_but_the_agent_has_not_heard_of_it(post: Post) -> None:
    post.waiting = [kept("m0")]
    watcher = post.house.come("ada", permission="observer")
    assert await heard(watcher, 1) == ["m0"]
    watcher.say("ack", message_id="m0")
    watcher.client.ponged((1).to_bytes(4, "big"))
    assert await heard(post.house.come("ada"), 1) == ["m0"]
    assert post.marked == []


async def test_a_humans_connection_counts_whatever_it_may_do(post: Post) -> None:
    post.waiting = [kept("m0", "eve")]
    eve = post.house.come("eve", kind="human", permission="observer")
    assert await heard(eve, 1) == ["m0"]
    await pong(eve)
    await post.until_marked("m0")


async def test_a_live_mention_is_given_once_and_let_go_as_the_others(post: Post) -> None:
    ada = post.house.come("ada")
    await settled(post)
    ada.socket.read()
    post.live("m0")
    assert await heard(ada, 1) == ["m0"]
    await pong(ada)
    await post.until_marked("m0")


async def test_what_comes_while_the_question_is_under_way_is_given_once(post: Post) -> None:
    post.go_on.clear()
    post.waiting = [kept("m0")]
    ada = post.house.come("ada")
    await settled(post)
    post.live("m1")
    post.tell(kept("m2"))
    assert ada.socket.read() == []
    post.go_on.set()
    frames = await ada.hear(3)
    assert [(frame["message_id"], "cursor" in frame) for frame in frames] == [
        ("m0", False), ("m1", False), ("m2", False),
    ]  # fmt: skip
    await settled(post)
    assert ada.socket.read() == []
    await pong(ada)
    await post.until_marked("m0", "m1", "m2")
    post.live("m3")
    assert ["cursor" in frame for frame in await ada.hear(1)] == [True]


async def test_what_comes_in_the_moment_of_the_connect_comes_after_what_has_waited(post: Post) -> None:
    post.waiting = [kept("m0")]
    ada = post.house.come("ada")
    post.live("m1")
    assert await heard(ada, 2) == ["m0", "m1"]


async def test_what_is_kept_already_but_not_told_yet_is_given_once(post: Post) -> None:
    young = kept("m1", age_s=0)
    post.waiting = [kept("m0"), young]
    ada = post.house.come("ada")
    assert await heard(ada, 2) == ["m0", "m1"]
    await settled(post)
    post.tell(young)
    await settled(post)
    assert ada.socket.read() == []
    assert ada.client.connection.withheld == set()


async def test_to_a_subscriber_it_is_given_when_it_is_told(post: Post) -> None:
    young = kept("m1", age_s=0)
    post.waiting = [kept("m0"), young]
    ada = post.house.come("ada")
    ada.say("subscribe", topics=["#"])
    assert await heard(ada, 1) == ["m0"]
    post.tell(young)
    assert await heard(ada, 1) == ["m1"]

    async def done() -> bool:
        return not ada.client._tasks

    await eventually_async(done, 5)
    assert ada.socket.read() == []


async def test_what_is_never_told_is_given_after_a_while(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "YOUNG_SECONDS", 0.1)
    post.waiting = [kept("m0", age_s=0)]
    ada = post.house.come("ada")
    ada.say("subscribe", topics=["#"])
    assert await heard(ada, 1) == ["m0"]


async def test_live_ones_do_not_wait_for_what_can_not_be_asked_for(post: Post) -> None:
    post.fault = Unavailable("away")
    ada = post.house.come("ada")

    async def asked() -> bool:
        return len(post.asked) > 1

    await eventually_async(asked, 5)
    post.live("m1")
    assert await heard(ada, 1) == ["m1"]


async def test_more_than_a_page_comes_page_by_page_and_nothing_twice(post: Post) -> None:
    post.waiting = [kept(f"m{number}") for number in range(120)]
    ada = post.house.come("ada")
    assert await heard(ada, 120) == [f"m{number}" for number in range(120)]
    assert [asked["after"] for asked in post.asked] == [None, "m49", "m99"]
    await pong(ada)
    await post.until_marked(*(f"m{number}" for number in range(120)))


@pytest.mark.parametrize("fault", [Unavailable("away"), TimeoutError(), Rejected("internal", "no database")], ids=repr)
async def test_while_nobody_can_be_asked_the_connection_goes_on_and_it_is_tried_again(
    post: Post, fault: Exception
) -> None:
    post.fault = fault
    post.waiting = [kept("m0")]
    ada = post.house.come("ada")

    async def asked() -> bool:
        return len(post.asked) > 2

    await eventually_async(asked, 5)
    assert ada.say("ping") == [{"type": "pong"}]
    post.fault = None
    assert await heard(ada, 1) == ["m0"]


async def test_a_mention_lost_to_a_full_socket_is_given_again_when_there_is_room(post: Post) -> None:
    ada = post.house.come("ada", kind="human")
    await settled(post)
    ada.say("subscribe", topics=["a.*"])
    ada.client.full()
    post.live("m0")
    post.house.publish(*["a.x"] * 60)
    assert ada.client.connection.backlog.dropped > 0
    await settled(post)
    ada.socket.read()
    ada.client.drained()
    post.house.gateway.beat()

    async def told() -> bool:
        return any(frame.get("message_id") == "m0" for frame in ada.socket.read())

    await eventually_async(told, 5)
    await settled(post)
    await pong(ada)
    await post.until_marked("m0")


async def test_a_connection_that_takes_nothing_is_not_given_all_at_once(post: Post) -> None:
    post.waiting = [kept(f"m{number}") for number in range(10)]
    post.go_on.clear()
    ada = post.house.come("ada")
    ada.client.full()
    post.go_on.set()
    await settled(post)
    assert ada.socket.read() == []
    ada.client.drained()
    assert len(await heard(ada, 10)) == 10


async def test_nothing_is_kept_of_those_who_are_gone(post: Post) -> None:
    post.waiting = [kept("m0")]
    ada = post.house.come("ada")
    assert await heard(ada, 1) == ["m0"]
    ada.client.gone(1000)
    assert (post.mentions._books, post.mentions._by_agent) == ({}, {})
