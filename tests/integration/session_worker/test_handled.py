"""What became of a command, and who may know."""

import pytest

from shared.messages import new_id
from shared.messages.commands import COMMANDS


def test_commands_whose_replies_hold_leases_are_confidential():
    assert {name for name, spec in COMMANDS.items() if spec.confidential} >= {"claim_task", "heartbeat_task", "batch"}


@pytest.fixture(scope="module")
def claims(module_worker):
    """The message ids of claims, each with a lease in its reply: one by the key `runner`, one by none."""
    ids = {"runner": new_id(), None: new_id()}
    for caller, message_id in ids.items():
        module_worker.sql(
            """
            insert into handled_messages (message_id, command, reply, expires_at, caller)
            values (:id, 'claim_task', :reply, now() + interval '1 h', :by)
            """,
            id=message_id,
            by=caller,
            reply='{"ok":true,"result":{"tasks":[{"lease_token":"t0k3n"}]}}',
        )
    return ids


@pytest.mark.parametrize("who", [{"asker": "runner"}, {"asker": "runner", "caller": "runner"}, {"admin": True}])
def test_a_lease_is_told_to_the_key_that_claimed_and_to_an_admin(module_worker, claims, who):
    answer = module_worker.ask("get_command", message_id=claims["runner"], **who)
    assert answer["result"]["tasks"][0]["lease_token"] == "t0k3n"


@pytest.mark.parametrize("who", [{"asker": "reader"}, {}, {"asker": "reader", "admin": False}])
@pytest.mark.parametrize("by", ["runner", None])
def test_a_lease_is_told_to_nobody_else_and_why(module_worker, claims, who, by):
    refused = module_worker.ask("get_command", message_id=claims[by], **who)
    assert refused["code"] == "forbidden"
    assert "only the key that sent the command" in refused["message"]
    assert "t0k3n" not in str(refused)


def test_a_batch_with_a_claim_is_as_confidential_as_the_claim(module_worker):
    session_id = module_worker.do("create_session")["session"]["session_id"]
    parts = [
        {"command": "delegate_task", "data": {"session_id": session_id, "agent_name": "codex", "task_type": "t"}},
        {"command": "claim_task", "data": {"agent_name": "codex", "worker_id": "w", "session_id": session_id}},
    ]
    batch = module_worker.command("batch", {"commands": parts}, caller="runner")
    module_worker.outcomes(batch)
    own = module_worker.ask("get_command", message_id=batch.message_id, asker="runner")
    assert own["result"]["results"][1]["tasks"][0]["lease_token"]
    assert module_worker.ask("get_command", message_id=batch.message_id, asker="reader")["code"] == "forbidden"


def test_other_replies_are_told_to_whoever_may_read(module_worker):
    created = module_worker.command("create_session", {}, caller="runner")
    module_worker.outcomes(created)
    assert module_worker.ask("get_command", message_id=created.message_id, asker="reader")["status"] == "done"
