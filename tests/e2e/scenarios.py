"""How each public command is brought to succeed: what must be there before it, its data, and what its result must hold.

In data `$session` and `$copy` are sessions of the scenario's own, `$own` a text nobody else has, `$run` such an id,
`$task` and `$lease` those of the task that was delegated or claimed before, and so on for whatever a step `remembers`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.messages import COMMANDS, new_id
from tests.waiting import eventually

Data = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A command of the preparation; `remembers` names what to keep of its result: name → path in the result.

    It is run until the list `until` of its result is not empty.
    """

    command: str
    data: Data
    remembers: Mapping[str, str] = field(default_factory=dict)
    until: str | None = None


@dataclass(frozen=True)
class Scenario:
    """`data` None: the example of the registry, in the session. `finds`: lists of the result that may not be empty."""

    before: tuple[Step, ...] = ()
    data: Data | None = None
    finds: tuple[str, ...] = ()


OPENED = Step("create_session", {"session_id": "$session"})
REMEMBERED = Step("store_memory", {"session_id": "$session", "type": "decision", "key": "plan", "content": "the queue"})
ACTED = Step("log_action", {"session_id": "$session", "action_id": "a-1", "type": "task_start", "details": {"n": 1}})
ANSWERED = Step("log_response", {"session_id": "$session", "action_id": "a-1", "content": {"passed": 1}})
MADE = Step(
    "add_artifact",
    {"session_id": "$session", "artifact_id": "plan-1", "name": "plan.md", "type": "document", "content": "the queue"},
)
AIMED = Step("add_goal", {"session_id": "$session", "goal_id": "goal-1", "description": "All tests pass"})
SPAWNED = Step("spawn_agent", {"session_id": "$session", "agent_id": "reviewer-1", "type": "reviewer"})
REGISTERED = Step("register_agent", {"name": "$own", "type": "reviewer"})
DELEGATED = Step(
    "delegate_task",
    {"session_id": "$session", "agent_name": "$own", "task_type": "review", "input_data": {"pr": 7}},
    {"$task": "task.task_id"},
)
CLAIMED = Step("claim_task", {"agent_name": "$own", "worker_id": "w"}, {"$lease": "tasks.0.lease_token"})
FAILED = Step("fail_task", {"task_id": "$task", "lease_token": "$lease", "error_message": "no", "retry": False})
WAITS = (OPENED, REGISTERED, DELEGATED)
HELD = (*WAITS, CLAIMED)
LEASE = {"task_id": "$task", "lease_token": "$lease"}
BEGUN = Step(
    "agent_report", {"run_id": "$run", "agent_name": "$own", "session_id": "$session", "state": "running", "pid": 7}
)
_TEXTS = ("```python", "print('hello')", "```", "Error: no such file", "12 passed in 0.42s")
LINES = [{"stream": "stdout", "text": text, "at": "2026-02-10T12:00:00Z"} for text in _TEXTS]
WRITTEN = Step("agent_output", {"run_id": "$run", "first_line": 1, "lines": LINES})
# It has ended, so that what it wrote is looked through at once.
OVER = Step("agent_report", {"run_id": "$run", "state": "completed", "exit_code": 0, "lines_given": len(LINES)})
FOUND = Step(
    "query_extractions", {"run_id": "$run", "type": "code_block"}, {"$sha256": "extractions.0.sha256"}, "extractions"
)
RAN = (OPENED, BEGUN, WRITTEN, OVER)
ROOM = {"room_id": "$own", "bot_id": "assistant"}
# Nobody waits for an answer: no client is started for it.
HELLO = {**ROOM, "user_name": "assistant", "text": "hello"}
# A tool that `clerk`, the bot that these tests declare, has to be allowed to use.
WANTED = (
    Step("chat_message", {"room_id": "$own", "bot_id": "clerk", "user_name": "ada", "text": "[[tool chat_stats {}]]"}),
    Step("list_approvals", {"room_id": "$own"}, {"$approval": "approvals.0.approval_id"}, until="approvals"),
)
COPY = Step("create_session", {"session_id": "$copy"})
ASIDE = Step(
    "spawn_sidebar",
    {
        "session_id": "$session", "sidebar_id": "$own", "participants": ["claude", "ada"], "task_description": "Why?",
        "success_criteria": "It passes", "data_refs": {"log": 1},
    },
)  # fmt: skip
SAID = Step("post_to_sidebar", {"sidebar_id": "$own", "text": "@ada the clock is mocked twice"})
PAUSED = Step("pause_sidebar", {"sidebar_id": "$own"})
KEY = Step("create_key", {"name": "$own", "scopes": ["read"]})


def exported(kind: str) -> Step:
    """The session's records of a kind, remembered as `$records`."""
    return Step("export_records", {"session_id": "$session", "kind": kind}, {"$records": "records"})


