"""agent_report, agent_output and the questions about runs on a real database."""

from base64 import b64encode
from typing import Any

import orjson
import pytest

from services.task_worker.runs import pacing
from services.task_worker.store import output
from shared.messages import new_id
from tests.integration.task_worker.conftest import TaskWorker
from tests.integration.task_worker.runs_kit import EMPTY, Runner, line


@pytest.fixture
def worker(module_worker: TaskWorker) -> TaskWorker:
    """A task worker with two sessions and no runs."""
    for statement in EMPTY.split(";"):
        if statement.strip():
            module_worker.sql(statement)
    return module_worker


def be_silent(worker: TaskWorker, run_id: str) -> None:
    worker.sql("update agent_runs set heard = now() - interval '31 seconds' where run_id = :run_id", run_id=run_id)


def states(worker: TaskWorker, run_id: str) -> list[tuple[Any, ...]]:
    transitions = worker.ask("get_run", run_id=run_id)["run"]["transitions"]
    return [(each["was"], each["state"], each["cause"], each["by"]) for each in transitions]


def test_a_run_is_made_by_its_first_report_and_told(worker):
    run_id = new_id()
    result, events = worker.told(
        "agent_report", run_id=run_id, agent_name="codex", session_id="s1", worker_id="w1", command="codex", pid=7
    )
    run = result["run"]
    assert (run["state"], run["lines"], run["ended"], run["usage"]["cost_usd"]) == ("starting", 0, None, 0)
    assert run["name"].startswith("codex-")
    assert [(event["type"], event["run"], event["session_seq"]) for event in events] == [("agent_run_started", run, 1)]
    (outcome,) = worker.run(worker.write(("agent_report", {"run_id": run_id, "state": "running", "cause": "it began"})))
    (event,) = [orjson.loads(each.body) for each in outcome.events]
    assert (event["type"], event["transition"]["was"], event["run"]["state"]) == (
        "agent_run_changed", "starting", "running",
    )  # fmt: skip
    assert states(worker, run_id) == [
        (None, "starting", None, "ada"),
        ("starting", "running", "it began", "ada"),
    ]


def test_the_same_report_again_changes_nothing(worker):
    runner = Runner(worker, pid=7)
    result, events = worker.told("agent_report", run_id=runner.run_id, state="running", pid=7)
    assert {**result["run"], "heard": None} == {**runner.begun, "heard": None}
    assert events == []
    assert len(states(worker, runner.run_id)) == 1
    ended = runner.report(state="completed", exit_code=0, lines_given=0)
    assert runner.report(state="completed", exit_code=0)["ended"] == ended["ended"]


def test_a_move_that_no_run_makes_is_refused(worker):
    runner = Runner(worker)
    runner.report(state="killed", signal="SIGKILL")
    refused = runner.report(state="running")
    assert (refused["code"], refused["details"]["state"]) == ("conflict", "killed")
    assert worker.ask("get_run", run_id=runner.run_id)["run"]["signal"] == "SIGKILL"


def test_a_run_begins_in_an_open_session_of_an_agent(worker):
    assert worker.send("agent_report", run_id=new_id())["code"] == "not_found"
    unknown = {"run_id": new_id(), "agent_name": "codex"}
    assert worker.send("agent_report", **unknown, session_id="nowhere")["code"] == "not_found"
    worker.sql("update sessions set status = 'completed' where id = 's2'")
    assert worker.send("agent_report", **unknown, session_id="s2")["code"] == "conflict"
    runner = Runner(worker)
    assert runner.report(session_id="s2")["code"] == "not_found"
    assert runner.report(agent_name="claude_code")["code"] == "conflict"


def test_a_silent_run_is_lost_and_found_again(worker):
    runner, other = Runner(worker), Runner(worker)
    runner.report(state="waiting_input")
    be_silent(worker, runner.run_id)
    result, (event,) = worker.told("lose_silent_runs")
    assert (result, event["type"], event["run"]["state"]) == ({"lost": 1}, "agent_run_changed", "lost")
    assert worker.send("lose_silent_runs") == {"lost": 0}
    assert other.report()["state"] == "running"
    # A heartbeat alone brings it back to where it was.
    assert runner.report()["state"] == "waiting_input"
    assert [state[:3] for state in states(worker, runner.run_id)[-2:]] == [
        ("waiting_input", "lost", "nothing was heard of its runner for 30 s"),
        ("lost", "waiting_input", "found again"),
    ]


