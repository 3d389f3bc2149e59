"""The batch: many commands as a whole or not at all."""

import asyncio
from typing import Any

import orjson
import pytest

from shared.bus.commit import GroupCommit
from shared.bus.replies import SessionMissing
from shared.errors import Rejected
from shared.messages import new_id
from shared.messages.batch import commands_within
from tests.integration.handling import events_of, result_of
from tests.integration.session_worker.conftest import SessionWorker


def part(command: str, **data: Any) -> dict[str, Any]:
    return {"command": command, "data": data}


def memory(session_id: str, key: str, content: Any = 1) -> dict[str, Any]:
    return part("store_memory", session_id=session_id, key=key, type="fact", content=content)


@pytest.fixture
def session_id(module_worker: SessionWorker) -> str:
    created: str = module_worker.do("create_session")["session"]["session_id"]
    return created


def keys(worker: SessionWorker, session_id: str) -> list[str]:
    return [key for (key,) in worker.sql("select key from memories where session_id = :s order by key", s=session_id)]


def test_every_command_happens_and_answers_in_order(module_worker: SessionWorker, session_id: str) -> None:
    other = new_id()
    answer = module_worker.do(
        "batch",
        commands=[
            part("create_session", session_id=other),
            memory(session_id, "a"),
            memory(other, "b"),
            part("conversation_chunk", session_id=session_id, chunk_id="c", content="Idea: batch it."),
            part("delegate_task", session_id=other, agent_name="codex", task_type="review"),
            part("get_session", session_id=other),
            part("retrieve_memory", session_id=session_id, key="a"),
            part("append_conversation", session_id=other, content="said"),
        ],
    )
    results = answer["results"]
    nouns = ["session", "memory", "memory", "chunk", "task", "session", "memory", "chunk"]
    assert [next(iter(result)) for result in results] == nouns
    seen = results[5]["session"]
    assert (seen["memory_count"], seen["task_count"], seen["seq"]) == (1, 1, 3)
    assert results[6]["memory"] == results[1]["memory"]


def test_events_are_numbered_in_order_and_stamped(module_worker: SessionWorker, session_id: str) -> None:
    before = module_worker.ask("get_session", session_id=session_id)["session"]["seq"]
    command = module_worker.command(
        "batch",
        {
            "commands": [
                memory(session_id, "a"),
                memory(session_id, "b"),
                part("pause_session", session_id=session_id),
                part("conversation_chunk", session_id=session_id, content="x"),
            ]
        },
        sender="eve",
    )
    later = module_worker.command("conversation_chunk", {"session_id": session_id, "content": "after"})
    of_batch, of_later = map(events_of, module_worker.outcomes(command, later))
    assert [event["type"] for event in of_batch] == [
        "memory_update",
        "memory_update",
        "session_paused",
        "conversation_chunk_added",
    ]
    assert [event["session_seq"] for event in of_batch + of_later] == [before + n for n in range(1, 6)]
    assert {(event["sender_agent_id"], event["correlation_id"]) for event in of_batch} == {("eve", command.message_id)}
    assert module_worker.ask("get_session", session_id=session_id)["session"]["seq"] == before + 5


def test_hot_commands_that_alternate_keep_their_order(module_worker: SessionWorker, session_id: str) -> None:
    pair = [memory(session_id, "k"), part("log_action", session_id=session_id, type="step")]
    answer = part("log_response", session_id=session_id)
    command = module_worker.command("batch", {"commands": [*pair, *pair, answer, *pair]})
    (outcome,) = module_worker.outcomes(command)
    results = result_of(outcome)["results"]
    assert [next(iter(result)) for result in results] == [
        "memory", "action", "memory", "action", "response", "memory", "action",
    ]  # fmt: skip
    assert [result["memory"]["version"] for result in results if "memory" in result] == [1, 2, 3]
    logged = [result.get("action") or result.get("response") for result in results if "memory" not in result]
    assert [each["number"] for each in logged] == [1, 2, 3, 4]
    events = events_of(outcome)
    assert [event["session_seq"] for event in events] == [*range(2, 2 + len(events))]
    told = [event["type"] for event in events if event["type"] != "memory_update"]
    assert told == ["action_logged", "action_logged", "response_logged", "action_logged"]
    assert events[0]["type"] == "memory_update"
    assert events[1]["type"] == "action_logged"


