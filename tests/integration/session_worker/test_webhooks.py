"""receive_webhook and what is read of deliveries, on a real database."""

import asyncio
import dataclasses
import json
from datetime import timedelta

from shared.bus.topology import COMMANDS
from shared.messages import decode_command
from shared.messages.envelope import delivery_message_id

PAYLOAD = '{"zeta":1e5,"alpha":36893488147419103232,"t":"caf\\u00e9","n":-0.0,"list":[1.0,1.00],"zeta":2}'


def a_webhook(worker, delivery="d1", payload=PAYLOAD, source="github", **more):
    fields = {"source": source, "event": "push", "delivery_id": delivery, **more}
    text = json.dumps(fields)[:-1] + f',"payload":{payload}}}'
    return worker.command("receive_webhook", text, message_id=delivery_message_id(source, delivery))


def test_a_delivery_is_recorded_and_told_with_its_payload_untouched(worker):
    (outcome,) = worker.outcomes(a_webhook(worker, action="opened"))
    assert f'"payload":{PAYLOAD}' in outcome.events[0].body
    assert outcome.events[0].routing_key == "webhook.github.push"
    event = json.loads(outcome.events[0].body)
    assert (event["type"], event["source"], event["event"], event["action"], event["delivery_id"]) == (
        "webhook", "github", "push", "opened", "d1",
    )  # fmt: skip
    assert worker.sql("select payload::text as it from deliveries")[0].it == PAYLOAD
    assert f'"payload":{PAYLOAD}'.encode() in worker.ask_text("get_delivery", delivery_id="d1")
    assert b"zeta" not in outcome.reply


def test_payloads_that_are_no_objects_are_the_same_json_afterwards(worker):
    payloads = ["1e5", '"text \\ud83d\\ude00"', "null", "true", "[1.0]", '""', "36893488147419103232"]
    outcomes = worker.outcomes(*(a_webhook(worker, f"d{n}", payload) for n, payload in enumerate(payloads)))
    for payload, outcome in zip(payloads, outcomes, strict=True):
        assert f'"payload":{payload}' in outcome.events[0].body
    for n, payload in enumerate(payloads):
        delivery = worker.ask("get_delivery", delivery_id=f"d{n}")["delivery"]
        assert delivery["payload"] == json.loads(payload)


def test_a_copy_makes_no_second_event_and_gets_the_same_reply(worker):
    (first,) = worker.outcomes(a_webhook(worker))
    (copy,) = worker.outcomes(a_webhook(worker, payload="{}"))
    assert copy.reply == first.reply
    assert copy.outcome == "repeated"


def test_a_copy_after_its_record_has_expired_makes_no_second_event(worker):
    (first,) = worker.outcomes(a_webhook(worker))
    worker.sql("delete from handled_messages")
    (late, other) = worker.outcomes(a_webhook(worker, payload="{}"), a_webhook(worker, "d2"))
    assert (late.reply, late.events) == (first.reply, [])
    assert len(other.events) == 1
    assert worker.sql("select count(*) from deliveries")[0][0] == 2


def test_a_delivery_a_hundred_times_at_once_is_one_row_and_one_event(worker):
    async def all_at_once():
        return await asyncio.gather(*(worker.commit(a_webhook(worker)) for _ in range(100)))

    outcomes = [outcome for (outcome,) in worker.run(all_at_once())]
    assert len({outcome.reply for outcome in outcomes}) == 1
    assert len({event.message_id for outcome in outcomes for event in outcome.events}) == 1
    assert worker.sql("select count(*) from deliveries")[0][0] == 1


def test_a_batch_of_large_payloads_is_written_in_pieces(worker):
    payload = json.dumps({"x": "y" * 3_000_000})
    outcomes = worker.outcomes(*(a_webhook(worker, f"d{n}", payload) for n in range(7)))
    assert [outcome.outcome for outcome in outcomes] == ["ok"] * 7
    assert worker.sql("select count(*) from deliveries where length(payload::text) > 3000000")[0][0] == 7


def test_records_of_webhooks_are_kept_a_week(worker):
    worker.outcomes(a_webhook(worker))
    (row,) = worker.sql("select expires_at - handled_at as kept from handled_messages")
    assert row.kept == timedelta(days=7)


