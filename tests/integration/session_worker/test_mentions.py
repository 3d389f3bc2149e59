"""Mentions made, listed, marked and let go, on a real database."""

import asyncio

import pytest

from services.session_worker import mentions
from services.session_worker.maintenance import expire_live
from tests.integration.handling import events_of, result_of


def waiting(worker, agent):
    return [each["message"] for each in worker.ask("list_mentions", agent_id=agent)["mentions"]]


def mention(worker, *agents, message="look", **options):
    data = {"target_agents": list(agents), "message": message, **options.pop("data", {})}
    return worker.outcomes(worker.command("mention", data, **options))[0]


def test_each_agent_has_an_event_of_its_own_under_the_mentions_id(worker):
    worker.do("create_session", session_id="s1")
    data = {"session_id": "s1", "context_refs": ["pr-7"], "priority": "urgent"}
    outcome = mention(worker, "ada", "b.ob", "ada", message="down!", data=data, sender="carl", hops=3, message_id="m1")
    made, events = result_of(outcome)["mentions"], events_of(outcome)
    assert [each["mention_id"] for each in made] == [each["message_id"] for each in events]
    assert [each.routing_key for each in outcome.events] == ["agent.ada.mentioned", "agent.b_ob.mentioned"]
    for agent, event in zip(["ada", "b.ob"], events, strict=True):
        assert (event["agent_id"], event["target_agents"]) == (agent, ["ada", "b.ob"])
        assert (event["message"], event["context_refs"], event["priority"]) == ("down!", ["pr-7"], "critical")
        assert (event["sender_agent_id"], event["correlation_id"], event["hops"]) == ("carl", "m1", 3)
        assert (event["session_id"], event["participants"]) == ("s1", None)
    assert [each["session_seq"] for each in events] == [2, 3]
    (kept,) = worker.ask("list_mentions", agent_id="ada")["mentions"]
    assert kept == made[0] == events[0]["mention"]


def test_a_mention_has_its_commands_priority_unless_it_says_another(worker):
    assert events_of(mention(worker, "ada", priority="low"))[0]["priority"] == "low"
    assert events_of(mention(worker, "ada", priority="low", data={"priority": "high"}))[0]["priority"] == "high"


def test_mentions_are_listed_in_the_order_in_which_they_were_made(worker):
    told = [f"n{n}" for n in range(6)]
    worker.outcomes(*(worker.command("mention", {"target_agents": ["ada"], "message": each}) for each in told[:4]))
    for each in told[4:]:
        mention(worker, "ada", message=each)
    assert waiting(worker, "ada") == told
    assert [each["message"] for each in worker.ask("list_mentions", agent_id="ada", limit=2)["mentions"]] == told[:2]
    whole = worker.ask("list_mentions", agent_id="ada")["mentions"]
    assert worker.ask("list_mentions", agent_id="ada", after=whole[1]["mention_id"])["mentions"] == whole[2:]
    assert worker.ask("list_mentions", agent_id="ada", after="gone")["mentions"] == whole
    assert waiting(worker, "bob") == []


def test_what_has_reached_its_agent_is_let_go_once(worker):
    ids = [result_of(mention(worker, "ada"))["mentions"][0]["mention_id"] for _ in range(3)]
    assert worker.do("mark_mentions", mention_ids=[ids[1], "unknown", ids[0]]) == {"reached": 2}
    assert worker.do("mark_mentions", mention_ids=ids) == {"reached": 1}
    assert waiting(worker, "ada") == []


def test_an_agent_that_never_comes_has_the_latest_thousand_waiting(worker):
    worker.sql("""
        insert into mentions (mention_id, agent_id, author, message, target_agents, context_refs, priority, hops, trust)
        select 'm' || n, 'ada', 'x', n, '{}', '{}', 'normal', 0, 'trusted' from generate_series(1, 1000) as n
    """)
    mention(worker, "ada", "bob", message="the last")
    (count,), (oldest,) = (
        worker.sql(f"select {what} from mentions where agent_id = 'ada'")[0] for what in ("count(*)", "min(number)")
    )
    assert (count, worker.sql("select message from mentions where number = :n", n=oldest)[0][0]) == (1000, "2")
    assert waiting(worker, "bob") == ["the last"]


def test_a_mention_nobody_came_for_goes_after_a_week(worker):
    mention(worker, "ada", message="old")
    worker.sql("update mentions set created = now() - interval '7 days 1 minute'")
    mention(worker, "ada", message="new")
    assert worker.run(expire_live(worker.database)) == 1
    assert waiting(worker, "ada") == ["new"]