def test_a_refusal_in_the_middle_undoes_all_of_it(module_worker: SessionWorker, session_id: str) -> None:
    before = module_worker.ask("get_session", session_id=session_id)["session"]
    new = new_id()
    commands = [
        part("create_session", session_id=new),
        memory(session_id, "kept"),
        part("delegate_task", session_id=session_id, agent_name="nobody", task_type="review"),
        memory(session_id, "never"),
    ]
    outcome = module_worker.outcomes(module_worker.command("batch", {"commands": commands}))[0]
    error = result_of(outcome)
    assert error["code"] == "not_found"
    assert error["message"].startswith("commands[2] (delegate_task): agent 'nobody' is not registered")
    assert error["details"] | {"index": 2, "command": "delegate_task"} == error["details"]
    assert outcome.events == []
    assert keys(module_worker, session_id) == []
    assert module_worker.ask("get_session", session_id=session_id)["session"] == before
    assert module_worker.ask("get_session", session_id=new)["code"] == "not_found"


def test_a_refusal_within_a_run_of_hot_commands_undoes_all_of_it(module_worker: SessionWorker, session_id: str) -> None:
    guarded = memory(session_id, "b")
    guarded["data"]["if_version"] = 7
    error = module_worker.do("batch", commands=[memory(session_id, "a"), guarded, memory(session_id, "c")])
    assert (error["code"], error["details"]["index"]) == ("conflict", 1)
    assert keys(module_worker, session_id) == []


def test_other_commands_of_the_same_transaction_are_not_undone(module_worker: SessionWorker, session_id: str) -> None:
    command = module_worker.command
    outcomes = module_worker.outcomes(
        command("conversation_chunk", {"session_id": session_id, "content": "before"}),
        command("batch", {"commands": [memory(session_id, "undone"), memory("nobody", "x")]}),
        command("conversation_chunk", {"session_id": session_id, "content": "after"}),
    )
    assert [outcome.outcome for outcome in outcomes] == ["ok", "not_found", "ok"]
    assert keys(module_worker, session_id) == []
    numbers = [event["session_seq"] for outcome in outcomes for event in events_of(outcome)]
    assert numbers == [2, 3]


def test_a_repeated_batch_answers_the_same_and_happens_once(module_worker: SessionWorker, session_id: str) -> None:
    data = {"commands": [part("store_memory", session_id=session_id, type="fact", content=1)]}
    once = module_worker.command("batch", data, message_id=new_id())
    again = module_worker.command("batch", data, message_id=once.message_id)
    other = module_worker.command("batch", {"commands": [memory(session_id, "x")]}, message_id=once.message_id)
    first, second, third = (module_worker.outcomes(each)[0] for each in (once, again, other))
    assert first.reply == second.reply
    assert first.events == second.events
    assert second.outcome == "repeated"
    assert third.outcome == "conflict"
    assert len(keys(module_worker, session_id)) == 1


def test_what_a_batch_makes_has_ids_made_of_its_own(module_worker: SessionWorker, session_id: str) -> None:
    command = module_worker.command("batch", {"commands": [memory(session_id, "a"), memory(session_id, "b")]})
    results = result_of(module_worker.outcomes(command)[0])["results"]
    ids = [result["memory"]["message_id"] for result in results]
    assert len({command.message_id, *ids}) == 3
    assert ids == [each.message_id for each in commands_within(command)]


def test_values_within_keep_their_text(module_worker: SessionWorker, session_id: str) -> None:
    text = '{"z": 1e5, "a": 1180591620717411303424, "é": "\\u00e9"}'
    data = f'"session_id": "{session_id}", "type": "fact", "key": "k", "content": {text}'
    outcome = module_worker.outcomes(
        module_worker.command("batch", f'{{"commands": [{{"command": "store_memory", "data": {{{data}}}}}]}}')
    )[0]
    assert f'"content":{text}'.encode() in outcome.reply


