"""Which events a client asks for, live and of before, and what it is answered."""

import asyncio
from typing import Any

import pytest

from shared.bus.tail import StreamEvent
from tests.unit.ws_gateway.house import House
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def test_a_subscriber_gets_what_comes_and_what_it_asks_for_of_before() -> None:
    house = House()
    house.publish("a.x", "b.x", "a.y")
    visitor = house.come()
    (answer,) = visitor.say("subscribe", topics=["a.*"], message_id="q1")
    assert answer.pop("resume_token")
    assert answer == {
        "type": "subscribed",
        "recovered": False,
        "cursor": 3,
        "topics": ["a.*"],
        "mode": "everything",
        "peripheral_awareness": True,
        "correlation_id": "q1",
    }
    house.publish("a.z", "b.z")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [4]
    answer, *events = visitor.say("subscribe", topics=["b.*"], since=1)
    assert (answer["recovered"], answer["cursor"], answer["topics"]) == (True, 1, ["a.*", "b.*"])
    assert [frame["cursor"] for frame in events] == [2, 5]


async def test_the_last_matching_event_can_be_asked_for() -> None:
    house = House()
    visitor = house.come()
    assert visitor.say("subscribe", topics=["a.*"], since="last")[0]["recovered"] is True
    house.publish("a.x", "b.x", "a.y", "b.y")
    visitor.socket.read()
    _, *events = visitor.say("subscribe", topics=["b.*"], since="last")
    assert [frame["cursor"] for frame in events] == [4]


async def test_topics_are_given_back() -> None:
    house = House()
    visitor = house.come()
    visitor.say("subscribe", topics=["a", "b"])
    assert visitor.say("unsubscribe", topics=["a"])[0]["topics"] == ["b"]
    house.publish("a", "b")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [2]
    assert visitor.say("unsubscribe")[0]["topics"] == []
    house.publish("b")
    assert visitor.socket.read() == []


async def test_an_infodump_gives_the_past_once_and_changes_nothing() -> None:
    house = House()
    house.publish("a", "b", "a")
    visitor = house.come()
    assert visitor.error("infodump") == "invalid"
    answer, *events = visitor.say("infodump", pattern="a")
    assert (answer["type"], answer["topics"]) == ("subscribed", [])
    assert [frame["cursor"] for frame in events] == [1, 3]
    visitor.say("subscribe", topics=["b"])
    _, *events = visitor.say("infodump", since=1)
    assert [frame["cursor"] for frame in events] == [2]
    house.publish("a", "b")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [5]


async def test_an_infodump_of_a_range_gives_all_of_it_whatever_the_mode() -> None:
    house = House(ring=10)
    house.publish(*["a"] * 4, "b")
    visitor = house.come()
    visitor.say("subscribe", topics=["#"], mode="focused", filters={"topics": ["b"]})
    answer, *events = visitor.say("infodump", since=1, until=3)
    assert (answer["mode"], [frame["cursor"] for frame in events]) == ("focused", [2, 3])
    _, *events = visitor.say("infodump", until=2, pattern="a")
    assert [frame["cursor"] for frame in events] == [1, 2]
    _, *events = visitor.say("infodump", since=4, until=10_000)
    assert [frame["cursor"] for frame in events] == [5]
    house.publish("a", "b")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [7]


async def test_an_infodump_says_why_a_range_can_not_be() -> None:
    house = House(ring=2)
    house.publish(*"aaaaa")
    visitor = house.come()
    for said, because in (
        ({"since": 4, "until": 3}, "`until` (3) lies before `since` (4)"),
        ({"until": 2}, "the events in memory begin after 3; say from which cursor on by `since`"),
        ({"since": -2}, '`since` is a cursor, or "last"'),
    ):
        (answer,) = visitor.say("infodump", pattern="a", **said)
        assert (answer["code"], answer["message"]) == ("invalid", because)


async def test_the_last_event_asked_for_is_one_that_may_be_heard() -> None:
    house = House()
    house.publish("sidebar.w.x", "sidebar.w.y")
    house.publish_body("sidebar.w.posted", {"sidebar": {"participants": ["ana"]}})
    house.publish_body("sidebar.w.posted", {"sidebar": {"participants": ["bo"]}})
    _, *events = house.come("ana").say("subscribe", topics=["sidebar.#"], since="last")
    assert [frame["cursor"] for frame in events] == [3]


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({"mode": "focused"}, "needs `filters`"),
        ({"mode": "focused", "filters": {}}, "needs `filters`"),
        ({"mode": "everything", "filters": {"tags": ["x"]}}, "belong to the mode `focused`"),
        ({"mode": "focused", "filters": {"topics": ["a..b"]}}, "in the topics of `filters`: 'a..b' is not a topic"),
        ({"mode": "focused", "filters": {"words": ["w"] * 101}}, "at most 100 words, not 101"),
        ({"mode": "focused", "filters": {"tags": ["t"] * 101}}, "at most 100 tags, not 101"),
        ({"mode": "focused", "filters": {"topics": ["t"] * 101}}, "at most 100 topics, not 101"),
        ({"mode": "focused", "filters": {"words": ["?!"]}}, "no letter and no digit"),
        ({"mode": "focused", "filters": {"words": ["w" * 101]}}, "at most 100 characters"),
        ({"mode": "focused", "filters": {"tags": [" "]}}, "is empty"),
        ({"mode": "quiet"}, "Invalid enum value"),
    ],
)
async def test_a_taste_that_can_not_be_is_refused_saying_why(said: dict[str, Any], because: str) -> None:
    visitor = House().come()
    (answer,) = visitor.say("set_mode", message_id="q", **said)
    assert (answer["type"], answer["code"], answer["correlation_id"]) == ("error", "invalid", "q")
    assert because.lower() in answer["message"].lower()


