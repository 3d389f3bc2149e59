"""Learning from the worker where agents take part, so that nothing relevant is missed meanwhile."""

import asyncio
import json
from typing import Any

import pytest

from services.ws_gateway.fanout import contexts as contexts_module
from tests.unit.ws_gateway.house import House, Visitor
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


class Worker:
    """Answers where agents take part, once it may."""

    def __init__(self, house: House, **sessions: list[str]) -> None:
        self.sessions = sessions
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.answer: bytes | None = None
        house.gateway.library.contexts._query = self.query

    async def query(self, name: str, data: dict[str, Any]) -> bytes:
        self.asked.append(data["agent_ids"])
        await self.may_answer.wait()
        if self.answer is not None:
            return self.answer
        contexts = [
            {"agent_id": agent, "sessions": self.sessions[agent], "sidebars": []}
            for agent in data["agent_ids"]
            if agent in self.sessions
        ]
        return json.dumps({"contexts": contexts}).encode()

    async def is_asked(self, times: int) -> None:
        async def asked() -> bool:
            return len(self.asked) >= times

        await eventually_async(asked, 5, because=f"{times} questions")


def publish(house: House, *session_ids: str) -> None:
    """An event of each session, by somebody else."""
    for session_id in session_ids:
        house.publish_body(f"session.{session_id}.chunk", {"session_id": session_id, "sender_agent_id": "zed"})


def events(frames: list[Any]) -> list[int]:
    return [frame["cursor"] for frame in frames if frame["type"] == "test"]


def relevant(house: House, agent_id: str) -> Visitor:
    visitor = house.come(agent_id)
    assert visitor.say("subscribe", topics=["#"], mode="relevant") == []
    return visitor


async def test_what_is_relevant_by_the_answer_is_not_missed_while_it_is_awaited() -> None:
    house = House()
    worker = Worker(house, ana=["s1"], bo=["s2"])
    ana, bo = relevant(house, "ana"), relevant(house, "bo")
    await worker.is_asked(1)
    publish(house, "s1", "s2", "s3")
    worker.may_answer.set()
    for visitor, cursor in ((ana, 1), (bo, 2)):
        heard = await visitor.hear(2)
        assert (heard[0]["type"], heard[0]["mode"], heard[0]["cursor"]) == ("subscribed", "relevant", 0)
        assert events(heard) == [cursor]
    publish(house, "s1", "s3")
    assert events(ana.socket.read()) == [4]
    assert worker.asked == [["ana", "bo"]]


async def test_who_comes_back_is_known_still() -> None:
    house = House()
    worker = Worker(house, ana=["s1"])
    worker.may_answer.set()
    first = relevant(house, "ana")
    await first.hear(1)
    first.client.gone(1006)
    publish(house, "s1", "s2")
    again = house.come("ana")
    answer, event = again.say("subscribe", topics=["#"], mode="relevant", since=0)
    assert (answer["recovered"], event["cursor"], len(worker.asked)) == (True, 1, 1)


async def test_older_events_are_judged_by_what_later_ones_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts_module, "STRIDE", 2)
    house = House()
    worker = Worker(house)
    worker.may_answer.set()
    publish(house, "s1", "s2", "s1")
    house.publish_body("session.s1.note", {"session_id": "s1", "sender_agent_id": "ana"})
    visitor = house.come("ana")
    visitor.say("subscribe", topics=["#"], mode="relevant", since=0)
    assert events(await visitor.hear(4)) == [1, 3, 4]


async def test_with_the_worker_away_the_former_subscription_stays() -> None:
    house = House()
    visitor = house.come("ana")
    visitor.say("subscribe", topics=["session.s1.#"])
    visitor.say("set_mode", mode="relevant", message_id="q")
    publish(house, "s1")
    heard = await visitor.hear(2)
    assert [(frame["type"], frame.get("code")) for frame in heard] == [("error", "unavailable"), ("test", None)]
    assert heard[0]["correlation_id"] == "q"
    assert not house.hub.relevance.listens
    (answer,) = visitor.say("subscribe", topics=["a"])
    assert (answer["mode"], answer["topics"]) == ("everything", ["a", "session.s1.#"])


async def test_an_answer_that_can_not_be_read_is_as_none_and_nobody_waits_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contexts_module, "AGENTS_AT_ONCE", 1)
    house = House()
    worker = Worker(house)
    worker.answer = b'{"contexts": 5}'
    visitors = [relevant(house, agent) for agent in ("ana", "bo", "cy")]
    await worker.is_asked(1)
    worker.may_answer.set()
    for visitor in visitors:
        (answer,) = await visitor.hear(1)
        assert (answer["type"], answer["code"]) == ("error", "unavailable")
    assert worker.asked == [["ana"]]


async def test_after_events_were_missed_it_is_asked_again() -> None:
    house = House()
    worker = Worker(house, ana=["s1"])
    worker.may_answer.set()
    visitor = relevant(house, "ana")
    await visitor.hear(1)
    house.intake.restart(100)
    assert house.hub.relevance.unknown == ["ana"]
    house.gateway.library.contexts.refresh()
    await worker.is_asked(2)

    async def is_known() -> bool:
        return not house.hub.relevance.unknown

    await eventually_async(is_known, 5, because="the second answer")
