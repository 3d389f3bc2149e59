"""What a bot may do with tools, and by which id a use of one is known."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from services.claude_worker.tools.calls import MAX_RESULT, ToolCalls
from services.claude_worker.tools.errand import Decision, Errand
from services.claude_worker.tools.offered import MAX_CALLS, OVER, Rights
from services.claude_worker.tools.server import Tools
from services.claude_worker.turns import Held
from shared.messages import encode, spec_of
from shared.messages.chat import Turn

RIGHTS = Rights(frozenset({"store_memory"}), frozenset({"query_memories"}), frozenset({"delegate_task", "list_audit"}))
TURN = Turn.trusted({**dict.fromkeys(Turn.model_fields), "turn_id": "t1", "room_id": "r", "bot_id": "helper"})
HELD = Held(TURN, 0, "m1", "ada", 2, "trusted", None, None, None, None, 0, 1)


class Answering:
    """Stands where the bus is: answers every command with the same."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.reply = encode(reply)
        self.bodies: list[bytes] = []

    async def request(self, spec: Any, body: bytes, **more: Any) -> bytes:
        self.bodies.append(body)
        return self.reply


def tools(*, untrusted: bool | None = False, errand: Errand | None = None) -> Tools:
    async def is_untrusted(held: Held) -> bool | None:
        return untrusted

    made = Tools(RIGHTS, ToolCalls(Answering({"ok": True, "result": {}})), is_untrusted)  # type: ignore[arg-type]
    made.begin(errand or Errand(HELD))
    return made


async def decided(guarded: Tools, name: str, tool_use_id: str = "u1") -> tuple[str, str]:
    (matcher,) = guarded.hooks["PreToolUse"]
    asked: Any = {"tool_name": name, "tool_use_id": tool_use_id}
    said: Any = (await matcher.hooks[0](asked, tool_use_id, {"signal": None}))["hookSpecificOutput"]  # type: ignore[typeddict-item]
    return said["permissionDecision"], said["permissionDecisionReason"]


@pytest.mark.parametrize(
    ("tool", "trusted", "untrusted"),
    [
        ("store_memory", "use", "refuse"),
        ("query_memories", "use", "use"),
        ("delegate_task", "ask", "ask"),
        ("forget_memory", "refuse", "refuse"),
    ],
)
def test_the_lists_and_the_trust_of_what_was_said_decide(tool: str, trusted: str, untrusted: str) -> None:
    assert (RIGHTS.to(tool, untrusted=False), RIGHTS.to(tool, untrusted=True)) == (trusted, untrusted)


def test_a_bot_is_offered_what_its_lists_name_and_nothing_else() -> None:
    assert set(RIGHTS.offered) == {"store_memory", "query_memories", "delegate_task", "list_audit"}
    assert Rights(frozenset(), frozenset(), frozenset()).offered == ()


@pytest.mark.parametrize("name", ["Bash", "Read", "mcp__other__store_memory", "mcp__switchyard__forget_memory"])
def test_the_hook_denies_what_is_not_the_bots(name: str) -> None:
    assert asyncio.run(decided(tools(), name))[0] == "deny"


def test_the_hook_denies_what_an_attempt_asks_for_that_is_over() -> None:
    for name in ("store_memory", "query_memories", "delegate_task"):
        assert asyncio.run(decided(tools(untrusted=None), f"mcp__switchyard__{name}")) == ("deny", OVER)


def test_the_hook_denies_when_it_can_not_be_told_whom_to_trust() -> None:
    async def is_untrusted(held: Held) -> bool | None:
        raise ConnectionError("the database is away")

    async def run() -> tuple[str, str]:
        guarded = Tools(RIGHTS, ToolCalls(Answering({})), is_untrusted)  # type: ignore[arg-type]
        guarded.begin(Errand(HELD))
        return await decided(guarded, "mcp__switchyard__store_memory")

    verdict, reason = asyncio.run(run())
    assert verdict == "deny" and "can't be told" in reason


