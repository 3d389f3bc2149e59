"""Resume tokens: what they hold, who may use them, and what is told of those that are not honoured."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.door import resumption
from services.ws_gateway.door.access import Identity
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.door.resumption import Seal, Wants, WrongToken
from shared.errors import Rejected, Unavailable
from shared.messages.live import SecurityAlert
from tests.unit.ws_gateway.house import SECRET, House, Visitor, token
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio

ANA = Identity("ana", "agent", "active", 9e9)
RESUME = {"act": "resume", "agent": "ana"}
WANTS = Wants(topics=["a.#"], mode="focused", taste={"filters": {"words": ["clock"]}})


def wrong(text: str, identity: Identity = ANA, secret: str = SECRET) -> str:
    with pytest.raises(WrongToken) as refused:
        Seal(secret).open(text, identity)
    return refused.value.wrong


def test_a_token_holds_whose_it_is_and_what_was_subscribed_to() -> None:
    seal = Seal(SECRET)
    made = [seal.token(ANA, "c1", WANTS) for _ in range(2)]
    assert made[0] != made[1]
    opened = Seal(SECRET).open(made[0], ANA)
    assert (opened.agent_id, opened.kind, opened.connection_id, opened.wants) == ("ana", "agent", "c1", WANTS)
    assert abs(opened.issued - time.time()) < 5


TEXT = Seal(SECRET).token(ANA, "c1", WANTS)


@given(st.integers(0, len(TEXT) - 1), st.characters(max_codepoint=0x2FF))
def test_a_token_with_any_byte_changed_is_refused(at: int, put: str) -> None:
    if put != TEXT[at]:
        assert wrong(TEXT[:at] + put + TEXT[at + 1 :]) == "altered"


def test_no_letter_of_a_token_may_be_another() -> None:
    for at, letter in enumerate(TEXT):
        for put in "A_z=." if letter not in "A_z=." else "Q":
            assert wrong(TEXT[:at] + put + TEXT[at + 1 :]) == "altered"


@given(st.text(max_size=400))
def test_no_other_text_is_a_token(text: str) -> None:
    assert wrong(text) == "altered"


@given(st.integers(1, 200), st.sampled_from(["", "=", ".", "A", "\n", " "]))
def test_a_token_cut_short_or_with_something_behind_is_refused(cut: int, more: str) -> None:
    if TEXT[:-cut] + more != TEXT:
        assert wrong(TEXT[:-cut] + more) == "altered"
    if more:
        assert wrong(TEXT + more) == "altered"
        assert wrong(more + TEXT) == "altered"


def test_a_token_of_another_secret_agent_kind_or_week_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Seal(SECRET).token(ANA, "c1", WANTS)
    assert wrong(text, secret="x" * 32) == "altered"
    assert wrong(text, Identity("eve", "agent", "active", 9e9)) == "foreign"
    assert wrong(text, Identity("ana", "human", "active", 9e9)) == "foreign"
    issued = time.time()
    monkeypatch.setattr(resumption.time, "time", lambda: issued + 7 * 24 * 3600 + 1)
    assert wrong(text) == "expired"


def test_a_token_stays_below_a_frames_limit() -> None:
    many = Wants(topics=[f"session.{number:0250x}.#" for number in range(100)], mode="relevant")
    text = Seal(SECRET).token(ANA, "c1", many)
    assert len(text) < 10_000
    assert Seal(SECRET).open(text, ANA).wants == many
    # What can't be made short goes on without its topics.
    noise = random.Random(1)
    huge = Wants(taste={"filters": {"words": ["".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(40_000))]}})
    text = Seal(SECRET).token(ANA, "c1", huge)
    assert len(text) < 400
    assert Seal(SECRET).open(text, ANA).wants == Wants()


class Worker:
    """Notes which connections were resumed, as the session worker does."""

    def __init__(self) -> None:
        self.used: dict[str, tuple[str, str]] = {}
        self.fault: Exception | None = None
        # When it has time for it.
        self.until: asyncio.Event | None = None
        self.told: list[SecurityAlert] = []
        self.acts: list[dict[str, Any]] = []

    async def use(self, connection_id: str, agent_id: str, resumed_as: str, message_id: str) -> None:
        if self.fault:
            raise self.fault
        if self.until:
            await self.until.wait()
        if self.used.setdefault(connection_id, (agent_id, message_id)) != (agent_id, message_id):
            raise Rejected("conflict", "it was resumed before")


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def house(worker: Worker) -> House:
    doors = Doors(SECRET, use_resume_token=worker.use)
    doors.audit.note = lambda act, who, target, outcome="ok": worker.acts.append(  # type: ignore[method-assign]
        {"act": act, "agent": who and who.agent_id, "target": target, "outcome": outcome}
    )
    return House(doors=doors)


def alerts(house: House) -> list[SecurityAlert]:
    return list(house.gateway.doors.alerts.posting.waiting)


async def leave(visitor: Visitor) -> str:
    """Subscribes to `a.*`, and is gone; its resume token."""
    (answer,) = visitor.say("subscribe", topics=["a.*"])
    visitor.client.gone(1006)
    return str(answer["resume_token"])


async def ask(visitor: Visitor, kind: str, **fields: Any) -> dict[str, Any]:
    visitor.say(kind, **fields)
    while True:
        for frame in await visitor.hear(1):
            if frame["type"] in ("subscribed", "error", "connected"):
                return dict(frame)


async def test_a_new_connection_goes_on_where_the_old_one_was(house: House, worker: Worker) -> None:
    old = house.come()
    text = await leave(old)
    since = house.hub.cursor
    house.publish("a.x", "b.x", "a.y")
    new = house.come()
    new.say("resume", resume_token=text, since=since, message_id="q1")
    answer, *events = await new.hear(3)
    assert (answer["type"], answer["resumed"], answer["topics"]) == ("subscribed", old.client.id, ["a.*"])
    assert (answer["recovered"], answer["cursor"], answer["correlation_id"]) == (True, since, "q1")
    assert [event["cursor"] for event in events] == [since + 1, since + 3]
    assert answer["resume_token"] != text
    assert worker.used.keys() == {old.client.id}
    assert {**RESUME, "target": old.client.id, "outcome": "ok"} in worker.acts
    house.publish("a.z")
    assert [event["cursor"] for event in await new.hear(1)] == [since + 4]
    (again,) = new.say("subscribe", topics=["c"])
    assert "resumed" not in again
    assert again["topics"] == ["a.*", "c"]


async def test_the_token_in_force_holds_what_is_subscribed_to_then(house: House) -> None:
    old = house.come()
    old.say("subscribe", topics=["a.*", "b.*"])
    (answer,) = old.say("unsubscribe", topics=["a.*"])
    old.client.gone(1006)
    new = house.come()
    answer = await ask(new, "resume", resume_token=answer["resume_token"])
    assert (answer["topics"], answer["recovered"]) == (["b.*"], False)


async def test_subscribing_with_a_token_adds_what_the_old_connection_had(house: House) -> None:
    text = await leave(house.come())
    new = house.come()
    answer = await ask(new, "subscribe", topics=["b.*"], resume_token=text, since=house.hub.cursor)
    assert (answer["topics"], answer["recovered"]) == (["a.*", "b.*"], True)
    assert "resumed" in answer


async def test_the_mode_and_its_filters_go_on_too(house: House) -> None:
    old = house.come()
    old.say("subscribe", topics=["a.*"], mode="focused", filters={"words": ["clock"]}, peripheral_awareness=False)
    (answer,) = old.say("subscribe", topics=["b.*"])
    old.client.gone(1006)
    new = house.come()
    answer = await ask(new, "resume", resume_token=answer["resume_token"])
    assert (answer["topics"], answer["mode"], answer["peripheral_awareness"]) == (["a.*", "b.*"], "focused", False)
    assert answer["filters"]["words"] == ["clock"]
    new.client.gone(1006)
    third = house.come()
    everything = {"mode": "everything", "peripheral_awareness": True}
    answer = await ask(third, "subscribe", topics=["c"], resume_token=answer["resume_token"], **everything)
    assert (answer["topics"], answer["mode"]) == (["a.*", "b.*", "c"], "everything")
    third.client.gone(1006)
    fourth = house.come()
    assert (await ask(fourth, "resume", resume_token=answer["resume_token"]))["mode"] == "everything"


async def test_the_first_token_of_a_connection_resumes_nothing_but_the_seat(house: House) -> None:
    old = house.enter(token())
    (hello,) = old.socket.read()
    old.client.gone(1006)
    answer = await ask(house.come(), "resume", resume_token=hello["resume_token"])
    assert (answer["topics"], answer["resumed"]) == ([], old.client.id)


async def test_a_token_is_good_once_and_its_reuse_is_told(house: House, worker: Worker) -> None:
    old = house.come()
    (first,) = old.say("subscribe", topics=["a.*"])
    (second,) = old.say("subscribe", topics=["b.*"])
    old.client.gone(1006)
    new = house.come()
    await ask(new, "resume", resume_token=second["resume_token"])
    # A second time on the same connection is the same use; whoever else comes with any of its tokens is refused.
    assert (await ask(new, "resume", resume_token=second["resume_token"]))["type"] == "subscribed"
    new.client.gone(1006)
    thief = house.come()
    for answer in (first, second):
        refused = await ask(thief, "resume", resume_token=answer["resume_token"], message_id="q1")
        assert (refused["code"], refused["correlation_id"]) == ("forbidden", "q1")
        thief.client.answers.forget("q1")
    assert thief.socket.closed is None
    told = alerts(house)
    assert [(alert.what, alert.agent_id, alert.connection_id, alert.address) for alert in told] == [
        ("resume_token_reused", "ana", old.client.id, "1.2.3.4")
    ] * 2
    assert {**RESUME, "target": old.client.id, "outcome": "forbidden: reused"} in worker.acts


@pytest.mark.parametrize(
    ("what", "spoil"),
    [("altered", lambda text: text[:-1] + ("A" if text[-1] != "A" else "B")), ("altered", lambda text: "nonsense")],
    ids=["one letter", "nonsense"],
)
async def test_an_altered_token_is_refused_and_told(house: House, what: str, spoil: Callable[[str], str]) -> None:
    text = await leave(house.come())
    new = house.come()
    for frame in ({"type": "resume"}, {"type": "subscribe", "topics": ["a"]}):
        assert new.error(frame.pop("type"), resume_token=spoil(text), **frame) == "forbidden"  # type: ignore[arg-type]
    assert [alert.what for alert in alerts(house)] == [f"resume_token_{what}"] * 2
    assert new.socket.closed is None


async def test_another_agents_token_is_refused_and_told(house: House) -> None:
    old = house.come("ana")
    text = await leave(old)
    thief = house.come("eve")
    assert thief.error("resume", resume_token=text) == "forbidden"
    (alert,) = alerts(house)
    assert (alert.what, alert.agent_id, alert.connection_id) == ("resume_token_foreign", "eve", old.client.id)


async def test_a_connections_own_token_is_a_conflict_and_no_alarm(house: House) -> None:
    visitor = house.come()
    (answer,) = visitor.say("subscribe", topics=["a"])
    assert visitor.error("resume", resume_token=answer["resume_token"]) == "conflict"
    assert alerts(house) == []


@pytest.mark.parametrize(
    "fault", [Unavailable("the broker is away"), TimeoutError(), Rejected("internal", "no database")], ids=repr
)
async def test_when_nobody_can_say_whether_it_was_used_the_client_is_told_to_subscribe(
    house: House, worker: Worker, fault: Exception
) -> None:
    text = await leave(house.come())
    new = house.come()
    worker.fault = fault
    refused = await ask(new, "resume", resume_token=text, message_id="q1")
    assert refused["code"] == "unavailable"
    assert "`since`" in refused["message"]
    assert alerts(house) == []
    worker.fault = None
    assert (await ask(new, "resume", resume_token=text, message_id="q1"))["type"] == "subscribed"


async def test_what_the_new_token_does_not_allow_is_not_restored(house: House) -> None:
    text = await leave(house.come())
    narrow = house.come(topics=["b.#"])
    assert (await ask(narrow, "resume", resume_token=text))["code"] == "forbidden"


async def test_authenticating_with_a_resume_token_takes_over_the_seat(house: House) -> None:
    old = house.come()
    (answer,) = old.say("subscribe", topics=["a.*"])
    house.publish("a.x")
    new = house.enter()
    since = house.hub.cursor - 1
    new.say("authenticate", token=token(), resume_token=answer["resume_token"])
    # Said before it is let in: kept until then.
    new.say("resume", resume_token=answer["resume_token"], since=since)
    hello, resumed, event = await new.hear(3)
    assert (hello["type"], resumed["type"], event["cursor"]) == ("connected", "subscribed", since + 1)
    assert resumed["resumed"] == old.client.id
    assert old.socket.closed == (4409, "resumed elsewhere")
    assert new.client.takes_over == old.client.id
    old.client.gone(1006)
    # The seat is taken once, and free again when the new one is gone.
    assert house.enter(token()).socket.closed is not None
    new.client.gone(1000)
    house.come()


async def test_authenticating_with_a_bad_resume_token_is_authenticating_without(house: House, worker: Worker) -> None:
    old = house.come()
    (answer,) = old.say("subscribe", topics=["a.*"])
    late = house.enter()
    late.say("authenticate", token=token(), resume_token="nonsense")
    assert late.socket.closed is not None
    assert late.socket.closed[0] == 4409
    old.client.gone(1006)
    worker.fault = Unavailable("the broker is away")
    new = house.enter()
    new.say("authenticate", token=token(), resume_token=answer["resume_token"])
    hello, refused = await new.hear(2)
    assert (hello["type"], refused["code"]) == ("connected", "unavailable")


async def test_a_connection_elsewhere_is_named_to_whoever_can_close_it(house: House) -> None:
    other = House(doors=Doors(SECRET))
    elsewhere = other.come()
    (answer,) = elsewhere.say("subscribe", topics=["a.*"])
    told: list[tuple[str, str]] = []
    house.gateway.on_took_over.append(lambda client, connection_id: told.append((client.id, connection_id)))
    new = house.come()
    await ask(new, "resume", resume_token=answer["resume_token"])
    assert told == [(new.client.id, elsewhere.client.id)]


async def test_too_much_said_before_being_let_in_ends_the_connection(house: House) -> None:
    old = house.come()
    (answer,) = old.say("subscribe", topics=["a.*"])
    new = house.enter()
    new.say("authenticate", token=token(), resume_token=answer["resume_token"])
    for _ in range(5):
        new.client.answers.said(b"x" * 60_000)
    assert new.socket.closed is not None
    assert new.socket.closed[0] == 4401


@pytest.mark.parametrize("fields", [{}, {"topics": ["b"]}], ids=["resume", "subscribe"])
async def test_a_connection_that_is_being_closed_goes_on_with_nothing(
    house: House, worker: Worker, fields: dict[str, Any]
) -> None:
    text = await leave(house.come())
    visitor, noted = house.come(), asyncio.Event()
    worker.until = noted
    visitor.say("subscribe" if fields else "resume", resume_token=text, **fields)
    await asyncio.sleep(0)
    visitor.client.close(4429, "flooding")
    written: list[bytes] = []
    visitor.client.connection.write = written.append
    noted.set()
    await eventually_async(lambda: _is(worker.used), because="the token is used")
    await asyncio.sleep(0)
    visitor.client.gone(1006)
    assert (written, house.hub.directory.groups, house.hub.by_agent) == ([], {}, {})


async def _is(what: object) -> bool:
    return bool(what)


async def test_who_was_turned_away_is_not_heard_any_more(house: House, worker: Worker) -> None:
    text = await leave(house.come())
    sitting = house.come()
    visitor = house.enter()
    visitor.say("authenticate", token=token(), resume_token=text)
    visitor.say("authenticate", token=token(permission="observer"))
    await eventually_async(lambda: _is(visitor.socket.closed), because="the seat is taken")
    visitor.client.gone(4409)
    sitting.client.gone(1000)
    assert (house.hub.by_agent, house.gateway.places.total) == ({}, 0)
