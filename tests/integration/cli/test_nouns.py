"""Sessions, sidebars, tasks, memories and dead letters by their commands, against a running stack."""

import json
import re

import psycopg
import pytest
import typer

from cli.main import app
from tests.unit.cli.test_commands import paths
from tests.waiting import eventually


def test_a_session_is_moved_on_and_says_where_it_stands(shell, new_session):
    session = new_session("moved")
    assert shell.do("sessions", "pause", session, "--reason", "lunch") == "Session moved is paused.\n"
    assert shell.rows("sessions", "ls", "--status", "paused")[0][:2] == ["moved", "paused"]
    assert shell.json("sessions", "resume", session)["session"]["status"] == "active"
    assert shell.do("sessions", "complete", session, "--summary", "done") == "Session moved is completed.\n"
    assert shell.do("sessions", "archive", session) == "Session moved is archived.\n"
    refused = shell.run("sessions", "resume", session)
    assert refused.exit_code == 1
    assert "409 conflict" in refused.stderr
    shown = shell.do("sessions", "show", session)
    assert "session id" in shown
    assert "About moved" in shown


def test_a_session_that_failed_is_told_apart(shell, new_session):
    assert shell.do("sessions", "fail", new_session("lost"), "--reason", "no money") == "Session lost is failed.\n"


def test_a_list_is_printed_page_by_page_or_whole(shell, new_session):
    for n in range(5):
        new_session(f"page-{n}")
    first = shell.json("sessions", "ls", "-n", "2")
    assert [each["session_id"] for each in first["sessions"]] == ["page-4", "page-3"]
    second = shell.run("sessions", "ls", "-n", "2", "--cursor", first["next"])
    assert [line.split()[0] for line in second.stdout.splitlines()[1:]] == ["page-2", "page-1"]
    assert "There are more: --all, or --cursor" in second.stderr
    lines = shell.do("sessions", "ls", "--all", "--json").splitlines()
    everything = [json.loads(line)["session_id"] for line in lines]
    assert everything[:5] == [f"page-{n}" for n in (4, 3, 2, 1, 0)]
    assert [row[0] for row in shell.rows("sessions", "ls", "--all")] == everything


def test_the_state_and_the_timeline_of_a_session(shell, new_session):
    session = new_session("lively")
    shell.do("send", "update_state", f"session_id={session}", 'patch:={"phase": "execution", "load": 1e5}')
    shell.do("memories", "store", session, "plan", "PostgreSQL first")
    state = shell.run("sessions", "state", session)
    assert '"load": 1e5' in state.stdout
    assert "version" in state.stderr
    assert shell.json("sessions", "state", session)["state"]["phase"] == "execution"
    # Events are recorded a moment after they happened.
    entries = eventually(lambda: len(found := shell.json("sessions", "timeline", session)["entries"]) == 3 and found)
    assert [entry["session_seq"] for entry in entries] == [1, 2, 3]
    assert {"session_created", "state_updated", "memory_update"} <= {entry["type"] for entry in entries}
    [row] = shell.rows("sessions", "timeline", session, "--type", "memory_update", width=120)
    assert "plan · fact · PostgreSQL first" in " ".join(row)
    replayed = shell.do("sessions", "replay", session, "--speed", "0", "--from", "2", "--json").splitlines()
    assert [json.loads(line)["session_seq"] for line in replayed] == [2, 3]
    shown = shell.run("sessions", "replay", session, "--speed", "1000")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["1", "2", "3"]
    assert f"replaying {session}, up to event 3, at 1000 times its pace" in shown.stderr
    assert shell.run("sessions", "replay", "nowhere").exit_code == 4
    assert shell.run("sessions", "replay", session, "--from", "soon").exit_code == 1