async def test_a_taste_stays_until_another_is_asked_for() -> None:
    visitor = House().come()
    filters = {"topics": ["a.*"], "tags": ["Queue"], "words": ["Rate  limit"]}
    (answer,) = visitor.say("set_mode", mode="focused", filters=filters, peripheral_awareness=False)
    told = {"topics": ["a.*"], "tags": ["queue"], "words": ["rate limit"]}
    assert (answer["mode"], answer["filters"], answer["peripheral_awareness"]) == ("focused", told, False)
    (answer,) = visitor.say("subscribe", topics=["#"])
    assert (answer["topics"], answer["mode"], answer["filters"]) == (["#"], "focused", told)
    (answer,) = visitor.say("set_mode", mode="focused", peripheral_awareness=True)
    assert (answer["filters"], answer["peripheral_awareness"]) == (told, True)
    (answer,) = visitor.say("unsubscribe")
    assert (answer["topics"], answer["mode"]) == ([], "focused")
    (answer,) = visitor.say("set_mode", mode="everything")
    assert "filters" not in answer
    assert visitor.error("set_mode", mode="focused") == "invalid"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"topics": []},
        {"topics": "a"},
        {"topics": ["a..b"]},
        {"topics": ["a"], "since": "yesterday"},
        {"topics": ["a"], "since": -2},
        {"topics": ["a"], "since": 1.5},
        {"topics": ["a"], "since": True},
        {"topics": ["a"], "sinse": 1},
        {"topics": [f"t{n}" for n in range(101)]},
        {"topics": ["a"], "message_id": ""},
        {"topics": ["a"], "message_id": "x\n"},
    ],
)
async def test_a_wrong_subscribe_is_an_error_and_the_connection_stays(fields: dict[str, Any]) -> None:
    visitor = House().come()
    assert visitor.error("subscribe", **fields) == "invalid"
    assert visitor.socket.closed is None


async def test_no_more_topics_than_a_hundred_in_all() -> None:
    visitor = House().come()
    visitor.say("subscribe", topics=[f"t{n}" for n in range(60)])
    assert visitor.error("subscribe", topics=[f"u{n}" for n in range(60)]) == "invalid"
    assert len(visitor.say("subscribe", topics=[f"t{n}" for n in range(100)])[0]["topics"]) == 100


async def test_a_token_for_certain_topics_allows_no_others() -> None:
    house = House()
    visitor = house.come(topics=["session.s1.#"])
    assert visitor.error("subscribe", topics=["session.#"]) == "forbidden"
    assert visitor.error("subscribe", topics=["session.s1.created", "memory.s1.updated"]) == "forbidden"
    assert visitor.error("infodump", pattern="#") == "forbidden"
    assert visitor.say("subscribe", topics=["session.s1.*"])[0]["type"] == "subscribed"


async def test_a_slow_person_has_fifty_events_waiting_and_an_agent_two_hundred() -> None:
    house = House()
    person, agent = house.come("p", "human"), house.come("a")
    for visitor in (person, agent):
        visitor.say("subscribe", topics=["#"])
        visitor.client.full()
    house.publish(*["a"] * 300)
    for visitor, kept in ((person, 50), (agent, 200)):
        visitor.client.drained()
        told, *events = visitor.socket.read()
        assert (told["type"], told["from"], told["to"]) == ("gap", 1, 300 - kept)
        assert len(events) == kept


# Older events than the ring holds


async def test_what_the_ring_has_lost_comes_from_the_stream_and_live_events_follow() -> None:
    house = House(ring=10)
    house.publish(*["a"] * 100)
    visitor = house.come()
    assert visitor.say("subscribe", topics=["a"], since=5) == []
    house.publish("a")
    answer, *events = await visitor.hear(97)
    assert (answer["type"], answer["recovered"], answer["cursor"]) == ("subscribed", True, 5)
    assert [frame["cursor"] for frame in events] == list(range(6, 102))
    house.publish("a")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [102]


