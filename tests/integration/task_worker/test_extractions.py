"""What is found in runs' lines, on a real database."""

import hashlib
from typing import Any

import orjson
import pytest

from services.task_worker.extraction import Extractor, Finding
from services.task_worker.runs.extracting import Extracting
from services.task_worker.runs.retention import forget_old
from services.task_worker.store import extractions as store
from services.task_worker.store import output
from services.task_worker.store.rows import run
from shared.bus.commit import GroupCommit, Outcome
from shared.bus.replies import Handler
from shared.messages import Command
from tests.integration.task_worker.conftest import TaskWorker
from tests.integration.task_worker.runs_kit import EMPTY, Runner, line

CODE = ("```python", "print('hello')", "x = 1", "```")
CONTENT = "print('hello')\nx = 1"


class Local:
    """Runs the worker's own commands as its runtime does, without a broker; keeps their events."""

    def __init__(self, worker: TaskWorker) -> None:
        self.database = worker.database
        self.events: list[dict[str, Any]] = []

    async def run(self, command: Command, handler: Handler) -> Outcome:
        async with self.database.transaction() as tx:
            (outcome,) = await GroupCommit({command.spec.name: handler}, {}).run(tx, [command], patient=set())
        assert isinstance(outcome, Outcome)
        self.events += [orjson.loads(event.body) for event in outcome.events]
        return outcome


class Search(TaskWorker):
    """A task worker that looks through lines when it is told to."""

    extractor = Extractor()
    local: Local

    def look(self, *, everything: bool = True) -> list[dict[str, Any]]:
        """Look until there is nothing left, as a worker that has just started; what was told."""
        self.local = Local(self)

        async def look_on() -> None:
            while await Extracting(self.extractor).look(self.database, self.local, everything=everything):  # type: ignore[arg-type]
                pass

        self.run(look_on())
        return self.local.events

    def found(self, **asked: Any) -> list[dict[str, Any]]:
        """What was found, the oldest first."""
        page: list[dict[str, Any]] = self.ask("query_extractions", limit=500, **asked)["extractions"]
        return page[::-1]


@pytest.fixture(scope="module")
def module_worker(module_database_url: str):
    worker = Search(module_database_url)
    yield worker
    worker.close()


@pytest.fixture
def worker(module_worker: Search) -> Search:
    """A task worker with two sessions and no runs."""
    for statement in EMPTY.split(";"):
        if statement.strip():
            module_worker.sql(statement)
    return module_worker


def test_what_matters_is_found_and_told(worker):
    runner = Runner(worker, task_id="t1")
    runner.output(
        1, "$ rm -rf /", "see https://example.org/a and src/app.py",
        "Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "ValueError: no", "done",
    )  # fmt: skip
    told = worker.look()
    found = worker.found(run_id=runner.run_id)
    assert {"command", "url", "error"} <= {each["type"] for each in found}
    danger = next(each for each in found if each["type"] == "command")
    assert (danger["risk"], danger["first_line"], danger["session_id"], danger["task_id"]) == (
        "critical", 1, "s1", "t1",
    )  # fmt: skip
    assert {event["type"] for event in told} == {"extraction_found"}
    kinds = {event["extraction"]["type"] for event in told}
    assert {"command", "error"} <= kinds and not kinds & {"url", "file_path"}
    assert [event["session_seq"] for event in told] == list(range(3, 3 + len(told)))


def test_a_block_that_a_restart_divides_is_found_once(worker):
    runner = Runner(worker)
    for at, text in enumerate(CODE, 1):
        runner.output(at, text)
        worker.look()
    runner.report(state="completed", lines_given=4)
    worker.look()
    (block,) = worker.found(type="code_block")
    assert (block["first_line"], block["last_line"], block["data"]["language"]) == (1, 4, "python")
    assert "content" not in block["data"]
    kept = worker.ask("get_code_block", sha256=block["sha256"])["code_block"]
    assert (kept["content"].strip(), kept["seen"], kept["language"]) == (CONTENT, 1, "python")
    assert kept["sha256"] == hashlib.sha256(kept["content"].encode()).hexdigest()


