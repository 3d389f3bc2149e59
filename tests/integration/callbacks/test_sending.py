"""Callbacks sent to a real receiver: delivered, repeated, given up, and what is told of it."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.task_worker.callbacks import store
from services.task_worker.callbacks.signing import Signer
from tests.integration.callbacks.conftest import SECRET
from tests.integration.callbacks.receiver import Answer

OTHER_SECRET = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhlc2UgdGVzdHM="


def due_in(row) -> float:
    return (datetime.fromisoformat(row["next_attempt"]) - datetime.now(UTC)).total_seconds()


def test_a_callback_is_delivered_once_and_verified_by_the_standard_library(desk, receiver):
    message_id = desk.owe(receiver.url, answer=42)
    (row,) = desk.send()
    assert (row["status"], row["url"], row["next_attempt"]) == ("delivered", receiver.url, None)
    assert [(each["number"], each["status"], each["error"]) for each in row["attempts"]] == [(1, 204, None)]
    assert row["finished"] is not None

    (got,) = receiver.received
    body = got.verified(SECRET)
    assert body["type"] == "command_reply"
    assert body["data"] == {
        "message_id": message_id, "command": "get_session", "status": "done", "result": {"answer": 42},
    }  # fmt: skip
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert got.webhook_id == row["callback_id"]
    assert got.path == "/hook?room=7"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert "cookie" not in got.headers
    assert desk.sql("select body from callbacks")[0].body is None


def test_a_forged_body_is_not_verified(desk, receiver):
    desk.owe(receiver.url)
    desk.send()
    (got,) = receiver.received
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"done", b"gone"), got.headers)


def test_while_secrets_are_changed_both_sign(desk, receiver):
    desk.owe(receiver.url)
    desk.send(secret=f"{OTHER_SECRET} {SECRET}")
    (got,) = receiver.received
    assert got.verified(SECRET) == got.verified(OTHER_SECRET)


def test_a_receiver_in_trouble_is_tried_again_later_with_the_same_id(desk, receiver):
    receiver.answers = [Answer(500, body=b"out of memory \x00" + b"x" * 5_000), Answer(200)]
    desk.owe(receiver.url)
    (row,) = desk.send()
    assert row["status"] == "pending"
    assert 3 < due_in(row) < 7
    (attempt,) = row["attempts"]
    assert attempt["status"] == 500
    assert attempt["response"].startswith("out of memory")
    assert len(attempt["response"]) == 200

    desk.hurry()
    (row,) = desk.send(2)
    assert row["status"] == "delivered"
    assert [each["status"] for each in row["attempts"]] == [500, 200]
    first, second = receiver.received
    assert first.webhook_id == second.webhook_id
    assert first.body == second.body


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True), 600),
        ("999999", 3600),
        ("soon", 5),
        ("-7", 5),
    ],
)
def test_the_wish_of_an_overloaded_receiver_is_honoured_within_limits(desk, receiver, value, seconds):
    receiver.answers = [Answer(503, {"Retry-After": value() if callable(value) else value})]
    desk.owe(receiver.url)
    (row,) = desk.send()
    assert row["status"] == "pending"
    assert seconds * 0.7 < due_in(row) < seconds * 1.3


def test_gone_is_the_end(desk, receiver):
    receiver.answers = [Answer(410)]
    desk.owe(receiver.url)
    (row,) = desk.send()
    assert (row["status"], row["next_attempt"], row["attempts"][0]["status"]) == ("gone", None, 410)


def test_after_a_day_it_is_given_up(desk, receiver):
    receiver.answers = [Answer(500)]
    desk.owe(receiver.url)
    desk.sql("update callbacks set created = now() - interval '24 hours'")
    (row,) = desk.send()
    assert (row["status"], row["next_attempt"]) == ("failed", None)


def test_a_redirect_is_not_followed_but_refused_and_told(desk, receiver, make_receiver):
    elsewhere = make_receiver()
    receiver.answers = [Answer(307, {"Location": elsewhere.url})]
    desk.owe(receiver.url)
    (row,) = desk.send()
    assert row["status"] == "refused"
    assert row["attempts"][0]["status"] == 307
    assert elsewhere.url in row["attempts"][0]["error"]
    assert elsewhere.received == []


def test_a_receiver_that_does_not_answer_costs_its_deadline_and_no_more(desk, receiver):
    hold = threading.Event()
    receiver.answers = [Answer(hold=hold)]
    desk.owe(receiver.url)
    (row,) = desk.send(deadline=0.2)
    hold.set()
    assert row["status"] == "pending"
    assert row["attempts"][0]["error"] == "no answer within 0.2 s"
    # A loop's timer may fire a millisecond early.
    assert 190 <= row["attempts"][0]["ms"] < 2_000


def test_a_receiver_that_is_not_there_is_tried_again(desk, make_receiver, receiver):
    desk.owe(receiver.url.replace(str(receiver.port), "1"))
    (row,) = desk.send()
    assert row["status"] == "pending"
    assert "127.0.0.1: Connect" in row["attempts"][0]["error"]


def test_a_bug_of_ours_is_an_attempt_that_failed(desk, receiver):
    async def broken(host, port):
        raise RuntimeError("a bug")

    desk.owe("http://hooks.example.com/")
    desk.owe(receiver.url)
    first, second = desk.send(2, resolver=broken)
    assert (first["status"], first["attempts"][0]["error"]) == ("pending", "RuntimeError: a bug")
    assert second["status"] == "delivered"


def test_slow_receivers_do_not_keep_others_waiting(desk, receiver, make_receiver):
    slow, hold = make_receiver(), threading.Event()
    slow.answers = [Answer(hold=hold) for _ in range(20)]
    for _ in range(20):
        desk.owe(slow.url)
    desk.owe(receiver.url)
    rows = desk.send(deadline=1)
    assert [row["status"] for row in rows].count("delivered") == 1
    assert len(receiver.received) == 1
    # No more at once than one host is given.
    assert len(slow.received) == 8
    hold.set()


def test_what_stands_behind_a_host_makes_no_other_host_of_it(desk):
    for number in range(10):
        desk.owe(f"http://Hooks.example.com:8080?secret={number}")
        desk.owe(f"http://hooks.example.com:8080#secret-{number}")

    async def claimed() -> list[store.Claimed]:
        async with desk.database.transaction() as tx:
            return await store.claim_callbacks(tx, {}, per_host=8, limit=32, lease=60)

    # Nor does the log, which names the host, tell what may be a secret.
    assert [each.host for each in desk.run(claimed())] == ["hooks.example.com:8080"] * 8


def test_several_senders_share_the_work(desk, receiver):
    ids = {desk.owe(receiver.url) for _ in range(60)}
    rows = desk.send(60, senders=4)
    assert {row["status"] for row in rows} == {"delivered"}
    assert len(receiver.received) == 60
    assert {got.verified(SECRET)["data"]["message_id"] for got in receiver.received} == ids


def test_without_a_secret_nothing_is_sent(desk, receiver):
    desk.owe(receiver.url)
    with pytest.raises(AssertionError, match="1 attempts"):
        desk.send(secret="", patience=0.3)
    assert receiver.received == []
    assert desk.rows()[0]["status"] == "pending"


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_***", f"{SECRET} nonsense"])
def test_a_secret_that_is_none_is_refused_without_being_told(secret):

    with pytest.raises(ValueError, match="SWITCHYARD_CALLBACK_SECRET") as refused:
        Signer(secret)
    assert SECRET not in str(refused.value)
    assert "hunter2" not in str(refused.value)
