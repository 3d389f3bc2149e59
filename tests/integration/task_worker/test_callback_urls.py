"""A callback's URL may hold a secret: only who delegated sees it whole, and still it is called."""

from shared.messages.commands import COMMANDS

URL = "https://hooks.example.com:8443/done?key=hidden"
SHOWN = "https://hooks.example.com:8443/…"


def test_only_the_reply_to_delegate_task_holds_the_whole_url(worker):
    result, (event,) = worker.told(
        "delegate_task", session_id="s1", agent_name="codex", task_type="t", callback_url=URL, idempotency_key="once"
    )
    task = result["task"]
    assert (task["callback_url"], event["task"]["callback_url"]) == (URL, SHOWN)
    assert COMMANDS["delegate_task"].confidential
    repeated = worker.delegate(callback_url=URL, idempotency_key="once")
    assert repeated == task
    assert worker.task(task["task_id"])["callback_url"] == SHOWN
    assert [each["callback_url"] for each in worker.ask("list_tasks")["tasks"]] == [SHOWN]
    result, (event,) = worker.told("claim_task", agent_name="codex", worker_id="w1")
    (claimed,) = result["tasks"]
    assert (claimed["callback_url"], event["task"]["callback_url"]) == (SHOWN, SHOWN)
    lease = {"task_id": claimed["task_id"], "lease_token": claimed["lease_token"]}
    for name in "start_task", "heartbeat_task", "complete_task":
        result, events = worker.told(name, **lease)
        assert "hidden" not in str((result, events)), name


def owed(worker):
    return worker.sql("select url, body from callbacks")


def test_the_whole_url_is_called_which_its_body_does_not_repeat(worker):
    first = worker.delegate(callback_url=URL)
    worker.delegate(depends_on=[first["task_id"]], callback_url=URL + "2")
    worker.send("cancel_task", task_id=first["task_id"])
    told = owed(worker)
    assert sorted(url for url, _ in told) == [URL, URL + "2"]
    assert "hidden" not in str([body for _, body in told])


def test_what_a_schedule_makes_calls_the_whole_url_too(worker):
    worker.delegate(cron="0 0 * * *", callback_url=URL)
    worker.let_time_come()
    _, events = worker.told("run_due_tasks")
    assert [event["task"]["callback_url"] for event in events] == [SHOWN]
    (made,) = worker.claim()
    worker.complete(made)
    assert [url for url, _ in owed(worker)] == [URL]


def test_a_url_as_a_list_shows_it_is_not_called_after_an_import(worker):
    task = {**worker.delegate(), "task_id": "imported", "callback_url": SHOWN}
    assert worker.send("import_tasks", session_id="s1", tasks=[task]) == {"imported": 1}
    assert worker.task("imported")["callback_url"] is None