def test_a_code_block_is_kept_once_with_its_places(worker):
    first, second = Runner(worker), Runner(worker, session_id="s2")
    first.output(1, *CODE, "between", *CODE)
    worker.look()
    second.output(1, "text", *CODE)
    worker.look()
    assert len(worker.found(type="code_block")) == 3
    ((sha256,),) = worker.sql("select sha256 from code_blocks")
    kept = worker.ask("get_code_block", sha256=sha256)["code_block"]
    assert (kept["seen"], kept["first_run_id"], kept["first_line"]) == (3, first.run_id, 1)
    assert (kept["last_run_id"], kept["last_line"]) == (second.run_id, 5)
    assert worker.ask("get_code_block", sha256="0" * 64)["code"] == "not_found"


def test_a_prompt_is_told_while_it_waits_and_once(worker):
    runner = Runner(worker)
    runner.output(1, line("Overwrite the file? [y/N] ", partial=True))
    told = worker.look(everything=False)
    assert [event["extraction"]["type"] for event in told] == ["confirmation"]
    assert worker.look() == []
    runner.output(2, line("y", "input"), line("", partial=False), "next")
    worker.look()
    assert len(worker.found(type="confirmation")) == 1


def test_few_lines_wait_for_more(worker):
    runner = Runner(worker)
    runner.output(1, "Error: one")
    assert worker.look(everything=False) == [] and worker.found() == []
    runner.output(2, *["x"] * (store.BATCH_LINES - 1))
    worker.look(everything=False)
    assert [each["type"] for each in worker.found()] == ["error"]
    runner.output(101, "Error: two", "x")
    worker.sql("update extraction_states set since = now() - interval '6 seconds'")
    worker.look(everything=False)
    assert [each["first_line"] for each in worker.found()] == [1, 101]


def test_what_was_still_open_is_found_when_the_run_has_ended(worker):
    runner = Runner(worker)
    runner.output(1, *CODE[:-1])
    worker.look()
    assert worker.found(type="code_block") == []
    # More lines than have come: they are waited for.
    runner.report(state="completed", lines_given=4)
    worker.look(everything=False)
    assert worker.found(type="code_block") == []
    runner.output(4, "x = 2")
    worker.look(everything=False)
    assert [each["data"]["closed"] for each in worker.found(type="code_block")] == [False]
    assert worker.sql("select count(*) from extraction_states where since is not null") == [(0,)]


def test_what_was_still_open_is_found_when_the_runner_of_a_lost_run_stays_away(worker):
    runner, back = Runner(worker), Runner(worker)
    for each in (runner, back):
        each.output(1, *CODE[:-1])
        be_silent(each.run_id, "31 seconds", worker)
    worker.look()
    worker.send("lose_silent_runs")
    # Its runner may come back: then it goes on where it was, and nothing is cut in two.
    assert worker.look() == [] and worker.found() == []
    assert back.report()["state"] == "running"
    back.output(4, "x = 2", "```")
    worker.look()
    assert [each["data"]["closed"] for each in worker.found(run_id=back.run_id)] == [True]

    be_silent(runner.run_id, "61 minutes", worker)
    worker.sql("update extraction_states set since = since - interval '1 hour'")
    worker.look(everything=False)
    found = worker.found(run_id=runner.run_id)
    assert [(each["type"], each["data"]["closed"]) for each in found] == [("code_block", False)]
    assert worker.sql("select count(*) from extraction_states where since is not null") == [(0,)]
    # Later than that it may still come back, and what it writes from there on is looked through.
    runner.report(state="running")
    runner.output(4, "Error: late", "x")
    worker.look()
    assert [each["type"] for each in worker.found(run_id=runner.run_id)] == ["code_block", "error"]


def be_silent(run_id: str, since: str, worker: Search) -> None:
    worker.sql(f"update agent_runs set heard = now() - interval '{since}' where run_id = '{run_id}'")


def test_two_workers_that_take_the_same_lines_find_each_thing_once(worker):
    runner = Runner(worker)
    runner.output(1, "Error: one", "x")

    async def take_twice() -> None:
        local = Local(worker)
        async with worker.database.transaction() as tx:
            taken = await store.take_run(tx, everything=True)
        async with worker.database.transaction() as tx:
            assert await store.take_run(tx, everything=True) is None
            await run(tx, "update extraction_states set lease = null")  # it has lapsed
        async with worker.database.transaction() as tx:
            again = await store.take_run(tx, everything=True)
        lines = await page(runner.run_id)
        for each in (taken, again):
            await Extracting(worker.extractor)._record(local, each, lines)

    async def page(run_id: str) -> Any:
        async with worker.database.reading() as tx:
            return await output.page_of_lines(tx, run_id, 0, 10)

    worker.run(take_twice())
    assert len(worker.found(type="error")) == 1