async def test_a_log_that_can_not_be_read_is_an_error_and_what_was_in_force_stays() -> None:
    house = House(ring=10)
    visitor = house.come()
    visitor.say("subscribe", topics=["b"])
    house.publish(*["a"] * 100)
    house.broken = True
    visitor.say("subscribe", topics=["a"], since=5, message_id="q")
    (answer,) = await visitor.hear(1)
    assert (answer["type"], answer["code"], answer["correlation_id"]) == ("error", "unavailable", "q")
    house.publish("a", "b")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [102]


async def test_a_log_that_can_not_be_read_on_ends_the_connection_so_that_it_can_resume() -> None:
    house = House(ring=10)
    house.publish("a", "a")
    visitor = house.come()
    visitor.client.full()
    assert visitor.say("subscribe", topics=["a"], since=0)[0]["type"] == "subscribed"
    house.publish(*["a"] * 100)
    house.broken = True
    visitor.client.drained()

    async def closed() -> bool:
        return visitor.socket.closed is not None

    await eventually_async(closed, 5)
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 1013


async def test_a_cursor_from_the_future_is_waited_for_a_moment() -> None:
    house = House()
    house.publish("a")
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=3)
    house.publish("a", "a", "a")
    answer, *events = await visitor.hear(2)
    assert (answer["recovered"], answer["cursor"]) == (True, 3)
    assert [frame["cursor"] for frame in events] == [4]


async def test_a_cursor_that_does_not_come_is_told_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ws_gateway.history.resume.FUTURE_SECONDS", 0.05)
    house = House()
    house.publish("a", "a")
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=50)
    answer, told = await visitor.hear(2)
    assert (answer["recovered"], answer["cursor"]) == (False, 2)
    assert told == {"type": "gap", "from": 3, "to": 50, "reason": "epoch"}
    house.publish("a")
    assert [frame["cursor"] for frame in visitor.socket.read()] == [3]


async def test_what_another_gateway_has_given_already_is_waited_for_and_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one lags behind: the event is in the log, as the log itself says."""
    monkeypatch.setattr("services.ws_gateway.history.resume.FUTURE_SECONDS", 0.05)
    house = House()
    house.publish("a", "a")
    house.stored += [StreamEvent(offset, "a", b'{"type":"test"}', "") for offset in (2, 3)]
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=3)
    await eventually_async(lambda: asyncio.sleep(0, house.looks), 5)
    assert visitor.socket.read() == []
    house.intake.take(house.stored[2:])
    answer, event = await visitor.hear(2)
    assert (answer["recovered"], answer["cursor"], event["cursor"]) == (True, 3, 4)


async def test_whether_a_cursor_is_from_the_future_is_not_guessed_while_the_log_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.ws_gateway.history.resume.FUTURE_SECONDS", 0.05)
    house = House()
    house.publish("a", "a")
    house.broken = True
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=50)
    (answer,) = await visitor.hear(1)
    assert (answer["type"], answer["code"]) == ("error", "unavailable")
    house.publish("a")
    assert visitor.socket.read() == []


async def test_a_further_subscribe_while_older_events_are_fetched_loses_neither() -> None:
    house = House(ring=10)
    house.publish(*["a", "b", "c"] * 30)
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=0, message_id="q1")
    visitor.say("subscribe", topics=["b"], since=60, message_id="q2")
    visitor.say("subscribe", topics=["c"], message_id="q3")
    house.publish("a", "b", "c")
    frames = await visitor.hear(3 + 31 + 11 + 1)
    assert [frame["correlation_id"] for frame in frames if frame["type"] == "subscribed"] == ["q1", "q2", "q3"]
    cursors = [frame["cursor"] for frame in frames if frame["type"] == "test"]
    expected = [*range(1, 94, 3), *[cursor for cursor in range(2, 94, 3) if cursor > 60], 93]
    assert cursors == sorted(expected)


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind() -> None:
    house = House(ring=10)
    house.publish(*["a"] * 100)
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], since=5)
    visitor.client.gone(1006)
    await asyncio.sleep(0)
    assert (house.gateway.clients, house.hub.directory.groups, house.gateway.places.total) == ([], {}, 0)
    assert visitor.socket.closed is None


async def test_a_client_that_takes_nothing_of_what_it_asked_for_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ws_gateway.history.resume.STALLED_SECONDS", 0.02)
    house = House(ring=10)
    house.publish(*["a"] * 100)
    visitor = house.come()
    visitor.client.full()
    visitor.say("subscribe", topics=["a"], since=5)

    async def closed() -> bool:
        return visitor.socket.closed is not None

    await eventually_async(closed, 5)
    assert visitor.socket.closed == (4000, "too slow; resume from cursor")
    visitor.client.gone(1006)
    await eventually_async(lambda: asyncio.sleep(0, house.gateway.library.deep._value == 32), 5)
