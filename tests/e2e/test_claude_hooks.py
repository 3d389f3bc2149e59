"""Hooks of Claude Code through the door: real captures, what is refused, the command line, and a real Claude Code."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli.local.environment import ROOT
from cli.local.stack import Stack
from tests.e2e.conftest import FIXTURES, Doors
from tests.waiting import eventually

HOOK = {"hook_event_name": "Notification", "message": "hello"}


@pytest.fixture
def captures() -> list[dict[str, Any]]:
    """Real hooks, kept beside the checkout, of sessions nobody has seen."""
    files = sorted((FIXTURES / "claude_hooks").glob("*.json"))
    if not files:
        pytest.skip("the real hooks are not beside this checkout (../shared/fixtures/claude_hooks)")
    hooks = [json.loads(file.read_text()) for file in files]
    fresh = {hook["session_id"]: str(uuid4()) for hook in hooks}
    return [{**hook, "session_id": fresh[hook["session_id"]]} for hook in hooks]


def noted(doors: Doors, session_id: str) -> list[dict[str, Any]]:
    """The actions and responses of a session in their order; none while there is no such session."""
    answer = doors.http.post("/api/commands/get_actions", json={"session_id": session_id, "limit": 500})
    if answer.status_code == 404:
        return []
    page = answer.json()
    found: list[dict[str, Any]] = sorted(page["actions"] + page["responses"], key=lambda each: each["number"])
    return found


def send(doors: Doors, hook: dict[str, Any], **headers: str) -> None:
    answer = doors.http.post("/hooks/claude", json=hook, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"{}"), answer.text


def test_every_real_hook_becomes_an_action_or_a_response_of_its_session_once_and_in_order(
    doors: Doors, captures: list[dict[str, Any]]
) -> None:
    for hook in captures:
        send(doors, hook)
        send(doors, hook)
    for session_id in {hook["session_id"] for hook in captures}:
        hooks = [hook for hook in captures if hook["session_id"] == session_id]
        eventually(lambda s=session_id, n=hooks: len(noted(doors, s)) >= len(n))
        found = noted(doors, session_id)
        assert [each["type"] for each in found] == [hook["hook_event_name"] for hook in hooks]
        for each, hook in zip(found, hooks, strict=True):
            if hook["hook_event_name"] == "PostToolUse":
                assert each["action_id"] == each["response_id"] == hook["tool_use_id"]
                assert each["content"] == hook["tool_response"]
                assert {**each["details"], "tool_response": each["content"]} == hook
            else:
                assert each["details"] == hook
                if hook["hook_event_name"] == "PreToolUse":
                    assert each["action_id"] == hook["tool_use_id"]
        session = doors.command("get_session", session_id=session_id)["session"]
        assert (session["title"], session["status"]) == ("Claude Code in app", "active")


def test_what_is_no_hook_opens_no_session(doors: Doors) -> None:
    session_id = str(uuid4())
    for body, status in [
        (b"nothing", 422),
        (json.dumps({"session_id": session_id}).encode(), 422),
        (json.dumps({**HOOK, "session_id": session_id, "x": "\0"}).encode(), 422),
        (json.dumps({**HOOK, "session_id": session_id, "x": "y" * 1_000_000}).encode(), 413),
    ]:
        assert doors.http.post("/hooks/claude", content=body).status_code == status
    wrong = doors.http.post("/hooks/claude", json={**HOOK, "session_id": session_id}, headers={"X-API-Key": "wrong"})
    assert wrong.status_code == 401
    assert doors.http.get("/hooks/claude").status_code == 405
    # One that comes after them is there, so that they would be too.
    send(doors, {**HOOK, "session_id": session_id})
    assert len(eventually(lambda: noted(doors, session_id))) == 1


def test_a_hook_of_a_completed_session_is_an_event(doors: Doors) -> None:
    session_id = doors.session()
    doors.command("complete_session", session_id=session_id)
    with doors.listen(f"session.{session_id}.hook") as listener:
        listener.subscribe(f"session.{session_id}.hook")
        send(doors, {**HOOK, "session_id": session_id})
        event = listener.next()
    assert (event["type"], event["status"], event["hook"]["message"]) == ("late_hook", "completed", "hello")
    assert noted(doors, session_id) == []


def test_the_command_line_tries_the_door(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "hooks", "test"],
        cwd=ROOT, env={**os.environ, **stack.environment.values}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["details"]["message"] == "a try by `switchyard hooks test`"


def test_claude_codes_hooks_as_the_command_line_installs_them_become_its_session(
    doors: Doors, stack: Stack, tmp_path: Path
) -> None:
    """The real Claude Code, with a stand-in of the Messages API; Setup and a failing tool are left to others."""
    bundled = Path(find_spec("claude_agent_sdk").origin or "").parent / "_bundled"  # type: ignore[union-attr]
    (tmp_path / "shop").mkdir()
    key = doors.command("create_key", name=f"hooks-{uuid4().hex[:8]}", scopes=["publish"])["secret"]
    known = {**HOOK, "session_id": str(uuid4())}
    eventually(lambda: doors.http.post("/hooks/claude", json=known, headers={"X-API-Key": key}).status_code == 200)
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "hooks", "install", "--project", str(tmp_path / "shop")],
        cwd=ROOT, env={**os.environ, **stack.environment.values}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert key not in (tmp_path / "shop" / ".claude" / "settings.json").read_text()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": stack.environment.get("ANTHROPIC_BASE_URL"),
        "ANTHROPIC_API_KEY": "sk-stand-in",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    prompt = '[[tool Bash {"command": "echo till", "description": "look"}]] [[say done]]'

    def claude(session_id: str, **key: str) -> None:
        said = subprocess.run(
            [str(bundled / "claude"), "-p", prompt, "--session-id", session_id, "--allowedTools", "Bash"],
            cwd=tmp_path / "shop", env={**environ, **key}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (said.returncode, said.stdout.strip()) == (0, "done"), said.stderr

    refused, session_id = str(uuid4()), str(uuid4())
    claude(refused)  # Its hooks are refused for want of a key, and it does its work all the same.
    claude(session_id, SWITCHYARD_HOOKS_KEY=key)
    found = eventually(
        lambda: [*noted(doors, session_id)] if "SessionEnd" in [e["type"] for e in noted(doors, session_id)] else []
    )
    kinds = Counter(each["type"] for each in found)
    assert kinds == Counter(["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"])
    call = next(each for each in found if each["type"] == "PreToolUse")
    end = next(each for each in found if each["type"] == "PostToolUse")
    assert call["details"]["tool_input"]["command"] == "echo till"
    assert end["action_id"] == call["action_id"] and end["content"]["stdout"] == "till"
    assert doors.command("get_session", session_id=session_id)["session"]["title"] == "Claude Code in shop"
    assert noted(doors, refused) == []
