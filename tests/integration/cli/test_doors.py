"""`demo`, `doctor`, `send` and `tail` against a running stack."""

import json
import os
import subprocess
import sys

import pytest

from cli.local.environment import ROOT
from cli.local.stack import Stack


def command(stack: Stack, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **stack.environment.values, **changed, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=stack.data,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def result(stack: Stack, *words: str) -> dict[str, object]:
    done = command(stack, "send", *words)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, object] = json.loads(done.stdout)
    return loaded


def test_the_demonstration_finds_everything_at_the_far_end(stack: Stack) -> None:
    done = command(stack, "demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WebSocket ← webhook, event push" in done.stdout
    assert "PostgreSQL ← GET /api/deliveries: github push" in done.stdout
    assert "PostgreSQL ← retrieve_memory" in done.stdout
    assert "claim_task, complete_task → completed" in done.stdout
    assert "no_credential, and the room is told: “I can't answer" in done.stdout
    assert "make up DEMO=1" in done.stdout
    assert "All of it arrived" in done.stdout


def test_the_demonstration_takes_no_task_that_is_meant_for_a_real_worker(stack: Stack) -> None:
    result(stack, "create_session", "session_id=real")
    task = result(stack, "delegate_task", "session_id=real", "agent_name=researcher", "task_type=real", "priority:=9")

    done = command(stack, "demo")

    assert done.returncode == 0, done.stdout
    assert "left in the queue: other work of researcher waits there" in done.stdout
    found = result(stack, "get_task", f"task_id={task['task']['task_id']}")  # type: ignore[index]
    assert found["task"]["status"] == "pending"  # type: ignore[index]


def test_the_demonstration_says_what_is_missing(stack: Stack) -> None:
    done = command(stack, "demo", GITHUB_WEBHOOK_SECRET="another")

    assert done.returncode == 1
    assert "POST /webhook → 401" in done.stdout
    assert "Something is missing" in done.stdout


def test_the_doctor_finds_nothing_wrong_with_a_well_stack(stack: Stack) -> None:
    (stack.data / ".env").touch(mode=0o600)
    done = command(stack, "doctor")

    assert done.returncode == 0, done.stdout
    assert "A test event, webhook to WebSocket: arrived" in done.stdout
    assert "All is well" in done.stdout
    assert "! Credential for Claude: ANTHROPIC_API_KEY is not set" in done.stdout
    assert "Workers of bots: 1 of them, with all 16 partitions" in done.stdout


def test_the_doctor_names_what_is_wrong_and_what_mends_it(stack: Stack) -> None:
    done = command(stack, "doctor", SWITCHYARD_API_KEY="sy_another", DATABASE_URL="postgresql://a:b@127.0.0.1:1/c")

    assert done.returncode == 1
    assert "✗ PostgreSQL" in done.stdout
    assert "✗ API key: 401" in done.stdout
    assert "SWITCHYARD_API_KEY in .env is not the one" in done.stdout


def test_a_sent_command_is_shown_by_tail(stack: Stack) -> None:
    result(stack, "create_session", "session_id=sent")
    stored = result(stack, "store_memory", "session_id=sent", "type=fact", "content=Grüße", 'tags:=["a"]')
    shown = command(stack, "tail", "memory.sent.#", "--since", "0", "--json", "-n", "1")

    event = json.loads(shown.stdout)
    assert event["type"] == "memory_update"
    assert stored["memory"]["content"] == "Grüße"  # type: ignore[index]
    assert stored["memory"]["tags"] == ["a"]  # type: ignore[index]
    assert event["message_id"] != event["correlation_id"]
    assert "memory_update" in command(stack, "tail", "memory.sent.#", "--since", "last", "-n", "1").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["store_memory", "session_id=nowhere", "type=fact", "content=x"], 4, "404 not_found"),
        (["store_memory", "session_id=s1"], 1, "422 invalid"),
        (["no_such_command"], 2, "There is no command no_such_command."),
    ],
)
def test_a_refused_command_is_an_error_with_its_reason(stack: Stack, words: list[str], code: int, said: str) -> None:
    done = command(stack, "send", *words)

    assert done.returncode == code
    assert said in done.stderr


def test_a_switchyard_that_is_away_is_said_so() -> None:
    env = {**os.environ, "SWITCHYARD_INGRESS_PORT": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "cli.main", "send", "list_sessions"]
    done = subprocess.run(words, cwd="/", env=env, capture_output=True, text=True, timeout=60)

    assert done.returncode == 3
    assert "Is it running? `make up`" in done.stderr
