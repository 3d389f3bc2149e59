"""What the live layer asks of the session worker, on a real database."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from services.session_worker.maintenance import expire_live
from tests.integration.handling import events_of, result_of


def run(worker, name, data=None, **options):
    return worker.outcomes(worker.command(name, data or {}, **options))[0]


def test_an_emergency_is_told_as_critical_whatever_its_commands_priority(worker):
    data = {"lane": "security_emergency", "subject": "a leaked key", "details": {"z": 1e2, "a": 1}}
    outcome = run(worker, "declare_emergency", data, sender="ada", priority="low")
    (event,) = events_of(outcome)
    assert outcome.events[0].routing_key == "system.security_emergency"
    assert (event["priority"], event["sender_agent_id"], event["priority_lane"]) == ("critical", "ada", True)
    assert (event["message"], event["details"]) == ("Security breach detected: a leaked key", {"z": 100.0, "a": 1})
    assert result_of(outcome)["emergency"] == event["emergency"]


def test_an_order_to_shut_down_is_told_and_audited(worker):
    outcome = run(worker, "shut_down_gateway", {"mode": "maintenance", "reason": "x", "gateway_id": "g1"}, sender="ada")
    (event,) = events_of(outcome)
    assert (outcome.events[0].routing_key, event["type"]) == ("system.shutdown", "maintenance_shutdown")
    assert event["shutdown"] == result_of(outcome)["shutdown"] == {
        "mode": "maintenance", "reason": "x", "gateway_id": "g1", "countdown_seconds": 0, "ordered_by": "ada",
    }  # fmt: skip
    assert event["priority"] == "high"
    (entry,) = worker.ask("list_audit")["entries"]
    assert (entry["command"], entry["agent_id"], entry["outcome"]) == ("shut_down_gateway", "ada", "ok")


USED = {"connection_id": "c1", "agent_id": "ada", "resumed_as": "c2"}


def test_a_connection_is_resumed_once(worker):
    assert result_of(run(worker, "use_resume_token", USED)) == {"used": True}
    assert result_of(run(worker, "use_resume_token", {**USED, "resumed_as": "c3"}))["code"] == "conflict"
    assert worker.sql("select agent_id, resumed_as from resumed_connections") == [("ada", "c2")]


def test_a_repeated_command_is_no_second_use(worker):
    for _ in range(2):
        assert result_of(run(worker, "use_resume_token", USED, message_id="m1")) == {"used": True}


def test_of_two_uses_in_one_batch_one_is_refused(worker):
    outcomes = worker.outcomes(*(worker.command("use_resume_token", USED) for _ in range(2)))
    assert [result_of(each).get("code") for each in outcomes] == [None, "conflict"]


def test_many_connections_are_resumed_in_one_batch_each_once(worker):
    run(worker, "use_resume_token", USED)
    names = [f"c{n}" for n in (9, 1, 8, 9, 7)]
    outcomes = worker.outcomes(*(worker.command("use_resume_token", {**USED, "connection_id": name}) for name in names))
    assert [result_of(each).get("code") for each in outcomes] == [None, "conflict", None, "conflict", None]
    assert sorted(worker.sql("select connection_id from resumed_connections")) == [("c1",), ("c7",), ("c8",), ("c9",)]


def test_of_many_uses_at_once_one_is_granted(worker):
    async def at_once():
        return await asyncio.gather(*(worker.commit(worker.command("use_resume_token", USED)) for _ in range(8)))

    assert [result_of(each).get("used") for (each,) in worker.run(at_once())].count(True) == 1


def act(at, **fields):
    return {"timestamp": at, "key": "ci", "agent_id": "ada", "act": "connect", "target": "c1", "outcome": "ok"} | fields


def test_what_happened_at_a_gateways_door_stands_in_the_audit_log_once(worker):
    before = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
    acts = [act(before.isoformat()), act("2099-01-01T00:00:00Z", act="refuse", outcome="token revoked")]
    command = worker.command("record_gateway_acts", {"acts": acts}, sender="system", message_id="m1")
    for _ in range(2):
        assert result_of(worker.outcomes(command)[0]) == {"kept": 2}
    refused, connected = worker.ask("list_audit")["entries"]
    assert {name: connected[name] for name in connected if name not in ("audit_id", "timestamp")} == {
        "key": "ci", "agent_id": "ada", "command": "gateway.connect", "message_id": "m1", "session_id": None,
        "target": "c1", "outcome": "ok",
    }  # fmt: skip
    assert datetime.fromisoformat(connected["timestamp"]) == before
    # A gateway's clock may be wrong; the log's pages go by the moment.
    assert (refused["command"], refused["timestamp"] < "2099") == ("gateway.refuse", True)
    assert worker.ask("list_audit", command="gateway.refuse")["entries"] == [refused]


@pytest.mark.parametrize("moment", ["2026-13-01T00:00:00Z", "0001-01-01T00:00:00+10:00"])
def test_an_act_at_an_odd_moment_harms_no_page(worker, moment):
    run(worker, "record_gateway_acts", {"acts": [act(moment)]}, sender="system")
    assert len(worker.ask("list_audit")["entries"]) < 2


def test_revoked_tokens_are_told_and_stand_in_the_ring(worker):
    before = time.time()
    outcome = run(worker, "revoke_tokens", {"agent_id": "ada", "reason": "lost"})
    run(worker, "revoke_tokens", {"token_id": "t1"})
    (event,) = events_of(outcome)
    assert (outcome.events[0].routing_key, event["reason"]) == ("system.tokens_revoked", "lost")
    assert result_of(outcome) == {"revoked": "ada"}
    of_agent, one = worker.ask("get_key_ring")["revoked_tokens"]
    assert of_agent == event["tokens"]
    assert (of_agent["agent_id"], of_agent["token_id"]) == ("ada", None)
    assert (one["agent_id"], one["token_id"]) == (None, "t1")
    assert before - 5 < of_agent["made_until"] < time.time() + 5


def test_revoking_an_agents_tokens_again_takes_those_made_since(worker):
    for kind in ("agent_id", "token_id"):
        first, again = (
            events_of(run(worker, "revoke_tokens", {kind: "x"}))[0]["tokens"]["made_until"] for _ in range(2)
        )
        assert (again > first) == (kind == "agent_id")


def test_neither_or_both_names_nothing_to_revoke(worker):
    assert result_of(run(worker, "revoke_tokens"))["code"] == "invalid"


def test_notes_of_tokens_go_when_no_token_can_be_valid_any_more(worker):
    run(worker, "use_resume_token", USED)
    run(worker, "revoke_tokens", {"token_id": "t1"})
    assert worker.run(expire_live(worker.database)) == 0
    worker.sql("update resumed_connections set at = now() - interval '9 days'")
    worker.sql("update revoked_tokens set made_until = now() - interval '9 days'")
    assert worker.ask("get_key_ring")["revoked_tokens"] == []
    assert worker.run(expire_live(worker.database)) == 2
    assert worker.sql("select 1 from resumed_connections union all select 1 from revoked_tokens") == []