def test_extractions_are_asked_for_by_anything_together(worker):
    first, second = Runner(worker), Runner(worker, agent_name="claude_code", session_id="s2")
    first.output(1, "Error: one", "see https://example.org/First")
    worker.look()
    second.output(1, "Error: two", "$ sudo rm -rf /var")
    worker.look()

    def texts(**asked: Any) -> list[str]:
        return [each["text"] for each in worker.found(**asked)]

    assert len(texts(type="error")) == 2
    assert texts(type="error", agent_name="codex") == texts(session_id="s1", type="error")
    assert texts(run_id=second.run_id, type="error") == texts(agent_name="claude_code", type="error")
    assert len(texts(text="EXAMPLE.org/first")) >= 1
    assert {each["risk"] for each in worker.found(risk="critical")} <= {"critical"}
    (error,) = worker.found(session_id="s1", type="error")
    assert error in worker.found(pattern=error["pattern"], since=error["created"])
    assert error not in worker.found(pattern=error["pattern"], until=error["created"])
    everything = worker.found()
    seen, cursor = [], {}
    while True:
        page = worker.ask("query_extractions", limit=2, **cursor)
        seen += page["extractions"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen[::-1] == everything
    stats = worker.ask("agent_stats", agent_name="codex")["stats"]
    assert stats["extractions_by_type"]["error"] == 1
    assert stats["extractions"] == len(worker.found(agent_name="codex")) == sum(stats["extractions_by_risk"].values())


def test_old_output_is_forgotten_in_small_steps_and_the_counts_stay(worker):
    runner = Runner(worker)
    runner.output(1, "Error: one", *CODE)
    worker.look()
    runner.output(6, "new")
    for table, moment in (("agent_output", "stored"), ("extractions", "created"), ("code_blocks", "last_seen")):
        worker.sql(
            f"update {table} set {moment} = now() - interval '31 days'"
            f" {'where number < 6' if table == 'agent_output' else ''}"
        )
    counted = worker.ask("agent_stats", agent_name="codex")["stats"]["extractions"]
    gone = worker.run(forget_old(worker.database, 30, batch=2))
    assert (gone["lines"], gone["extractions"], gone["code_blocks"]) == (5, counted, 1)
    assert [each["number"] for each in runner.lines()] == [6]
    assert worker.found() == []
    assert worker.ask("agent_stats", agent_name="codex")["stats"]["extractions"] == counted
    assert runner.output(1, "Error: one")["next_line"] == 7


def test_what_no_text_may_hold_is_found_in_an_agents_json_and_does_not_end_the_worker(worker):
    runner = Runner(worker)
    runner.output(
        1,
        r'{"type":"assistant","message":{"content":[{"type":"tool_use","id":"\ud800","name":"Bash","input":'
        r'{"command":"rm -rf a\u0000b\udfff"}}]}}',
        r'{"type":"user","message":{"content":[{"type":"tool_result","content":'
        r'"Error: a\u0000b\ud800\n```\n\u0000\n```"}]}}',
    )  # fmt: skip
    worker.look()
    found = {each["type"]: each["text"] for each in worker.found(run_id=runner.run_id)}
    assert set(found) == {"tool_call", "command", "error", "code_block"}
    assert found["command"] == "rm -rf a\ufffdb\ufffd"


def test_lines_whose_findings_can_not_be_kept_are_passed_over(worker, monkeypatch):
    runner = Runner(worker)
    runner.output(1, "Error: one")
    with monkeypatch.context() as broken:
        broken.setattr(Extractor, "feed", lambda *_: ({}, [Finding("error", "e", "nowhere", False, "x", 1, 1)]))
        worker.look()
    runner.output(2, "Error: two", "x")
    worker.look()
    assert [each["text"] for each in worker.found(run_id=runner.run_id)] == ["Error: two"]
