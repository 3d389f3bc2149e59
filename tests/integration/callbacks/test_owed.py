"""Callbacks owed by commands: in the transaction of the command, once, whatever its reply and whoever dies."""

import asyncio
import subprocess
import sys
import threading

import pytest

from services.task_worker.callbacks import store
from services.task_worker.callbacks.commands import ended
from services.task_worker.callbacks.post import tls_context
from services.task_worker.callbacks.sender import Sender
from services.task_worker.callbacks.service import keep_house
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.targets import resolve
from shared.bus.replies import Reply
from shared.errors import conflict
from shared.messages import JsonText, new_id
from shared.messages.task import Task
from shared.targets import Allowed
from tests.integration.callbacks.conftest import SECRET
from tests.integration.callbacks.receiver import Answer
from tests.unit.shared.samples import fields


@pytest.fixture
def sessions(desk):
    """Handlers for two commands: one that is done, one that is refused."""

    async def create_session(tx, command):
        return Reply({"session": {"session_id": "s1", "text": JsonText(b'{"b":1e2,"a":1.10}')}})

    async def get_on(tx, command):
        raise conflict("session 's1' is completed", status="completed")

    desk.handlers = {**type(desk).handlers, "create_session": create_session, "resume_session": get_on}
    desk.sql("insert into sessions (id) values ('s1') on conflict do nothing")
    return desk


def test_the_reply_of_a_command_is_owed_with_what_the_handler_answered(sessions, receiver):
    sessions.run(sessions.commit(sessions.calling_back(receiver.url, "create_session", "m-done")))
    (row,) = sessions.send()
    assert (row["type"], row["message_id"], row["task_id"]) == ("command_reply", "m-done", None)
    (got,) = receiver.received
    assert got.verified(SECRET)["data"] == {
        "message_id": "m-done",
        "command": "create_session",
        "status": "done",
        "result": {"session": {"session_id": "s1", "text": {"b": 100, "a": 1.1}}},
    }
    # A number and a key's order stay as they were written.
    assert b'{"b":1e2,"a":1.10}' in got.body


def test_a_refusal_is_owed_as_well(sessions, receiver):
    sessions.run(sessions.commit(sessions.calling_back(receiver.url, "resume_session", "m-no", session_id="s1")))
    sessions.send()
    (got,) = receiver.received
    assert got.verified(SECRET)["data"] == {
        "message_id": "m-no",
        "command": "resume_session",
        "status": "failed",
        "error": {"code": "conflict", "message": "session 's1' is completed", "details": {"status": "completed"}},
    }


def test_a_repetition_owes_nothing_more(sessions):
    url = "https://hooks.example.com/"
    command = sessions.calling_back(url, "create_session", new_id())
    for _ in range(2):
        sessions.run(sessions.commit(command))
    sessions.run(sessions.commit(command, sessions.calling_back(url, "create_session", new_id())))
    assert len(sessions.rows()) == 2


def test_without_a_url_nothing_is_owed(sessions):
    (outcome,) = sessions.run(sessions.commit(sessions.command("create_session", {})))
    assert outcome.callbacks == 0
    assert sessions.rows() == []


def test_what_is_rolled_back_is_not_owed(sessions):
    async def fail(tx, command):
        raise RuntimeError("a bug")

    sessions.handlers["pause_session"] = fail
    url = "https://hooks.example.com/"
    both = [
        sessions.calling_back(url, "create_session"),
        sessions.calling_back(url, "pause_session", session_id="s1"),
    ]
    with pytest.raises(RuntimeError):
        sessions.run(sessions.commit(*both))
    assert sessions.rows() == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "dead"])
def test_the_end_of_a_task_is_owed_with_the_whole_task(sessions, receiver, status):
    task = Task(**{**fields(Task), "task_id": "t1", "status": status})

    async def complete_task(tx, command):
        return Reply({"task": task}, callbacks=[*ended(task, receiver.url), *ended(task, None)])

    sessions.handlers["create_session"] = complete_task
    sessions.run(sessions.commit(sessions.command("create_session", {})))
    (row,) = sessions.send()
    assert (row["type"], row["task_id"]) == (f"task_{status}", "t1")
    body = receiver.received[0].verified(SECRET)
    assert body["type"] == f"task_{status}"
    assert (body["data"]["task"]["task_id"], body["data"]["task"]["status"]) == ("t1", status)


