"""The promise of the whole: in whatever order things happen, what is wanted comes once or its loss is told; and nobody
hears what is not meant for it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from services.ws_gateway.fanout import backlog as backlog_module
from services.ws_gateway.fanout import hub as hub_module
from services.ws_gateway.fanout.filters import FocusFilter
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.fanout.interest import Interest, may_hear
from services.ws_gateway.history import replay as replay_module
from services.ws_gateway.history.replay import Claim, Page, Replay, State
from services.ws_gateway.stream.frames import CRITICAL, Frame, event_frame
from services.ws_gateway.stream.ring import Ring
from tests.examples import examples
from tests.unit.ws_gateway.wire import Wire

PATTERNS = ["#", "a.*", "*.x", "b.x", "sidebar.#"]
TASTES = [
    Interest(),
    Interest(mode="focused", focus=FocusFilter(topics=frozenset({"*.y"}), tags=frozenset({"red"}))),
    Interest(mode="focused", focus=FocusFilter(words=frozenset({"door"})), peripheral_awareness=False),
    Interest(mode="relevant"),
    Interest(mode="everything", peripheral_awareness=False),
]
# Who reads: two of an agent, another agent, an admin.
AGENTS = ["ana", "ana", "bo", "root"]
# What a socket takes before it is full: everything, one write, or a few events.
ROOMS = st.sampled_from([None, 1, 1, 500])
RING = 6
PAGE = 4


def plain(topic: str, priority: str, session_id: str, sender: str, tag: str, word: str) -> tuple[str, dict[str, Any]]:
    body = {"type": "test", "priority": priority, "session_id": session_id, "sender_agent_id": sender}
    return topic, {**body, "exchange": {"tags": [tag], "content": f"a {word}"}}


def created(session_id: str, participants: list[str]) -> tuple[str, dict[str, Any]]:
    body = {"type": "session_created", "session_id": session_id, "session": {"participants": participants}}
    return f"session.{session_id}.created", body


def of_sidebar(participants: list[str], priority: str) -> tuple[str, dict[str, Any]]:
    sidebar = {"sidebar_id": "w", "participants": participants}
    return "sidebar.w.x", {"type": "sidebar_exchange", "priority": priority, "sidebar_id": "w", "sidebar": sidebar}


def mention(agent_id: str, participants: list[str] | None, priority: str) -> tuple[str, dict[str, Any]]:
    body = {"type": "mention_route", "priority": priority, "agent_id": agent_id, "target_agents": [agent_id]}
    return "a.x", {**body, "participants": participants}


PRIORITIES = st.sampled_from(["critical", "normal", "background"])
NAMES = st.sampled_from(["ana", "bo", "zed"])
SOME = st.lists(NAMES, max_size=2, unique=True)
SESSIONS = st.sampled_from(["s1", "s2"])
EVENTS = st.tuples(
    st.one_of(
        st.builds(
            plain, st.sampled_from(["a.x", "a.y", "b.x"]), PRIORITIES, SESSIONS, NAMES,
            st.sampled_from(["red", "blue"]), st.sampled_from(["door", "doors"]),
        ),
        st.builds(created, SESSIONS, SOME),
        st.builds(of_sidebar, SOME, PRIORITIES),
        st.builds(mention, NAMES, st.none() | SOME, PRIORITIES),
        st.just(("system.critical_failure", {"type": "critical_failure_broadcast", "priority": "critical"})),
        st.just(("system.security_alert", {"type": "security_alert"})),
    ),
    st.integers(1, 3),
)  # fmt: skip


@dataclass
class Logged:
    """An event, and whom it concerned when it happened, by name."""

    frame: Frame
    concerned: set[str]


class Reader:
    """A client: keeps what it got, and resumes after `since` where an event overtook others, else after `cursor`."""

    def __init__(self, hub: Hub, agent_id: str, interest: Interest, since: int) -> None:
        self.agent_id = agent_id
        self.is_admin = agent_id == "root"
        self.interest = interest
        # The tastes it had, each with the cursor of the hub when it took it.
        self.tastes = [(-1, interest)]
        self.since = self.up_to = since
        self.cursors: set[int] = set()
        self.gaps: list[tuple[int, int]] = []
        self.wire = Wire(hub)
        self.replay: Replay | None = None
        # On this connection: what came, the last that came in its place, and what was pushed to it.
        self.here: set[int] = set()
        self.last = -1
        self.pushed: set[int] = set()

    def take(self, most: int | None = None) -> None:
        """Read what was written, as the client would; only the first frames, when the connection broke behind them."""
        frames: list[Any] = self.wire.frames()
        self.wire.written = b""
        for frame in frames[:most]:
            if frame["type"] == "gap":
                self.gaps.append((frame["from"], frame["to"]))
                continue
            cursor = frame["cursor"]
            assert cursor not in self.here, "it came twice"
            self.here.add(cursor)
            self.cursors.add(cursor)
            if "since" not in frame:
                assert cursor > self.last, "out of its place"
                self.last = cursor
            self.up_to = frame.get("since", cursor)

    def was_told_of(self, cursor: int) -> bool:
        return cursor in self.cursors or any(first <= cursor <= last for first, last in self.gaps)


class AnyOrder(RuleBasedStateMachine):
    """Publishing, reading, stalling, breaking, resuming and changing one's mind, in any order."""

    def __init__(self) -> None:
        super().__init__()
        # Small writes, so that sockets fill in the middle of everything.
        self.patches = pytest.MonkeyPatch()
        for module, name in (
            (replay_module, "JOIN_BYTES"),
            (hub_module, "JOIN_BYTES"),
            (backlog_module, "DRAIN_BYTES"),
        ):
            self.patches.setattr(module, name, 300)
        self.hub = Hub(Ring(RING, 10**6))
        self.log: list[Logged] = []
        self.readers: list[Reader] = []
        # Where agents take part, as the worker would say.
        self.sessions: dict[str, set[str]] = {"s1": set(), "s2": set()}
        self.sidebar: set[str] = set()

    @initialize(
        before=st.lists(EVENTS, max_size=12),
        asked=st.lists(
            st.tuples(st.sampled_from(PATTERNS), st.sampled_from(TASTES), st.integers(0, 20), ROOMS),
            min_size=len(AGENTS), max_size=len(AGENTS),
        ),
    )  # fmt: skip
    def begin(self, before: list[Any], asked: list[tuple[str, Interest, int, int | None]]) -> None:
        if before:
            self.publish(before)
        for agent_id, (pattern, taste, back, room) in zip(AGENTS, asked, strict=True):
            interest = taste.of(frozenset({pattern}))
            self.readers.append(Reader(self.hub, agent_id, interest, max(-1, self.hub.cursor - back)))
            self.connect(self.readers[-1], room)

    @rule(events=st.lists(EVENTS, min_size=1, max_size=4))
    def publish(self, events: list[tuple[tuple[str, dict[str, Any]], int]]) -> None:
        cursor = self.hub.cursor
        logged = []
        for (topic, body), step in events:
            cursor += step
            frame = event_frame(cursor, topic, json.dumps({"message_id": f"m{cursor}", **body}).encode())
            logged.append(Logged(frame, self.note(body)))
        for reader in self.readers:
            if not reader.wire.closed:
                frames = [each.frame for each in logged]
                reader.pushed |= {f.cursor for f in frames if f.to_all or reader.agent_id in f.to_agents}
        self.log += logged
        self.hub.publish([each.frame for each in logged])

    def note(self, body: dict[str, Any]) -> set[str]:
        """Whom an event concerns, by what happened until now and by its own word."""
        concerned = set()
        if session_id := body.get("session_id"):
            self.sessions[session_id] |= {body.get("sender_agent_id"), *body.get("session", {}).get("participants", [])}
            concerned |= self.sessions[session_id]
        if "sidebar" in body:
            self.sidebar |= {*body["sidebar"]["participants"]}
            concerned |= self.sidebar
        return concerned | {*body.get("target_agents", ()), *(body.get("participants") or ())}

    def connect(self, reader: Reader, room: int | None) -> None:
        """Come (back) and ask for everything from where the reader is."""
        self.hub.forget(reader.wire.connection)
        reader.wire = Wire(self.hub, room, max_waiting=3)
        reader.here, reader.last, reader.pushed = set(), -1, set()
        self.hub.seat(reader.wire.connection, reader.agent_id, is_admin=reader.is_admin)
        self.replay(reader, [Claim(reader.interest, reader.up_to)])

    def replay(self, reader: Reader, claims: list[Claim]) -> None:
        self.hub.detach(reader.wire.connection)
        follows = any(claim.interest.is_own for claim in claims)
        self.hub.follow(reader.wire.connection, follows=follows)
        if follows and not self.hub.relevance.knows(reader.agent_id):
            sessions = [name for name, agents in self.sessions.items() if reader.agent_id in agents]
            sidebars = ["w"] if reader.agent_id in self.sidebar else []
            self.hub.relevance.merge(reader.agent_id, sessions, sidebars)
        reader.replay = Replay(self.hub, reader.wire.connection, claims)
        self.step(reader)

    def step(self, reader: Reader) -> None:
        if reader.replay and reader.replay.step() is State.LIVE:
            reader.replay = None

    @rule(number=st.integers(0, len(AGENTS) - 1))
    def go_on(self, number: int) -> None:
        """A replay gets its turn, or the page it waits for."""
        reader = self.readers[number]
        replay = reader.replay
        if replay and replay.step() is State.PAGE:
            until = min(replay.position + PAGE, self.hub.ring.floor)
            frames = [each.frame for each in self.log]
            replay.feed(Page([frame for frame in frames if replay.position < frame.cursor <= until], until))
        self.step(reader)

    @rule(number=st.integers(0, len(AGENTS) - 1), room=ROOMS)
    def read(self, number: int, room: int | None) -> None:
        """The client reads all there is, so its socket has room again."""
        reader = self.readers[number]
        reader.take()
        reader.wire.drain(room)
        self.step(reader)

    @rule(number=st.integers(0, len(AGENTS) - 1), seen=st.integers(0, 3), room=ROOMS)
    def break_and_resume(self, number: int, seen: int, room: int | None) -> None:
        """The connection is lost just when the client has begun to read again, with some of what was on its way."""
        reader = self.readers[number]
        if reader.wire.connection.paused:
            reader.take()
            reader.wire.drain(None)
        reader.take(seen)
        self.connect(reader, room)

    @rule(number=st.integers(0, len(AGENTS) - 1), taste=st.none() | st.sampled_from(TASTES))
    def ask_again(self, number: int, taste: Interest | None) -> None:
        """What is in force is put in force anew, as by any further subscribe; perhaps in another mode."""
        reader = self.readers[number]
        if reader.wire.closed:
            return
        if taste is not None:
            reader.interest = taste.of(reader.interest.topics)
            reader.tastes.append((self.hub.cursor, reader.interest))
        claims = reader.replay.open_claims() if reader.replay else [Claim(reader.interest, self.hub.cursor)]
        self.replay(reader, [Claim(reader.interest, claim.after) for claim in claims])

    def teardown(self) -> None:
        self.patches.undo()
        for number, reader in enumerate(self.readers):
            for _ in range(200):
                if reader.wire.closed:
                    self.break_and_resume(number, 10**6, None)
                self.read(number, None)
                self.go_on(number)
            reader.take()
            assert reader.replay is None
            self.check(reader)
            self.hub.forget(reader.wire.connection)
        self.hub.directory.sweep()
        assert (self.hub.slow, self.hub.directory.groups, self.hub.directory.tree._root.children) == (0, {}, {})
        assert (self.hub.by_agent, self.hub.admins, self.hub.given, self.hub.relevance.unknown) == ({}, {}, {}, [])

    def check(self, reader: Reader) -> None:
        for each in self.log:
            frame, cursor = each.frame, each.frame.cursor
            mine = frame.to_all or reader.agent_id in frame.to_agents
            hears = may_hear(frame, reader.agent_id, reader.is_admin)
            matches = cursor > reader.since and hears and reader.interest.matches(frame.routing_key)
            # Later tastes count too, since it may have been given late.
            tastes = [reader.tastes[0][1]]
            for taken_at, taste in reader.tastes:
                tastes = [taste] if taken_at < cursor else [*tastes, taste]
            if cursor in reader.cursors:
                assert mine or matches, "nobody asked for it, or it was not meant for it"
                assert mine or any(self.admits(taste, reader, frame, self.later(each)) for taste in tastes)
            elif matches and all(self.admits(taste, reader, frame, each.concerned) for taste in tastes):
                assert reader.was_told_of(cursor), f"{cursor} is missing, and was not told"
                assert frame.rank != CRITICAL, "a critical event was dropped"
        for cursor in reader.pushed:
            assert reader.was_told_of(cursor), f"{cursor} was pushed and did not come"

    def later(self, each: Logged) -> set[str]:
        """Whom an event concerns in the end: an agent may have come to its session since."""
        about = each.frame.about
        in_session = self.sessions.get(about.session_id, set())
        return each.concerned | in_session | (self.sidebar if about.sidebar_id else set())

    def admits(self, taste: Interest, reader: Reader, frame: Frame, concerned: set[str]) -> bool:
        if taste.is_focused:
            return taste.focus.admits(frame)
        return not taste.is_own or frame.rank == CRITICAL or reader.agent_id in concerned


AnyOrder.TestCase.settings = settings(max_examples=examples(50), stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
