"""What a batch may hold, before it runs."""

from services.session_worker import batch
from shared.errors import Rejected
from shared.messages import COMMANDS, CommandSpec, decode_command, encode_command
from shared.messages.batch import batchable, commands_within


def allowed(spec: CommandSpec) -> bool:
    try:
        return batchable(spec.name) is spec
    except Rejected as refusal:
        assert refusal.code == "invalid"
        return False


def test_every_command_a_batch_may_hold_can_be_run_in_it() -> None:
    for spec in filter(allowed, COMMANDS.values()):
        runs = batch._QUERIES if spec.reads else {**batch._HANDLERS, **batch._BATCH_HANDLERS}
        assert spec.name in runs, spec.name


def test_no_batch_and_no_command_of_an_admin_of_a_room_or_of_our_own_is_allowed() -> None:
    for spec in COMMANDS.values():
        others = spec.scope == "admin" or spec.name == "batch" or spec.area == "chat"
        assert allowed(spec) == (spec.public and not others), spec.name


def test_commands_within_are_the_same_each_time_and_wait_for_nothing() -> None:
    inner = [
        {"command": "claim_task", "data": {"agent_name": "codex", "worker_id": "w", "wait_s": 30}},
        {"command": "get_timeline", "data": {"session_id": "s"}},
    ]
    body = encode_command("batch", {"commands": inner}, message_id="m", sender_agent_id="ada", caller="key")
    first, again = (commands_within(decode_command(body)) for _ in range(2))
    assert [each.message_id for each in first] == [each.message_id for each in again]
    assert len({"m", *(each.message_id for each in first)}) == 3
    assert [each.data.wait_s for each in first] == [0, 0]
    assert {(each.correlation_id, each.sender_agent_id, each.caller) for each in first} == {("m", "ada", "key")}


def test_a_batch_is_about_every_session_within() -> None:
    inner = [{"command": "get_session", "data": {"session_id": each}} for each in ("b", "a", "b")] + [
        {"command": "list_sessions", "data": {}}
    ]
    command = decode_command(encode_command("batch", {"commands": inner}, message_id="m", sender_agent_id="ada"))
    assert command.session_ids == ("b", "a")