def test_a_memory_is_stored_found_read_and_forgotten(shell, new_session):
    session = new_session("minded")
    assert (
        shell.do("memories", "store", session, "plan", "PostgreSQL first", "--type", "decision", "--tag", "queue")
        == "Memory plan of minded is at version 1.\n"
    )
    shell.do("memories", "store", session, "plan", '{"engine": "PostgreSQL", "load": 1e5}', "--data")
    shell.do("memories", "store", session, "other", "-", input="line one\nline two")
    assert '"load": 1e5' in shell.do("memories", "show", session, "plan")
    assert shell.do("memories", "show", session, "other").endswith("content\nline one\nline two\n")
    assert [row[0] for row in shell.rows("memories", "ls", session)] == ["other", "plan"]
    assert shell.json("memories", "ls", session, "--type", "decision")["memories"] == []
    [found] = shell.json("memories", "search", "postgresql", "--session", session)["memories"]
    assert found["key"] == "plan"
    assert "PostgreSQL" in shell.do("memories", "search", "postgresql", "-s", session, width=100)
    assert [row[0] for row in shell.rows("memories", "history", session, "plan")] == ["2", "1"]
    stale = shell.run("memories", "store", session, "plan", "x", "--if-version", "1")
    assert (stale.exit_code, "409 conflict" in stale.stderr) == (1, True)
    assert shell.do("memories", "forget", session, "plan", "--yes") == "Memory plan of minded is forgotten.\n"
    gone = shell.run("memories", "show", session, "plan")
    assert (gone.exit_code, "was forgotten" in gone.stderr) == (4, True)
    assert "(forgotten)" in shell.do("memories", "history", session, "plan")


def test_meaning_without_an_endpoint_is_refused_with_the_reason(shell, new_session):
    refused = shell.run("memories", "search", "engines", "--meaning", "--session", new_session("senseless"))
    assert refused.exit_code == 3
    assert "SWITCHYARD_EMBEDDINGS_URL" in refused.stderr


def test_search_finds_what_sessions_keep(shell, new_session):
    session = new_session("sought")
    shell.do("send", "conversation_chunk", f"session_id={session}", "content=ada: the zeppelin <leaks> again")
    shell.do("memories", "store", session, "zeppelin", "the zeppelin was mended")
    kinds = {hit["kind"] for hit in shell.json("search", "zeppelin", "--session", session)["hits"]}
    assert kinds == {"chunk", "memory"}
    assert "the zeppelin <leaks> again" in shell.do("search", "zeppelin", "--kind", "chunk", width=120)


def test_a_task_is_added_shown_cancelled_or_claimed(shell, new_session):
    session = new_session("busy")
    words = [session, "researcher", "summarize", "-d", "Sum up", "--input", '{"pages": 1e1}', "--priority", "7"]
    task = shell.json("tasks", "add", *words)["task"]
    assert (task["priority"], task["description"]) == (7, "Sum up")
    row = shell.rows("tasks", "ls", "--session", session, width=80)[0]
    assert row[:4] == [task["task_id"], "pending", "researcher", "summarize"]
    assert '"pages": 1e1' in shell.do("tasks", "show", task["task_id"])
    assert shell.do("tasks", "cancel", task["task_id"], "--yes") == f"Task {task['task_id']} is cancelled.\n"
    again = shell.run("tasks", "retry", task["task_id"])
    assert (again.exit_code, "409 conflict" in again.stderr) == (1, True)
    other = shell.json("tasks", "add", session, "codex", "read", "--input", '{"pages": 1e1}')["task"]
    claimed = shell.do("tasks", "claim", "codex", "--worker", "me")
    assert re.search(rf"task id +{other['task_id']}\nlease token +\S", claimed)
    assert '"pages": 1e1' in claimed
    assert "Nothing waits for codex." in shell.run("tasks", "claim", "codex").stderr
    bad = shell.run("tasks", "add", session, "researcher", "x", "--input", "{")
    assert (bad.exit_code, "--input: this is not JSON" in bad.stderr) == (2, True)