SCENARIOS: dict[str, Scenario] = {
    # Sessions
    "create_session": Scenario(),
    "get_session": Scenario((OPENED,)),
    "list_sessions": Scenario((OPENED,), finds=("sessions",)),
    "pause_session": Scenario((OPENED,)),
    "resume_session": Scenario((OPENED, Step("pause_session", {"session_id": "$session"}))),
    "complete_session": Scenario((OPENED,)),
    "fail_session": Scenario((OPENED,)),
    "archive_session": Scenario((OPENED, Step("complete_session", {"session_id": "$session"}))),
    "conversation_chunk": Scenario((OPENED,)),
    "add_artifact": Scenario((OPENED,)),
    "get_artifact": Scenario((OPENED, MADE)),
    "log_action": Scenario((OPENED,)),
    "log_response": Scenario((OPENED, ACTED)),
    "get_actions": Scenario((OPENED, ACTED, ANSWERED), finds=("actions", "responses")),
    "get_state": Scenario((OPENED, AIMED, SPAWNED)),
    "update_state": Scenario((OPENED,)),
    "add_goal": Scenario((OPENED,)),
    "update_goal": Scenario((OPENED, AIMED)),
    "spawn_agent": Scenario((OPENED,)),
    "complete_agent": Scenario((OPENED, SPAWNED)),
    "search": Scenario((OPENED, REMEMBERED, MADE), {"q": "queue", "session_id": "$session"}, finds=("hits",)),
    "get_timeline": Scenario((OPENED, ACTED), {"session_id": "$session"}, finds=("entries",)),
    "export_records": Scenario((OPENED, ACTED), finds=("records",)),
    "batch": Scenario(
        data={
            "commands": [
                {"command": "create_session", "data": {"session_id": "$session"}},
                {"command": "get_session", "data": {"session_id": "$session"}},
            ]
        },
        finds=("results",),
    ),
    # Memories
    "store_memory": Scenario((OPENED,)),
    "retrieve_memory": Scenario((OPENED, REMEMBERED)),
    "query_memories": Scenario((OPENED, REMEMBERED), {"session_id": "$session", "text": "queue"}, finds=("memories",)),
    "memory_history": Scenario((OPENED, REMEMBERED, REMEMBERED), finds=("versions",)),
    "forget_memory": Scenario((OPENED, REMEMBERED)),
    "get_heat_map": Scenario((OPENED, REMEMBERED)),
    # Tasks
    "delegate_task": Scenario((OPENED,)),
    "claim_task": Scenario(WAITS, {"agent_name": "$own", "worker_id": "w", "wait_s": 1}, ("tasks",)),
    "start_task": Scenario(HELD, LEASE),
    "heartbeat_task": Scenario(HELD, LEASE),
    "complete_task": Scenario(HELD, {**LEASE, "output_data": {"ok": True}}),
    "fail_task": Scenario(HELD, {**LEASE, "error_message": "the repository could not be cloned"}),
    "cancel_task": Scenario(WAITS, {"task_id": "$task", "session_id": "$session"}),
    "retry_task": Scenario((*HELD, FAILED), {"task_id": "$task"}),
    "get_task": Scenario(WAITS, {"task_id": "$task"}),
    "list_tasks": Scenario(WAITS, {"session_id": "$session"}, finds=("tasks",)),
    # Agents
    "register_agent": Scenario(data={"name": "$own", "type": "reviewer", "capabilities": ["review"]}),
    "list_agents": Scenario(finds=("agents",)),
    "agent_report": Scenario((OPENED,), BEGUN.data),
    "agent_output": Scenario((OPENED, BEGUN), WRITTEN.data),
    # Nobody is there to answer.
    "control_agent": Scenario((OPENED, BEGUN), {"agent_name": "$own", "action": "pause", "wait_s": 0}),
    "list_runs": Scenario((OPENED, BEGUN), {"agent_name": "$own"}, finds=("runs",)),
    "get_run": Scenario((OPENED, BEGUN), {"run_id": "$run"}),
    "get_output": Scenario((OPENED, BEGUN, WRITTEN), {"run_id": "$run"}, finds=("lines",)),
    "query_extractions": Scenario((*RAN, FOUND), {"agent_name": "$own", "type": "code_block"}, finds=("extractions",)),
    "get_code_block": Scenario((*RAN, FOUND), {"sha256": "$sha256"}),
    "agent_stats": Scenario((*RAN, FOUND), {"agent_name": "$own"}),
    "query_sessions": Scenario((OPENED, BEGUN), {"agent_name": "$own"}, finds=("sessions",)),
    # Sidebars
    "spawn_sidebar": Scenario(
        (OPENED,),
        {**COMMANDS["spawn_sidebar"].example, "session_id": "$session", "sidebar_id": "$own"},
    ),
    "get_sidebar": Scenario((OPENED, ASIDE, SAID), {"sidebar_id": "$own"}),
    "list_sidebars": Scenario((OPENED, ASIDE), {"session_id": "$session", "status": "active"}, finds=("sidebars",)),
    "post_to_sidebar": Scenario((OPENED, ASIDE), {**COMMANDS["post_to_sidebar"].example, "sidebar_id": "$own"}),
    "set_sidebar_status": Scenario((OPENED, ASIDE), {**COMMANDS["set_sidebar_status"].example, "sidebar_id": "$own"}),
    "pause_sidebar": Scenario((OPENED, ASIDE), {**COMMANDS["pause_sidebar"].example, "sidebar_id": "$own"}),
    "resume_sidebar": Scenario((OPENED, ASIDE, PAUSED), {"sidebar_id": "$own", "reason": "it is back"}),
    "fork_sidebar": Scenario((OPENED, ASIDE, SAID), {"sidebar_id": "$own", "reason": "it fails again"}),
    "merge_sidebar": Scenario((OPENED, ASIDE, SAID), {**COMMANDS["merge_sidebar"].example, "sidebar_id": "$own"}),
    "archive_sidebar": Scenario((OPENED, ASIDE), {"sidebar_id": "$own", "reason": "kept for the next time"}),
    "report_test_result": Scenario((OPENED, ASIDE), {**COMMANDS["report_test_result"].example, "sidebar_id": "$own"}),
    "report_waiting": Scenario((OPENED, ASIDE), {**COMMANDS["report_waiting"].example, "sidebar_id": "$own"}),
    "sidebar_stats": Scenario((OPENED, ASIDE), {"session_id": "$session", "hours": 1}),
    # Bots in rooms
    "chat_message": Scenario(data=HELLO),
    "reset_chat": Scenario((Step("chat_message", HELLO),), ROOM),
    "set_chat": Scenario(data={**ROOM, "idle_minutes": 60}),
    "chat_stats": Scenario(finds=("workers",)),
    "list_turns": Scenario((Step("chat_message", HELLO),), ROOM, finds=("turns",)),
    # What admins do
    "list_approvals": Scenario(data={"status": "pending"}),
    "approve": Scenario(WANTED, {"approval_id": "$approval", "note": "go ahead"}),
    "deny": Scenario(WANTED, {"approval_id": "$approval", "note": "not on a Friday"}),
    "switch_bot": Scenario(data={"bot_id": "assistant", "on": True}),
    "import_session": Scenario(),
    "import_records": Scenario(
        (OPENED, ACTED, exported("action"), COPY), {"session_id": "$copy", "kind": "action", "records": "$records"}
    ),
    "import_memories": Scenario(
        (OPENED, REMEMBERED, exported("memory"), COPY), {"session_id": "$copy", "records": "$records"}
    ),
    "import_tasks": Scenario(
        (*WAITS, Step("list_tasks", {"session_id": "$session"}, {"$tasks": "tasks"})),
        {"session_id": "$session", "tasks": "$tasks"},
    ),
    "list_callbacks": Scenario(data={"status": "failed"}),
    "create_key": Scenario(data={"name": "$own", "scopes": ["read"], "rate_per_minute": 600}),
    "list_keys": Scenario((KEY,), finds=("keys",)),
    "revoke_key": Scenario((KEY,), {"name": "$own"}),
    "list_audit": Scenario((OPENED,), {"session_id": "$session"}),
    # The live layer
    "mention": Scenario(data={"target_agents": ["$own"], "message": "The release waits for your review"}),
    "declare_emergency": Scenario(),
    "shut_down_gateway": Scenario(),
    "revoke_tokens": Scenario(data={"agent_id": "$own", "reason": "its laptop was lost"}),
}