def test_a_lost_run_does_not_come_back_once_its_task_is_in_other_hands(worker):
    worker.sql("insert into task_queues (agent_name) values ('codex') on conflict do nothing")
    task = worker.delegate()
    (claimed,) = worker.claim()
    runner = Runner(worker, task_id=claimed["task_id"], attempt=1)
    kept = Runner(worker, task_id=claimed["task_id"], attempt=1)
    for each in (runner, kept):
        be_silent(worker, each.run_id)
    worker.send("lose_silent_runs")
    assert kept.report(state="running")["state"] == "running"
    worker.let_leases_lapse()
    worker.send("expire_leases")
    refused = runner.report(state="running")
    assert (refused["code"], refused["details"]["reason"]) == ("conflict", "task_given_away")
    worker.claim(worker_id="w2")
    assert runner.report()["details"]["reason"] == "task_given_away"
    # How it ended is still worth knowing.
    assert runner.report(state="killed", signal="SIGTERM")["state"] == "killed"
    assert worker.task(task["task_id"])["claimed_by"] == "w2"


def test_lines_are_kept_once_and_without_a_gap(worker):
    runner = Runner(worker)
    done = runner.output(1, "one", "two", line("three", "stderr"))
    assert (done["next_line"], done["credit"]) == (4, pacing.AHEAD)
    assert runner.output(2, "two", "three", "four")["next_line"] == 5
    assert runner.output(1, "one")["next_line"] == 5
    refused = runner.output(7, "seven")
    assert (refused["code"], refused["details"]["expected"]) == ("conflict", 5)
    assert [(each["number"], each["stream"], each["text"]) for each in runner.lines()] == [
        (1, "stdout", "one"), (2, "stdout", "two"), (3, "stderr", "three"), (4, "stdout", "four"),
    ]  # fmt: skip
    run = worker.ask("get_run", run_id=runner.run_id)["run"]
    assert (run["lines"], run["bytes"]) == (4, len("onetwothreefour"))


def test_the_lines_of_many_commands_go_in_together(worker):
    runners = [Runner(worker), Runner(worker, session_id="s2")]
    commands = [
        ("agent_output", {"run_id": runner.run_id, "first_line": first, "lines": [line(f"{first}"), line("x")]})
        for first in (1, 3, 5)
        for runner in runners
    ]
    outcomes = worker.run(worker.write(*commands))
    assert [orjson.loads(each.reply)["result"]["output"]["next_line"] for each in outcomes] == [3, 3, 5, 5, 7, 7]
    events = [orjson.loads(event.body) for each in outcomes for event in each.events]
    assert [(event["session_id"], event["session_seq"], event["first_line"]) for event in events] == [
        ("s1", 2, 1), ("s2", 2, 1), ("s1", 3, 3), ("s2", 3, 3), ("s1", 4, 5), ("s2", 4, 5),
    ]  # fmt: skip
    assert {event["priority"] for event in events} == {"low"}
    assert [each["text"] for each in runners[1].lines()] == ["1", "x", "3", "x", "5", "x"]


def test_lines_that_were_stored_fill_no_audit_log(worker):
    runner = Runner(worker)
    worker.sql("truncate audit")
    runner.output(1, "one")
    assert worker.sql("select command from audit") == []
    runner.output(7, "gap")
    runner.report(state="completed")
    assert worker.sql("select command, outcome from audit order by 1") == [
        ("agent_output", "conflict"), ("agent_report", "ok"),
    ]  # fmt: skip


def test_any_bytes_come_back_as_they_were(worker):
    runner = Runner(worker)
    odd = "tab\tback\\slash \\N \\. \x1b[31mred\x1b[0m \u2028 \U0001f600"
    raw = b64encode(b"\xff\x00secret").decode()
    runner.output(1, odd, "", line(raw, encoding="base64"), line("> ", partial=True), line("yes", "input"))
    kept = runner.lines()
    assert [(each["text"], each["partial"], each["encoding"]) for each in kept] == [
        (odd, False, None), ("", False, None), (raw, False, "base64"), ("> ", True, None), ("yes", False, None),
    ]  # fmt: skip
    told = worker.ask("get_run", run_id=runner.run_id)["run"]["bytes"]
    assert told == sum(map(len, (odd.encode(), b"\xff\x00secret", b"> ", b"yes")))
    for wrong in (line("%%%", encoding="base64"), {**line("x"), "at": "2026-02-31T00:00:00Z"}):
        assert runner.output(6, wrong)["code"] == "invalid"
    assert len(runner.lines()) == 5