def test_a_sidebar_is_opened_read_merged_and_taken_up_again(shell, new_session):
    session = new_session("aside")
    shell.do("memories", "store", session, "plan", "mend it")
    words = [session, "Why?", "-p", "ada", "-p", "bob", "--id", "aside-1", "--refs", '{"log": 1e1}']
    assert shell.do("sidebars", "spawn", *words) == "Sidebar aside-1 is active.\n"
    assert shell.rows("sidebars", "ls", "--session", session, width=120)[0][:3] == ["aside-1", "active", "Why?"]
    said = shell.do("sidebars", "post", "aside-1", "@bob two\nclocks", "--as", "ada")
    assert said == "Said as number 1 of sidebar aside-1; bob mentioned.\n"
    refused = shell.run("sidebars", "move", "aside-1", "failed")
    assert (refused.exit_code, "needs a `reason`" in refused.stderr) == (1, True)
    shown = shell.do("sidebars", "show", "aside-1")
    assert '"log": 1e1' in shown
    assert re.search(r"from outside\nmemory plan \(version 1\).*\n  mend it\n", shown)
    assert re.search(r"what was said\n1  ada  .*\n  @bob two\n  clocks\n", shown)
    merged = shell.do("sidebars", "merge", "aside-1", "--findings", "two clocks", "--unmet")
    assert re.fullmatch(r"Sidebar aside-1 is merged\.\n1 exchange\(s\) went to artifact sidebar-\S+\.\n", merged)
    assert "two clocks" in shell.do("search", "clocks", "--session", session, width=120)
    again = shell.run("sidebars", "merge", "aside-1")
    assert (again.exit_code, "409 conflict" in again.stderr) == (1, True)
    shell.do("sidebars", "fork", "aside-1", "once more", "--id", "aside-2")
    assert "@bob two" in shell.do("sidebars", "show", "aside-2")
    assert shell.do("sidebars", "archive", "aside-2", "--yes") == "Sidebar aside-2 is archived.\n"


def test_dead_letters_are_shown_and_sent_again(shell, stack, new_session):
    session = new_session("buried")
    body = {"type": "command", "command": "store_memory", "timestamp": "2026-01-31T12:00:00Z"}
    with psycopg.connect(stack.environment.get("DATABASE_URL"), autocommit=True) as database:
        for n in range(3):
            data = {"session_id": session, "type": "fact", "key": f"k{n}", "content": "risen"}
            whole = json.dumps({**body, "message_id": f"buried-{n}", "data": data})
            database.execute(
                "insert into dead_letters (letter_key, message_id, exchange, routing_key, reason, headers, body)"
                " values (%s, %s, 'switchyard.commands', 'memory.store_memory', 'a bug', %s, %s)",
                (f"buried-{n}", f"buried-{n}", '{"x-attempt": 5}', whole.encode()),
            )
    ids = [str(each["dead_letter_id"]) for each in shell.json("dead-letters", "ls", "-n", "3")["dead_letters"]]
    shown = shell.do("dead-letters", "show", ids[0])
    assert "a bug" in shown
    assert '"x-attempt": 5' in shown
    assert '"content": "risen"' in shown
    assert shell.json("dead-letters", "show", ids[0])["dead_letter"]["waiting"] is False
    assert shell.do("dead-letters", "redrive", ids[0]) == "1 dead letter was sent again.\n"
    became = json.loads(shell.do("dead-letters", "redrive", "--all", "--yes", "--json"))
    assert set(map(int, ids[1:])) <= set(became["redriven"])
    for n in range(3):
        eventually(lambda n=n: shell.run("memories", "show", session, f"k{n}").exit_code == 0)
    missing = shell.run("dead-letters", "redrive", "999999")
    assert (missing.exit_code, "No such dead letter: 999999" in missing.stderr) == (4, True)
    assert shell.run("dead-letters", "show", "999999").exit_code == 4