def test_deliveries_are_listed_newest_first_page_by_page(worker):
    for start in range(0, 60, 20):
        worker.outcomes(
            *(a_webhook(worker, f"d{n}", source="github" if n % 3 else "other") for n in range(start, start + 20))
        )
    expected = worker.sql("select delivery_id from deliveries order by received desc, message_id desc")
    listed = worker.all_pages("list_deliveries", "deliveries", limit=7)
    assert [each["delivery_id"] for each in listed] == [row.delivery_id for row in expected]
    assert all(each["payload"] is None for each in listed)
    assert len(worker.all_pages("list_deliveries", "deliveries", limit=7, source="other")) == 20


def test_a_delivery_is_found_by_either_id_and_the_newest_of_two_sources_counts(worker):
    worker.outcomes(a_webhook(worker, source="first"))
    worker.outcomes(a_webhook(worker, source="second"))
    assert worker.ask("get_delivery", delivery_id="d1")["delivery"]["source"] == "second"
    by_message = worker.ask("get_delivery", delivery_id=delivery_message_id("first", "d1"))
    assert by_message["delivery"]["source"] == "first"
    assert worker.ask("get_delivery", delivery_id="none")["code"] == "not_found"


def test_what_became_of_a_command_is_told_as_it_was_replied(worker):
    done = worker.command("create_session", '{"session_id":"s1","initial":{"n":1e5}}')
    failed = worker.command("create_session", {"session_id": "s1"})
    worker.outcomes(done, failed)
    assert b'"initial":{"n":1e5}' in worker.ask_text("get_command", message_id=done.message_id)
    assert worker.ask("get_command", message_id=done.message_id)["status"] == "done"
    answer = worker.ask("get_command", message_id=failed.message_id)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "conflict")
    assert worker.ask("get_command", message_id="none")["code"] == "not_found"


def test_a_delivery_is_told_again_as_the_same_untrusted_event_with_another_id(worker):
    (first,) = worker.outcomes(a_webhook(worker, action="opened"))
    asked = worker.command("redeliver_delivery", {"delivery_id": "d1"})
    (again,) = worker.outcomes(asked)
    before, after = json.loads(first.events[0].body), json.loads(again.events[0].body)
    assert f'"payload":{PAYLOAD}' in again.events[0].body
    assert again.events[0].routing_key == "webhook.github.push"
    assert (after["redelivered"], after["trust"], after["correlation_id"]) == (True, "untrusted", asked.message_id)
    assert after["message_id"] == json.loads(again.reply)["result"]["message_id"] != before["message_id"]
    assert "redelivered" not in before
    assert before.keys() <= after.keys()
    assert b"zeta" not in again.reply


def test_a_delivery_nobody_knows_is_not_told_again(worker):
    assert worker.do("redeliver_delivery", delivery_id="nothing")["code"] == "not_found"


SAID = {"room_id": "4", "bot_id": "bender", "user_name": "Jason", "text": "hi", "reply_to": "s1.sealed"}


def said_by(outcome):
    """The commands that follow from a webhook."""
    return [each for each in outcome.publications if each.exchange == COMMANDS]


def test_what_a_chat_server_says_to_a_bot_is_said_once_and_is_no_hop_further(worker):
    (first,) = worker.outcomes(a_webhook(worker, source="campfire", chat=SAID))
    (published,) = said_by(first)
    command = decode_command(published.body.encode())
    assert published.routing_key.startswith("chat.chat_message.")
    assert (command.spec.name, command.hops, command.trust) == ("chat_message", 0, "untrusted")
    assert command.data.model_dump(exclude_none=True) == SAID
    assert "sealed" not in first.events[0].body

    (copy,) = worker.outcomes(a_webhook(worker, source="campfire", chat={**SAID, "reply_to": "s1.sealed-again"}))
    assert (copy.outcome, copy.reply) == ("repeated", first.reply)
    assert {each.body for each in said_by(copy)} <= {published.body}
    worker.sql("delete from handled_messages")
    (late,) = worker.outcomes(a_webhook(worker, source="campfire", chat=SAID))
    assert said_by(late) == []


def test_what_came_by_somebodys_key_is_said_as_that(worker):
    webhook = dataclasses.replace(a_webhook(worker, source="our_chat", chat=SAID), caller="ci")
    (published,) = said_by(worker.outcomes(webhook)[0])
    assert decode_command(published.body.encode()).caller == "ci"


def test_what_a_bot_says_to_a_bot_says_so(worker):
    (outcome,) = worker.outcomes(a_webhook(worker, source="campfire", chat=SAID, chat_hops=15))
    assert decode_command(said_by(outcome)[0].body.encode()).hops == 15