def test_killed_between_the_post_and_its_record_it_is_sent_again_with_the_same_id(desk, receiver):
    hold = threading.Event()
    receiver.answers = [Answer(hold=hold)]
    desk.owe(receiver.url)
    program = [sys.executable, "-m", "tests.integration.callbacks.sender_process", desk.url, SECRET]
    process = subprocess.Popen(program)
    try:
        assert receiver.arrived.wait(20)
    finally:
        process.kill()
        process.wait(10)
        hold.set()
    (row,) = desk.rows()
    assert row["status"] == "pending"
    # Nobody knows what came of it.
    assert [(each["number"], each["status"], each["error"]) for each in row["attempts"]] == [(1, None, None)]

    desk.hurry()
    (row,) = desk.send()
    assert row["status"] == "delivered"
    assert [each["number"] for each in row["attempts"]] == [1, 2]
    first, second = receiver.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)


def test_a_sender_that_comes_back_late_does_not_undo_what_its_successor_did(desk, receiver):
    hold = threading.Event()
    receiver.answers = [Answer(500, hold=hold)]
    desk.owe(receiver.url)
    threading.Timer(1.0, hold.set).start()
    # Its lease is over long before its answer comes.
    (row,) = desk.send(2, senders=2, lease=0.3, look_again=0.1)
    assert row["status"] == "delivered"
    assert [each["status"] for each in row["attempts"]] == [500, 204]


def test_callbacks_are_listed_by_task_command_and_status_and_in_pages(desk):
    ids = [desk.owe("https://hooks.example.com/") for _ in range(5)]
    desk.sql(
        "update callbacks set task_id = 't9', status = 'failed', finished = now() where message_id = :id", id=ids[2]
    )
    assert [row["message_id"] for row in desk.rows()] == ids
    assert [row["message_id"] for row in desk.rows(message_id=ids[1])] == [ids[1]]
    assert [row["message_id"] for row in desk.rows(task_id="t9")] == [ids[2]]
    assert [row["message_id"] for row in desk.rows(status="failed")] == [ids[2]]
    assert desk.rows(status="gone") == []
    seen, cursor = [], {}
    while True:
        page = desk.ask("list_callbacks", limit=2, **cursor)
        seen += [row["message_id"] for row in page["callbacks"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ids[::-1]
    assert desk.ask("list_callbacks", cursor="nonsense")["code"] == "invalid"


def test_old_ones_are_deleted_with_their_attempts_and_what_is_owed_stays(desk, receiver):
    desk.owe(receiver.url)
    desk.send()
    desk.owe("https://hooks.example.com/")
    desk.run(keep_house(desk.database))
    assert len(desk.rows()) == 2
    desk.sql("update callbacks set created = now() - interval '9 days', finished = finished - interval '8 days'")
    desk.run(keep_house(desk.database))
    (row,) = desk.rows()
    assert row["status"] == "pending"
    assert desk.sql("select count(*) from callback_attempts")[0][0] == 0


def test_what_nobody_sends_for_a_week_is_given_up(desk):
    ids = [desk.owe("https://hooks.example.com/") for _ in range(2)]
    desk.sql("update callbacks set next_attempt = now() - interval '8 days' where message_id = :id", id=ids[0])
    desk.run(keep_house(desk.database))
    assert [(row["status"], row["attempts"]) for row in desk.rows()] == [("failed", []), ("pending", [])]


def test_what_is_due_is_found_by_its_index_however_much_was_delivered(desk):
    desk.sql("""
        insert into callbacks (id, type, url, message_id, status, finished, created)
        select 'c' || n, 'command_reply', 'https://hooks.example.com/', 'm' || n, 'delivered', now(), now()
        from generate_series(1, 20000) n
    """)
    desk.sql("analyze callbacks")
    desk.owe("https://hooks.example.com/")

    async def explained() -> str:
        async with desk.database.transaction() as tx:
            connection = await store.psycopg_of(tx)
            values = {"under_way": store.Json({}), "per_host": 8, "limit": 32, "lease": 60.0}
            cursor = await connection.execute(f"explain {store._CLAIM}", values, prepare=False)
            return "\n".join(line for (line,) in await cursor.fetchall())

    plan = desk.run(explained())
    assert "callbacks_due" in plan
    assert "Seq Scan on callbacks" not in plan


def test_who_has_committed_a_callback_wakes_the_sender(desk, receiver):
    async def nudged() -> None:
        owed = asyncio.Event()
        sender = Sender(
            desk.database,
            Signer(SECRET),
            Allowed.of("127.0.0.1"),
            resolve=resolve,
            tls=tls_context(),
            owed=owed,
            look_again=60,
        )
        running = asyncio.create_task(sender.run())
        for _ in range(3):
            receiver.arrived.clear()
            data = {"url": receiver.url, "message_id": new_id(), "command": "get_session"}
            (outcome,) = await desk.commit(desk.command("send_callback", data))
            assert outcome.callbacks == 1
            owed.set()
            assert await asyncio.to_thread(receiver.arrived.wait, 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    desk.run(nudged())
