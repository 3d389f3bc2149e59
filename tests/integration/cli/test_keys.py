"""`switchyard keys` and `switchyard audit`, against a running stack."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from cli.local.environment import ROOT
from tests.integration.cli.conftest import Shell
from tests.waiting import eventually


def may(shell: Shell, secret: str) -> int:
    """The status of what a key asks."""
    return httpx.get(f"{shell.stack.api_url}/api/query/recent", headers={"X-API-Key": secret}).status_code


def test_a_key_is_made_listed_and_revoked(shell):
    done = shell.run(
        "keys", "create", "ci", "--scope", "read", "--scope", "publish", "--session", "ci-*", "--rate", "60"
    )
    assert done.exit_code == 0
    assert "The key ci, for publish, read" in done.stderr
    [secret] = done.stdout.splitlines()
    assert secret.startswith("sy_")
    eventually(lambda: may(shell, secret) == 403, 2)
    assert shell.rows("keys", "list")[0][:5] == ["ci", "publish,", "read", "ci-*", "any"]
    assert secret not in shell.do("keys", "list", "--json")
    assert shell.do("keys", "revoke", "ci") == "The key ci is revoked.\n"
    eventually(lambda: may(shell, secret) == 401, 2)
    assert shell.json("keys", "list")["keys"][0]["revoked"] is not None


def test_a_key_whose_answer_was_lost_is_told_again_with_its_message_id(shell):
    words = ["keys", "create", "lost", "--scope", "read", "--message-id", "m-lost"]
    assert shell.do(*words) == shell.do(*words)
    assert shell.json(*words)["secret"] + "\n" == shell.do(*words)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["keys", "create", "white space", "--scope", "read"], 1, "letters, digits"),
        (["keys", "create", "x", "--scope", "root"], 1, "scopes"),
        (["keys", "create", "x"], 2, "--scope"),
        (["keys", "create", "x", "--scope", "read", "--rate", "-1"], 2, "--rate"),
        (["keys", "create", "bootstrap", "--scope", "read"], 1, "409 conflict"),
        (["keys", "revoke", "nobody"], 4, "switchyard keys list"),
        (["audit", "--since", "yesterday"], 2, "30m, 2h or 7d"),
        (["audit", "--follow", "--until", "1h"], 2, "--until"),
    ],
)
def test_what_can_not_be_done_says_why_and_has_its_exit_code(shell, words, code, said):
    done = shell.run(*words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_the_audit_log_is_read_with_its_filters(shell, new_session):
    session = new_session("watched")
    shell.run("send", "create_session", f"session_id={session}")
    shell.do("sessions", "pause", session)
    shown = shell.rows("audit", "--session", session)
    assert [(row[2], row[-2]) for row in shown] == [("bootstrap", "ok"), ("bootstrap", "conflict"), ("bootstrap", "ok")]
    entries = shell.json("audit", "--session", session)["entries"]
    assert [(each["command"], each["outcome"]) for each in entries] == [
        ("pause_session", "ok"),
        ("create_session", "conflict"),
        ("create_session", "ok"),
    ]
    assert {each["key"] for each in entries} == {"bootstrap"}
    assert len(shell.rows("audit", "--session", session, "--command", "create_session", "--since", "1h")) == 2
    assert "Nothing like that" in shell.run("audit", "--session", session, "--until", "1h").stderr
    assert len(shell.do("audit", "--session", session, "--all", "--json", "--limit", "1").splitlines()) == 3


@pytest.fixture
def following(shell) -> Iterator[subprocess.Popen[str]]:
    """`switchyard audit --follow` of one session, as a process."""
    environment = {**os.environ, **shell.stack.environment.values, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    words = ["audit", "--session", "followed", "--follow", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words],
        cwd=shell.stack.data,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_what_is_written_is_followed_once_each_and_in_order(shell, new_session, following):
    assert following.stdout is not None
    session = new_session("followed")
    first = json.loads(following.stdout.readline())
    shell.do("sessions", "pause", session)
    shell.do("sessions", "resume", session)
    others = [json.loads(following.stdout.readline())["command"] for _ in range(2)]
    assert [first["command"], *others] == ["create_session", "pause_session", "resume_session"]
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 0
    assert following.stdout.read() == ""
