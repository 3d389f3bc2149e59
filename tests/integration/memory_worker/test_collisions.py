"""Two agents who write one memory at once: both versions are kept, and one review of both is asked for."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from services.session_worker.batch import HANDLERS as BATCH
from shared.bus.commit import Outcome
from shared.bus.follow_ups import follow_up_id
from shared.bus.topology import COMMANDS
from shared.messages import decode_command, new_id
from tests.faults.crashing import MARK
from tests.integration.handling import result_of
from tests.integration.task_worker.replicas import Ask, Replicas
from tests.waiting import eventually_async


def note(key: str = "plan", content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"session_id": "s1", "type": "fact", "key": key, "content": content, **more}


def write(worker, *writes: tuple[str, dict[str, Any]], **envelope: Any) -> list[Outcome]:
    """Memories of several agents, in one batch."""
    outcomes: list[Outcome] = worker.run(
        worker.commit(*(worker.command("store_memory", data, sender=sender, **envelope) for sender, data in writes))
    )
    return outcomes


def reviews(*outcomes: Outcome) -> list[Any]:
    """The data of the reviews that are asked for, as their worker will read them."""
    sent = [each for outcome in outcomes for each in outcome.publications if each.exchange == COMMANDS]
    assert {each.routing_key for each in sent} <= {"sidebar.spawn_sidebar"}
    return [decode_command(each.body.encode()).data for each in sent]


def test_a_review_names_both_authors_and_both_versions(worker):
    write(worker, ("ada", note(content="one")))
    (outcome,) = write(worker, ("bob", note(content="two")), message_id="m2", priority="critical")
    assert result_of(outcome)["memory"]["version"] == 2
    (review,) = reviews(outcome)
    assert (review.session_id, review.participants, review.review_of) == ("s1", ["ada", "bob"], "plan")
    assert (review.task_description, review.priority) == ("Review simultaneous findings: plan", "normal")
    assert review.success_criteria == "Consolidate both findings into one"
    assert review.data_refs.value() == {
        f"plan@{version}": {"memory": {"session_id": "s1", "key": "plan", "version": version}, "author": author}
        for version, author in ((1, "ada"), (2, "bob"))
    }
    sent = orjson.loads(outcome.publications[-1].body)
    assert (sent["sender_agent_id"], sent["message_id"], sent["priority"]) == (
        "system",
        follow_up_id("m2", 0),
        "normal",
    )
    history = worker.ask("memory_history", session_id="s1", key="plan")["versions"]
    assert [(each["author"], each["content"]) for each in history] == [("bob", "two"), ("ada", "one")]


def test_two_writers_in_one_batch_have_met_too_and_of_three_it_is_one_review(worker):
    outcomes = write(
        worker,
        ("ada", note("two")),
        ("ada", note("three")),
        ("bob", note("two")),
        ("bob", note("three")),
        ("carl", note("three")),
        ("bob", note("three")),
    )
    assert [len(reviews(each)) for each in outcomes] == [0, 0, 1, 0, 0, 1]
    two, three = reviews(*outcomes)
    assert (two.review_of, two.participants) == ("two", ["ada", "bob"])
    assert (three.review_of, three.participants) == ("three", ["ada", "bob", "carl"])
    assert list(three.data_refs.value()) == [f"three@{version}" for version in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("between", "sender", "guard", "met"),
    [
        ("select 1", "bob", {}, True),
        ("select 1", "ada", {}, False),
        ("select 1", "bob", {"if_version": 1}, False),
        ("update memories set updated = updated - interval '1.5 s'", "bob", {}, True),
        ("update memories set updated = updated - interval '2 s'", "bob", {}, False),
        ("update memories set forgotten = '{}'", "bob", {}, False),
    ],
    ids=["another", "the same", "guarded", "within two seconds", "later", "forgotten"],
)  # fmt: skip
def test_only_another_author_at_nearly_the_same_time_unknowingly_is_met(worker, between, sender, guard, met):
    write(worker, ("ada", note()))
    worker.sql(between)
    (outcome,) = write(worker, (sender, note(content="other", **guard)))
    assert result_of(outcome)["memory"]["version"] == 2
    assert len(reviews(outcome)) == met


def test_a_guard_that_refuses_meets_nobody(worker):
    write(worker, ("ada", note()))
    (outcome,) = write(worker, ("bob", note(if_version=7)))
    assert (result_of(outcome)["code"], outcome.publications) == ("conflict", [])


def test_what_is_only_recalled_meets_nobody(worker):
    write(worker, ("ada", note()))
    (outcome,) = write(worker, ("bob", {"session_id": "s1", "type": "fact", "content": "x"}))
    assert result_of(outcome)["recalled"]
    assert outcome.publications == []


def test_imported_versions_meet_nobody(worker):
    write(worker, ("ada", note()), ("ada", note(content="y")))
    exported = worker.sql("select now() as moment")[0].moment.isoformat()
    record = {
        "type": "fact", "content": "x", "tags": [], "message_id": "m", "created": exported, "updated": exported,
        "forgotten": None,
    }  # fmt: skip
    records = [
        {**record, "key": "other", "version": 2, "author": "bob", "replaced": None},
        {**record, "key": "other", "version": 1, "author": "ada", "replaced": exported},
    ]
    (outcome,) = worker.run(worker.commit(worker.command("import_memories", {"session_id": "s1", "records": records})))
    assert result_of(outcome) == {"imported": 2}
    assert outcome.publications == []


def test_many_versions_of_long_names_fit_into_what_a_sidebar_can_refer_to(worker):
    names = [f"{n:03}" + "é" * 250 for n in range(40)]
    outcomes = write(worker, *((name, note("ü" * 255)) for name in names))
    (review,) = reviews(*outcomes)
    assert (review.participants, len(review.data_refs.value())) == (names, 12)
    assert len(review.data_refs.text) < 64_000


def test_a_review_that_would_be_a_hop_too_far_is_left_out_and_the_memory_is_kept(worker):
    (_, outcome) = write(worker, ("ada", note()), ("bob", note()), hops=15)
    assert (result_of(outcome)["memory"]["version"], reviews(outcome)) == (2, [])


def test_within_a_batch_of_commands_the_review_is_the_batchs(worker, monkeypatch):
    monkeypatch.setattr(worker, "handlers", {**worker.handlers, **BATCH}, raising=False)
    write(worker, ("ada", note()))
    commands = [{"command": "store_memory", "data": note()} for _ in range(2)]
    batch = worker.command("batch", {"commands": commands}, sender="bob", message_id="b1")
    (outcome,) = worker.run(worker.commit(batch))
    (review,) = reviews(outcome)
    assert (review.participants, list(review.data_refs.value())) == (["ada", "bob"], ["plan@1", "plan@2"])
    assert outcome.publications[-1].message_id == follow_up_id("b1", 0)
    assert orjson.loads(outcome.publications[-1].body)["correlation_id"] == "b1"


@pytest.fixture
def replicas(database_url: str, fresh_amqp_url: str) -> Iterator[Replicas]:
    """None runs yet."""
    made = Replicas(fresh_amqp_url, database_url)
    made.sql("insert into sessions (id) values ('s1')")
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def test_two_agents_at_once_through_two_workers_get_one_review_though_a_worker_is_killed(replicas):
    """The first worker dies between the commit of a version that met another and the first publish."""
    doomed = new_id()

    async def talk(ask: Ask) -> None:
        replicas.start("tests.faults.crashing", "memory_worker", "after_commit")
        replicas.start("services.session_worker")
        await ask("store_memory", by="ada", **note("killed", "one"))
        answer = asyncio.ensure_future(ask("store_memory", by="bob", message_id=doomed, **note("killed", MARK)))
        assert await asyncio.to_thread(replicas.processes[0].wait, 20) == -9
        assert replicas.sql("select version from memories where key = 'killed'") == [(2,)]
        for _ in range(2):
            replicas.start("services.memory_worker")
        assert (await answer)["memory"]["version"] == 2

        keys = [f"k{n}" for n in range(6)]
        await asyncio.gather(*(ask("store_memory", by=agent, **note(key, agent)) for key in keys for agent in "ab"))

        async def all_open() -> bool:
            found = replicas.sql("select review_of from sidebars order by review_of")
            return found == [(key,) for key in [*keys, "killed"]]

        await eventually_async(all_open, 20)
        (review,) = [each for each in (await ask("list_sidebars"))["sidebars"] if each["review_of"] == "killed"]
        assert (review["participants"], sorted(review["data_refs"])) == (["ada", "bob"], ["killed@1", "killed@2"])
        for key in keys:
            history = (await ask("memory_history", session_id="s1", key=key))["versions"]
            assert sorted(each["author"] for each in history) == ["a", "b"]
        merged = await ask("merge_sidebar", sidebar_id=review["sidebar_id"], findings="both")
        assert merged["sidebar"]["status"] == "merged"
        # Closed: who meets again gets another one.
        await asyncio.gather(*(ask("store_memory", by=agent, **note("killed", agent)) for agent in "ab"))

        async def another() -> bool:
            return replicas.sql("select count(*) from sidebars where review_of = 'killed'") == [(2,)]

        await eventually_async(another, 20)

    replicas.run(talk)
    assert replicas.sql("select count(*) from dead_letters") == [(0,)]
