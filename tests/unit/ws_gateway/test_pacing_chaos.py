"""Publishing, slow reading, wishes, warm-ups, disconnects and resumes in any order: nothing is missed in silence."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ws_gateway.pace.pacer import CRITICAL_ONLY, FULL_DELAYED, SUMMARIES
from tests.examples import examples
from tests.unit.ws_gateway.test_pacing import Lodge

PREFERENCES = [SUMMARIES, FULL_DELAYED, CRITICAL_ONLY]
KINDS = {
    "memory_update": "memory.s1.updated", "agent_presence": "agent.ben.presence", "task_created": "task.s1.created",
    "note": "session.s1.note",
}  # fmt: skip
EVENTS = st.tuples(st.sampled_from(list(KINDS)), st.sampled_from(["critical", "normal", "normal", "low"]))
PUBLISH = st.tuples(st.just("publish"), st.lists(EVENTS, min_size=1, max_size=6))
STEPS = st.one_of(
    PUBLISH,
    PUBLISH,
    st.sampled_from(
        [
            ("ask",), ("ask",), ("come back",), ("full",), ("drain",), ("turn slow",), ("warm up",), ("wait", 1),
            ("wait", 6), ("wait", 30), *(("wish", preference) for preference in PREFERENCES),
        ]
    ),
)  # fmt: skip


class Follower:
    """A client that keeps to what the documents say: it resumes from `since` if there is one, else from the cursor."""

    def __init__(self) -> None:
        self.house = Lodge()
        self.position = 0
        self.told: set[int] = set()
        self.visitor = self.house.come()
        self.full = False
        self.taste: dict[str, Any] = {}

    async def subscribe(self, **more: Any) -> None:
        self.visitor.client.answers.said(self._frame(topics=["#"], **self.taste, **more))
        await self.listen()

    @staticmethod
    def _frame(**fields: Any) -> bytes:
        return json.dumps({"type": "subscribe", **fields}).encode()

    async def listen(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        for frame in self.visitor.socket.read():
            if frame["type"] in ("gap", "summary"):
                self.told |= set(range(frame["from"], frame["to"] + 1))
            elif "message_id" in frame:
                self.told.add(frame["cursor"])
                if merged := frame.get("coalesced"):
                    self.told |= set(range(merged["from"], merged["to"] + 1))
                self.position = frame.get("since", frame["cursor"])
        assert set(range(1, self.position + 1)) <= self.told

    async def step(self, kind: str, *values: Any) -> None:
        client = self.visitor.client
        if kind == "publish":
            for event, priority in values[0]:
                self.publish(event, priority)
        elif kind == "wait":
            self.house.wait(values[0])
        elif kind == "wish":
            self.taste["slow_connection_preference"] = values[0]
            await self.subscribe()
        elif kind == "warm up":
            await self.subscribe(warmup=True)
        elif kind == "ask":
            self.visitor.client.answers.said(b'{"type":"infodump","since":0,"pattern":"session.s1.note"}')
        elif kind == "turn slow":
            await self.step("full")
            self.house.wait(4)
            await self.step("drain")
        elif kind == "full" and not self.full:
            self.full = True
            client.full()
        elif kind == "drain" and self.full:
            self.full = False
            client.drained()
        elif kind == "come back":
            await self.come_back()
        await self.listen()

    def publish(self, kind: str, priority: str) -> None:
        number = len(self.house.stored)
        about = {"exchange": {"session_id": "s1", "key": "k"}} if kind == "memory_update" else {}
        self.house.tell(
            kind, KINDS[kind], priority=priority, timestamp=f"2026-01-01T00:00:00.{number:06}Z", number=number, **about
        )

    async def come_back(self) -> None:
        # What was written last may be lost with the connection, and then was never seen.
        self.visitor.client.gone(1006)
        self.full = False
        self.visitor = self.house.come()
        await self.subscribe(since=self.position)

    async def finish(self) -> None:
        await self.step("drain")
        self.house.wait(400)
        await self.listen()
        assert self.told == set(range(1, len(self.house.stored) + 1))
        assert self.visitor.client.connection.pacer is None
        assert self.visitor.client.connection.backlog.owed is None


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(PREFERENCES), st.lists(STEPS, min_size=5, max_size=40))
def test_nothing_is_missed_in_silence(preference: str, steps: list[tuple[Any, ...]]) -> None:
    async def go() -> None:
        follower = Follower()
        await follower.step("wish", preference)
        await follower.step("turn slow")
        for step in steps:
            await follower.step(*step)
            if follower.visitor.socket.closed:
                await follower.come_back()
        await follower.finish()

    asyncio.run(go())