def test_a_closed_session_refuses_within_a_batch_too(module_worker: SessionWorker, session_id: str) -> None:
    error = module_worker.do(
        "batch", commands=[part("complete_session", session_id=session_id), memory(session_id, "a")]
    )
    assert (error["code"], error["details"]["index"], error["details"]["status"]) == ("conflict", 1, "completed")
    assert module_worker.ask("get_session", session_id=session_id)["session"]["status"] == "active"


def test_a_missing_session_is_waited_for_as_by_a_single_command(module_worker: SessionWorker, session_id: str) -> None:
    missing = new_id()
    command = module_worker.command("batch", {"commands": [memory(session_id, "a"), memory(missing, "b")]})

    async def attempt() -> Any:
        async with module_worker.database.transaction() as tx:
            commit = GroupCommit(module_worker.handlers, module_worker.batch_handlers)
            return (await commit.run(tx, [command], patient={command.message_id}))[0]

    assert isinstance(module_worker.run(attempt()), SessionMissing)
    assert keys(module_worker, session_id) == []
    module_worker.do("create_session", session_id=missing)
    assert orjson.loads(module_worker.run(attempt()).reply)["ok"]


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ([], "at least 1 item"),
        ([part("get_session", session_id="s")] * 101, "at most 100 items"),
        ([part("batch", commands=[part("list_sessions")])], "can't hold another batch"),
        ([part("receive_webhook")], "there is no command 'receive_webhook'"),
        ([part("no_such_command")], "there is no command 'no_such_command'"),
        ([part("list_sessions"), part("store_memory", session_id="s")], "commands[1] (store_memory)"),
        ([{"command": "list_sessions", "extra": 1}], "commands.0.extra"),
        ([{"data": {}}], "commands.0.command: field required"),
        (None, "commands"),
    ],
)
def test_what_has_no_place_in_a_batch_is_refused(module_worker: SessionWorker, commands: Any, says: str) -> None:
    with pytest.raises(Rejected) as refused:
        module_worker.command("batch", {"commands": commands})
    assert refused.value.code == "invalid"
    assert says in refused.value.message


def test_batches_on_the_same_sessions_in_opposite_order_all_happen(module_worker: SessionWorker) -> None:
    one, two = (module_worker.do("create_session")["session"]["session_id"] for _ in range(2))
    batches = [
        module_worker.command(
            "batch", {"commands": [memory(each, f"{n}") for each in ((one, two) if n % 2 else (two, one))]}
        )
        for n in range(20)
    ]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(module_worker.commit(command) for command in batches))

    outcomes = [outcome for (outcome,) in module_worker.run(all_at_once())]
    assert {outcome.outcome for outcome in outcomes} == {"ok"}
    numbers: dict[str, list[int]] = {}
    for outcome in outcomes:
        for event in events_of(outcome):
            numbers.setdefault(event["session_id"], []).append(event["session_seq"])
    assert {each: sorted(found) for each, found in numbers.items()} == {one: [*range(2, 22)], two: [*range(2, 22)]}


def test_results_that_would_be_too_large_are_refused(module_worker: SessionWorker, session_id: str) -> None:
    module_worker.do("batch", commands=[memory(session_id, "big", "x" * 900_000)])
    error = module_worker.do("batch", commands=[part("retrieve_memory", session_id=session_id, key="big")] * 10)
    assert (error["code"], error["details"]["index"]) == ("too_large", 8)


def test_a_batch_mentions_agents_a_bounded_number_of_times(module_worker: SessionWorker, session_id: str) -> None:
    people = [f"agent{n}" for n in range(99)]
    sidebar = module_worker.do(
        "spawn_sidebar", session_id=session_id, participants=["ada", *people], task_description="t"
    )["sidebar"]["sidebar_id"]
    everyone = part("post_to_sidebar", sidebar_id=sidebar, text=" ".join(f"@{each}" for each in people))
    error = module_worker.do("batch", commands=[everyone] * 11)
    assert (error["code"], error["details"]) == ("too_large", {"mentions": 1089, "limit": 1000})
    assert module_worker.ask("get_sidebar", sidebar_id=sidebar)["sidebar"]["exchange_count"] == 0
    assert len(module_worker.do("batch", commands=[everyone] * 10)["results"]) == 10