def test_a_session_that_does_not_exist_is_not_found_and_a_closed_one_may_be_spoken_of(worker):
    assert result_of(mention(worker, "ada", data={"session_id": "none"}))["code"] == "not_found"
    worker.do("create_session", session_id="s1")
    worker.do("complete_session", session_id="s1")
    assert result_of(mention(worker, "ada", data={"session_id": "s1"}))["mentions"]


def test_untrusted_text_stays_so_in_what_waits(worker):
    assert events_of(mention(worker, "ada", trust="untrusted"))[0]["trust"] == "untrusted"
    assert worker.ask("list_mentions", agent_id="ada")["mentions"][0]["trust"] == "untrusted"


def test_mentions_and_marks_at_once_do_not_wait_for_each_other_for_ever(worker):
    ids = [each["mention_id"] for n in range(20) for each in result_of(mention(worker, f"a{n % 4}", "b"))["mentions"]]

    async def at_once():
        async with asyncio.timeout(15):
            await asyncio.gather(
                *(worker.commit(worker.command("mark_mentions", {"mention_ids": each})) for each in (ids, ids[::-1])),
                *(
                    worker.commit(worker.command("mention", {"target_agents": ["b", f"a{n}"], "message": "x"}))
                    for n in range(4)
                ),
            )

    worker.run(at_once())
    assert len(waiting(worker, "b")) == 4
    assert mentions.MOST_WAITING == 1_000


@pytest.fixture
def sidebar(worker):
    worker.do("create_session", session_id="s1")
    worker.do("spawn_sidebar", session_id="s1", sidebar_id="sb1", participants=["ada", "bob"], task_description="x")


@pytest.mark.usefixtures("sidebar")
def test_within_a_sidebar_its_participants_reach_each_other(worker):
    (event,) = events_of(mention(worker, "bob", data={"sidebar_id": "sb1"}, sender="ada"))
    assert (event["session_id"], event["sidebar_id"], event["participants"]) == ("s1", "sb1", ["ada", "bob"])
    assert event["session_seq"] == 3
    (kept,) = worker.ask("list_mentions", agent_id="bob")["mentions"]
    assert (kept["session_id"], kept["sidebar_id"]) == ("s1", "sb1")


@pytest.mark.parametrize(
    ("targets", "data", "options", "code"),
    [
        (["carl"], {}, {"sender": "ada"}, "forbidden"),
        (["bob"], {}, {"sender": "carl"}, "forbidden"),
        (["bob"], {}, {"sender": "carl", "by_admin": True}, None),
        (["carl"], {}, {"sender": "carl", "by_admin": True}, "forbidden"),
        (["bob"], {"session_id": "s1"}, {"sender": "ada"}, None),
        (["bob"], {"session_id": "s2"}, {"sender": "ada"}, "invalid"),
        (["bob"], {"sidebar_id": "none"}, {"sender": "ada"}, "not_found"),
    ],
)
@pytest.mark.usefixtures("sidebar")
def test_nobody_else_reaches_into_a_sidebar_or_out_of_it(worker, targets, data, options, code):
    outcome = mention(worker, *targets, data={"sidebar_id": "sb1", **data}, **options)
    assert result_of(outcome).get("code") == code
    assert len(outcome.events) == (code is None)


@pytest.mark.usefixtures("sidebar")
def test_of_a_long_post_a_mention_has_the_beginning_and_refers_to_the_rest(worker):
    data = {"sidebar_id": "sb1", "text": "@bob " + "x" * 90_000}
    (outcome,) = worker.outcomes(worker.command("post_to_sidebar", data, sender="ada"))
    (kept,) = worker.ask("list_mentions", agent_id="bob")["mentions"]
    assert (len(kept["message"]), kept["message"][:7], kept["message"][-1]) == (10_000, "@bob xx", "…")
    assert kept["context_refs"] == [result_of(outcome)["exchange"]["exchange_id"]]


@pytest.mark.usefixtures("sidebar")
def test_what_a_mention_says_is_told_to_its_sender_and_admins_alone(worker):
    data = {"target_agents": ["bob"], "message": "secret", "sidebar_id": "sb1"}
    worker.outcomes(worker.command("mention", data, message_id="m1", caller="alice"))
    assert worker.ask("get_command", message_id="m1", asker="mallory")["code"] == "forbidden"
    for who in ({"asker": "alice"}, {"asker": "root", "admin": True}):
        (told,) = worker.ask("get_command", message_id="m1", **who)["result"]["mentions"]
        assert told["message"] == "secret"