def test_what_is_asked_for_waits_and_a_second_one_is_asked_for_after_it() -> None:
    async def run() -> list[tuple[str, str]]:
        guarded = tools()
        return [await decided(guarded, "mcp__switchyard__delegate_task", use) for use in ("u1", "u2")]

    (first, _), (second, reason) = asyncio.run(run())
    assert (first, second) == ("defer", "deny") and "Ask for delegate_task again" in reason


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [("approved", "allow", ""), ("denied", "deny", "Grace has refused you"), ("expired", "deny", "in time")],
)
def test_a_decision_is_obeyed(status: Any, verdict: str, said: str) -> None:
    errand = Errand(HELD, {"u1": Decision("u1", status, "Grace", None)})
    found = asyncio.run(decided(tools(errand=errand), "mcp__switchyard__delegate_task"))
    assert found[0] == verdict and said in found[1]


def test_a_turn_that_goes_round_in_a_circle_comes_to_an_end() -> None:
    async def run() -> list[str]:
        guarded = tools()
        return [(await decided(guarded, "mcp__switchyard__store_memory"))[0] for _ in range(MAX_CALLS + 1)]

    verdicts = asyncio.run(run())
    assert verdicts == ["allow"] * MAX_CALLS + ["deny"]


def test_a_turn_that_was_parked_goes_on_counting_its_tools() -> None:
    async def run(used: int) -> str:
        guarded = tools(errand=Errand(HELD, calls=Counter({"one": used - 1, "another": 1})))
        return (await decided(guarded, "mcp__switchyard__store_memory"))[0]

    assert [asyncio.run(run(used)) for used in (MAX_CALLS - 1, MAX_CALLS)] == ["allow", "deny"]


def test_a_use_has_the_same_id_when_an_attempt_is_made_again_and_another_the_next_time() -> None:
    one, again = Errand(HELD), Errand(replace(HELD, epoch=2))
    first = [one.call_id("store_memory", text) for text in (b'{"a":1,"b":2}', b'{"b": 2, "a": 1}', b'{"a":2}')]
    assert len(set(first)) == 3
    assert [again.call_id("store_memory", text) for text in (b'{"a":1,"b":2}', b'{"a":1,"b":2}', b'{"a":2}')] == first
    # A turn that was parked counts on.
    parked = one.asked("u1", "mcp__switchyard__store_memory", {"a": 1})
    resumed = Errand(HELD, calls=type(one.calls)(parked.calls))
    assert resumed.call_id("store_memory", b'{"a":1,"b":2}') not in first and parked.tool == "store_memory"


def test_a_command_runs_as_the_bot_a_hop_further_with_the_trust_of_the_conversation() -> None:
    bus = Answering({"ok": True, "result": {"memories": []}})
    errand = Errand(HELD, untrusted=True)
    result = asyncio.run(ToolCalls(bus).run(errand, RIGHTS, spec_of("query_memories"), {"limit": 3}))  # type: ignore[arg-type]
    assert result == ('{"memories":[]}', False)
    (body,) = bus.bodies
    for part in (b'"sender_agent_id":"helper"', b'"hops":3', b'"trust":"untrusted"', b'"correlation_id":"m1"'):
        assert part in body


def test_a_long_result_is_cut_and_says_so() -> None:
    bus = Answering({"ok": True, "result": {"memories": ["x" * MAX_RESULT]}})
    result = asyncio.run(ToolCalls(bus).run(Errand(HELD), RIGHTS, spec_of("query_memories"), {}))  # type: ignore[arg-type]
    assert len(result.text) < MAX_RESULT + 200 and "ask for less" in result.text


def test_what_needs_an_admin_is_refused_to_a_bot_that_nobody_was_asked_about() -> None:
    bus = Answering({"ok": True, "result": {}})
    rights = Rights(frozenset({"list_audit"}), frozenset(), frozenset())
    calls = ToolCalls(bus)  # type: ignore[arg-type]
    refused = asyncio.run(calls.run(Errand(HELD), rights, spec_of("list_audit"), {}))
    assert refused.is_error and '"code":"forbidden"' in refused.text and not bus.bodies
    assert not asyncio.run(calls.run(Errand(HELD), RIGHTS, spec_of("list_audit"), {})).is_error