class Stage:
    """One scenario on its way, by one door: what its steps have remembered."""

    def __init__(self, name: str, own: str) -> None:
        self.name = name
        self.scenario = SCENARIOS[name]
        self.known: dict[str, Any] = {"$session": own, "$own": own, "$copy": f"{own}-copy", "$run": new_id()}

    def prepare(self, run: Callable[[str, Data], Data]) -> Data:
        """Run the steps before the command; returns the command's data."""
        for step in self.scenario.before:
            result = self._run(step, run)
            for name, path in step.remembers.items():
                self.known[name] = _at(result, path)
        data = self.scenario.data
        if data is None:
            data = dict(COMMANDS[self.name].example)
            if "session_id" in data:
                data["session_id"] = "$session"
        filled: Data = self.filled(data)
        return filled

    def _run(self, step: Step, run: Callable[[str, Data], Data]) -> Data:
        result: Data = {}

        def look() -> bool:
            nonlocal result
            result = run(step.command, self.filled(step.data))
            return step.until is None or bool(result[step.until])

        eventually(look, 40, because=f"something in {step.until} of {step.command}")
        return result

    def filled(self, value: Any) -> Any:
        """The value with everything known in place of its `$name`."""
        if isinstance(value, dict):
            return {name: self.filled(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        return self.known.get(value, value) if isinstance(value, str) else value


def _at(result: Any, path: str) -> Any:
    for word in path.split("."):
        result = result[int(word)] if isinstance(result, list) else result[word]
    return result