@pytest.mark.parametrize(
    ("words", "changed", "code", "said"),
    [
        (["sessions", "show", "nobody"], {}, 4, "`switchyard sessions ls` lists those there are."),
        (["tasks", "show", "nothing"], {}, 4, "`switchyard tasks ls`"),
        (["sidebars", "show", "nothing"], {}, 4, "`switchyard sidebars ls` lists those there are."),
        (["sidebars", "post", "x", "y", "--refs", "{"], {}, 2, "--refs: this is not JSON"),
        (["memories", "show", "nobody", "plan"], {}, 4, "404 not_found"),
        (["sessions", "ls", "--status", "asleep"], {}, 1, "422 invalid"),
        (["sessions", "ls"], {"SWITCHYARD_API_KEY": "sy_wrong"}, 1, "The key is SWITCHYARD_API_KEY of the environment"),
        (["sessions", "ls"], {"SWITCHYARD_API_KEY": ""}, 1, "No key was sent"),
        (["sessions", "ls"], {"SWITCHYARD_INGRESS_PORT": "1"}, 3, "Is it running? `make up`"),
        (["sessions", "ls", "--limit", "0"], {}, 2, "Invalid value"),
        (["send", "store_memry", "session_id=x"], {}, 2, "Did you mean store_memory"),
        (["send", "store_memory", "session_id=x"], {}, 1, "`switchyard send store_memory --explain`"),
        (["send"], {}, 2, "`switchyard send --list`"),
    ],
)
def test_failures_have_an_exit_code_and_say_what_to_do(shell, words, changed, code, said):
    failed = shell.run(*words, **changed)
    assert failed.exit_code == code, failed.output
    assert said in failed.stderr
    assert failed.stdout == ""


def test_a_refusal_as_json_is_the_problem_document(shell):
    refused = shell.run("sessions", "show", "nobody", "--json")
    assert refused.exit_code == 4
    assert json.loads(refused.stderr)["code"] == "not_found"


def test_a_command_is_sent_as_an_agent(shell, new_session):
    session = new_session("spoken")
    shell.do("send", "store_memory", f"session_id={session}", "key=k", "type=fact", "content=x", "--as", "claude_code")
    assert shell.json("memories", "show", session, "k")["memory"]["author"] == "claude_code"


def test_numbers_go_and_come_as_they_were_typed(shell, new_session):
    session = new_session("exact")
    content = '{"b": 1e5, "a": 1180591620717411303424}'
    shell.do("send", "store_memory", f"session_id={session}", "key=k", "type=fact", f"content:={content}")
    assert content in shell.do("send", "retrieve_memory", f"session_id={session}", "key=k")


# What an example needs that those before it did not leave behind.
NEEDS = {
    "sessions fail": "update sessions set status = 'active' where id = 'demo'",
    "sessions archive": "update sessions set status = 'completed' where id = 'demo'",
    "tasks retry": "update tasks set status = 'dead' where task_type = 'read'",
    "dead-letters show": """
        insert into dead_letters (id, letter_key, exchange, routing_key, reason, body) overriding system value
        select n, n, '', 'switchyard.dead-letters', 'a test', '{}' from generate_series(1, 2) n on conflict do nothing
    """,
}
LAST = ["memories forget", "sessions complete", "sessions fail", "sessions archive"]


def test_every_example_of_the_help_does_what_it_says(shell, stack):
    examples = {}
    for path in paths(typer.main.get_command(app)):
        if path[0] in ("sessions", "sidebars", "tasks", "memories", "dead-letters", "search", "send"):
            [line] = re.findall(r"Example: (switchyard .*)", shell.do(*path, "--help", width=300))
            examples[" ".join(path)] = line.strip()
    shell.do("send", "create_session", "session_id=demo")
    with psycopg.connect(stack.environment.get("DATABASE_URL"), autocommit=True) as database:
        task = shell.json("tasks", "add", "demo", "researcher", "read")["task"]["task_id"]
        database.execute("update tasks set id = %s where id = %s", (examples["tasks show"].split()[-1], task))
        first = ["send", "memories store", "sidebars spawn"]
        for name in [*first, *(name for name in examples if name not in [*first, *LAST]), *LAST]:
            if name in NEEDS:
                database.execute(NEEDS[name])
            done = shell.line(examples[name])
            assert done.exit_code == 0, (name, done.output)