def test_no_secret_is_kept_or_told(worker):
    runner = Runner(worker)
    token = "ghp_" + "Ab3" * 12
    raw = b64encode(b"\xff " + token.encode()).decode()
    lines = [
        line(f"token {token}"),
        line("-----BEGIN RSA PRIVATE KEY-----"),
        line("MIIEpAIBAAKC"),
        line(raw, encoding="base64"),
    ]
    (outcome,) = worker.run(
        worker.write(("agent_output", {"run_id": runner.run_id, "first_line": 1, "lines": lines[:2]}))
    )
    assert token.encode() not in outcome.publications[0].body.encode()
    runner.output(3, *lines[2:])
    kept = "\n".join(each["text"] for each in runner.lines())
    assert token not in kept and "MIIEpAIB" not in kept and "[masked:github_token]" in kept
    said = runner.report(
        state="failed", error=f"could not log in with {token}", result={"password": "hunter2hunter2", "n": 1e2},
        activities=[{"kind": "tool_call", "data": {"env": [f"GH_TOKEN={token}"]}}],
    )  # fmt: skip
    assert token not in said["error"]
    assert "hunter2" not in str(said["result"])
    for (events,) in worker.sql("select events from handled_messages where events is not null"):
        assert token not in events and "hunter2" not in events


def test_a_chatty_run_is_slowed_down(worker):
    runner = Runner(worker)
    worker.sql("update agent_runs set paced_until = now() + interval '3 seconds'")
    assert 1.9 < runner.output(1, "x")["pause_s"] < 2.1
    worker.sql("update agent_runs set lines = 20000")
    assert runner.output(20_001, "x")["credit"] == pacing.LEAST_AHEAD


def test_lines_are_taken_whatever_became_of_the_run(worker):
    runner = Runner(worker)
    runner.report(state="completed")
    worker.sql("update sessions set status = 'completed' where id = 's1'")
    assert runner.output(1, "late")["next_line"] == 2
    stranger = worker.send("agent_output", run_id=new_id(), first_line=1, lines=[line("x")])
    assert stranger["code"] == "not_found"


def test_pages_of_lines(worker):
    runner = Runner(worker)
    runner.output(1, *[line(f"{n}", "stdout" if n % 2 else "stderr") for n in range(1, 11)])
    first = worker.ask("get_output", run_id=runner.run_id, limit=4)
    assert [each["number"] for each in first["lines"]] == [1, 2, 3, 4]
    second = worker.ask("get_output", run_id=runner.run_id, limit=6, cursor=first["next"])
    assert ([each["number"] for each in second["lines"]], second["next"]) == ([5, 6, 7, 8, 9, 10], None)
    assert [each["number"] for each in runner.lines(tail=True, limit=2)] == [9, 10]
    assert [each["number"] for each in runner.lines(after_line=6, stream="stderr")] == [8, 10]
    odd = worker.ask("get_output", run_id=runner.run_id, stream="stdout", limit=2)
    assert [each["number"] for each in odd["lines"]] == [1, 3]
    odd = worker.ask("get_output", run_id=runner.run_id, stream="stdout", limit=3, cursor=odd["next"])
    assert ([each["number"] for each in odd["lines"]], odd["next"]) == ([5, 7, 9], None)
    assert [each["number"] for each in runner.lines(stream="stdout", tail=True, limit=2)] == [7, 9]
    assert worker.ask("get_output", run_id=new_id())["code"] == "not_found"
    assert worker.ask("get_output", run_id=runner.run_id, session_id="s2")["code"] == "not_found"


def test_a_stream_is_looked_for_among_so_many_lines(worker, monkeypatch):
    monkeypatch.setattr(output, "LOOKED_AT", 4)
    runner = Runner(worker)
    runner.output(1, *[line(f"{n}", "stderr" if n == 7 else "stdout") for n in range(1, 9)])
    first = worker.ask("get_output", run_id=runner.run_id, stream="stderr")
    assert first["lines"] == [] and first["next"]
    second = worker.ask("get_output", run_id=runner.run_id, stream="stderr", cursor=first["next"])
    assert ([each["number"] for each in second["lines"]], second["next"]) == ([7], None)


def test_runs_are_listed_by_what_is_asked(worker):
    first = Runner(worker)
    second = Runner(worker, agent_name="claude_code", session_id="s2", task_id="t1")
    third = Runner(worker, session_id="s2", state="completed")

    def listed(**asked: Any) -> list[str]:
        found, cursor = [], {}
        while True:
            page = worker.ask("list_runs", limit=1, **asked, **cursor)
            found += [run["run_id"] for run in page["runs"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    assert listed() == [third.run_id, second.run_id, first.run_id]
    assert listed(agent_name="codex") == [third.run_id, first.run_id]
    assert listed(session_id="s2", agent_name="claude_code") == [second.run_id]
    assert listed(task_id="t1") == [second.run_id]
    assert listed(state="completed") == [third.run_id]
    assert listed(agent_name="codex", state="lost") == []
    assert listed(since=second.begun["started"]) == [third.run_id, second.run_id]
    assert listed(until=second.begun["started"]) == [first.run_id]
    assert worker.ask("list_runs", since="2026-02-31T00:00:00Z")["code"] == "invalid"


def test_activities_become_events_as_they_were_written(worker):
    runner = Runner(worker)
    data = f'{{"run_id":"{runner.run_id}","activities":[{{"kind":"tool_call","data":{{"z":1e2,"a":1}}}}]}}'
    (outcome,) = worker.run(worker.write(("agent_report", data)))
    (event,) = outcome.events
    assert '"data":{"z":1e2,"a":1}' in event.body
    assert orjson.loads(event.body)["type"] == "agent_activity"
    for wrong in (1, [1], [{"data": 1}], [{"kind": "x", "other": 1}], [{"kind": "x", "at": "now"}]):
        assert runner.report(activities=wrong)["code"] == "invalid"


def test_the_figures_of_an_agent(worker):
    for state in ("completed", "completed", "completed", "failed"):
        runner = Runner(worker)
        runner.output(1, "abc")
        runner.report(state=state, usage={"input_tokens": 5, "output_tokens": 2, "cost_usd": 0.25})
    Runner(worker, agent_name="claude_code")
    stats = worker.ask("agent_stats", agent_name="codex")["stats"]
    assert (stats["runs"], stats["by_state"], stats["success_rate"]) == (4, {"completed": 3, "failed": 1}, 0.75)
    assert (stats["lines"], stats["bytes"], stats["input_tokens"], stats["cost_usd"]) == (4, 12, 20, 1.0)
    assert stats["mean_duration_s"] > 0 and stats["p95_duration_s"] >= stats["median_duration_s"]
    nobody = worker.ask("agent_stats", agent_name="nobody")["stats"]
    assert (nobody["runs"], nobody["success_rate"], nobody["mean_duration_s"]) == (0, None, None)


def test_sessions_are_found_with_their_runs(worker):
    worker.sql("insert into sessions (id) values ('s3')")
    first, second, other = Runner(worker), Runner(worker), Runner(worker, agent_name="claude_code", session_id="s2")
    last = Runner(worker, session_id="s2")

    def found(**asked: Any) -> list[tuple[str, list[str]]]:
        sessions, cursor = [], {}
        while True:
            page = worker.ask("query_sessions", limit=1, **asked, **cursor)
            sessions += [(each["session_id"], [run["run_id"] for run in each["runs"]]) for each in page["sessions"]]
            if page["next"] is None:
                return sessions
            cursor = {"cursor": page["next"]}

    in_s1, in_s2 = ("s1", [second.run_id, first.run_id]), ("s2", [last.run_id, other.run_id])
    assert sorted(found()) == [in_s1, in_s2, ("s3", [])]
    assert found(agent_name="codex") == [("s2", [last.run_id]), in_s1]
    assert found(agent_name="claude_code") == [("s2", [other.run_id])]
    assert found(agent_name="codex", until=last.begun["started"]) == [in_s1]
    assert found(agent_name="codex", since=last.begun["started"]) == [("s2", [last.run_id])]
    assert found(agent_name="nobody") == []
    worker.sql("update sessions set status = 'completed' where id = 's1'")
    assert found(status="completed") == [in_s1]
    assert found(agent_name="codex", status="active") == [("s2", [last.run_id])]
    assert found(status="completed", until="2020-01-01T00:00:00Z") == []


def test_a_runners_own_last_lines_are_not_kept_since_only_the_stored_ones_are_masked_as_a_whole(worker):
    runner = Runner(worker)
    key = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "c2VjcmV0IGtleSBtYXRlcmlhbA=="]
    runner.output(1, *key)
    asked = worker.send("control_agent", run_id=runner.run_id, action="get_state", wait_s=0)["control"]
    last = [{"number": number, "stream": "stdout", "text": text} for number, text in enumerate(key, 1)]
    runner.report(control_id=asked["control_id"], control_result={"source": "runner", "last_output": last, "lines": 3})
    (control,) = worker.ask("get_run", run_id=runner.run_id)["run"]["controls"]
    assert control["result"]["lines"] == 3
    assert control["result"]["last_output"] == runner.lines()
    assert key[1] not in str(worker.sql("select * from agent_controls")) + str(
        worker.sql("select * from handled_messages")
    )
