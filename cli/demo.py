"""`switchyard demo`: real cases through a running Switchyard, from the door to the WebSocket and into PostgreSQL."""

import hashlib
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any

from cli import demo_chat
from cli.client import CallFailed, Client, Feed
from cli.demo_case import Case, awaited, polled, since
from cli.local.environment import ENV_FILE, ROOT, Environment
from cli.local.run_file import RunFile, present
from cli.local.standins import BOT_NAME, CAMPFIRE, MESSAGES_API, ROOM_PREFIX
from cli.screen import BAD, GOOD, fail, out

# GitHub's own example payloads, where they lie beside the checkout.
PUSH = ROOT.parent / "shared" / "fixtures" / "github" / "push.json"

AGENT = "researcher"
DEMO_TASK = "demonstration"
ANSWER = {"answer": "because"}


def demo() -> bool:
    """Run every case and print it; True when nothing is missing."""
    environment = present(Environment.load(ENV_FILE))
    session = f"demo-{uuid.uuid4().hex[:8]}"
    areas = ("session", "memory", "task", "chat")
    topics = ["webhook.github.#", *(f"{area}.{session}.#" for area in areas), "sidebar.#", f"chat.{ROOM_PREFIX}1.#"]
    running = RunFile(environment.data).read()
    stand_ins = running.facts.get("stand_ins", {}) if running else {}
    began = time.monotonic()
    try:
        with Client(environment) as client, client.socket(topics) as feed:
            good = _push(client, feed, environment.get("GITHUB_WEBHOOK_SECRET")).show()
            good = _memory(client, feed, session).show() and good
            good = _task(client, feed, session).show() and good
            good = _sidebar(client, feed, session).show() and good
            good = demo_chat.by_command(client, feed, session, MESSAGES_API in stand_ins).show() and good
            if CAMPFIRE in stand_ins:
                good = demo_chat.in_campfire(feed, stand_ins[CAMPFIRE], stand_ins[BOT_NAME]).show() and good
            else:
                out.print(
                    "[bold]A message in a Campfire room[/]\n"
                    f"{'':17}not shown: `make up DEMO=1` starts a stand-in for one"
                )
    except CallFailed as error:
        fail(str(error))
    verdict = f"{GOOD} All of it arrived" if good else f"{BAD} Something is missing"
    out.print(f"{verdict} ({since(began):.1f} s)")
    if good:
        out.print(f"See it at {client.api_url} (session {session}), or with: switchyard tail '#' --since last")
    return good


def _push(client: Client, feed: Feed, secret: str) -> Case:
    payload, where = push_payload()
    body = json.dumps(payload, ensure_ascii=False).encode()
    delivery = str(uuid.uuid4())
    case = Case(f"A push from GitHub ({where}, {len(body):,} bytes), signed")
    began = time.monotonic()
    response = client.request(
        "POST",
        "/webhook",
        content=body,
        headers={
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        },
    )
    case.step(
        response.status_code == 202, f"POST /webhook → {response.status_code} {response.text.strip()}", since(began)
    )
    if response.status_code != 202:
        return case
    with case.missing():
        event = awaited(feed, lambda frame: frame.get("delivery_id") == delivery)
        commits = len(event.get("payload", {}).get("commits", []))
        text = f"WebSocket ← webhook, event {event['event']}, {commits} commit(s), cursor {event.get('cursor')}"
        case.step(event.get("payload") == payload, text, since(began))
    with case.missing():
        found = polled(lambda: _delivery(client, delivery))
        case.step(True, f"PostgreSQL ← GET /api/deliveries: {found.get('source')} {found.get('event')}", since(began))
    return case


def _memory(client: Client, feed: Feed, session: str) -> Case:
    case = Case("An LLM's store_memory")
    content = "The release goes out on Friday; the migration must run first."
    with case.missing():
        client.ask("create_session", {"session_id": session, "title": "Demonstration"}, "session")
        began = time.monotonic()
        message_id = str(uuid.uuid4())
        data = {"session_id": session, "type": "decision", "key": "release", "content": content, "tags": ["demo"]}
        memory = client.ask("store_memory", data, "memory", message_id=message_id)
        text = f"POST /api/commands/store_memory → key {memory['key']}, version {memory['version']}"
        case.step(memory["content"] == content, text, since(began))
        event = awaited(
            feed, lambda frame: frame.get("correlation_id") == message_id and frame["type"] == "memory_update"
        )
        case.step(True, f"WebSocket ← memory_update, cursor {event.get('cursor')}", since(began))
        asked = time.monotonic()
        kept = client.ask("retrieve_memory", {"session_id": session, "key": "release"}, "memory")
        case.step(kept["content"] == content, f"PostgreSQL ← retrieve_memory: “{kept['content']}”", since(asked))
    return case


def _task(client: Client, feed: Feed, session: str) -> Case:
    case = Case("A task for an agent")
    with case.missing():
        began = time.monotonic()
        data = {"session_id": session, "agent_name": AGENT, "task_type": DEMO_TASK, "input_data": {"question": "why?"}}
        task = client.ask("delegate_task", {**data, "priority": 9}, "task")
        case.step(True, f"delegate_task → {task['task_id']} {task['status']}", since(began))
        awaited(feed, lambda frame: frame["type"] == "task_created" and frame["task"]["task_id"] == task["task_id"])
        case.step(True, "WebSocket ← task_created", since(began))
        if reason := _hands_off(client):
            case.step(True, f"left in the queue: {reason}")
            return case
        began = time.monotonic()
        finished = _work_off(client, task["task_id"], f"demo-{session}")
        case.step(finished["status"] == "completed", f"claim_task, complete_task → {finished['status']}", since(began))
        awaited(feed, lambda f: f["type"] == "task_completed" and f["task"]["task_id"] == task["task_id"])
        case.step(True, "WebSocket ← task_claimed, task_completed", since(began))
        kept = client.ask("get_task", {"task_id": task["task_id"]}, "task")
        case.step(kept["output_data"] == ANSWER, f"PostgreSQL ← get_task: {kept['output_data']}", since(began))
    return case


def _sidebar(client: Client, feed: Feed, session: str) -> Case:
    case = Case("A sidebar of two agents")
    with case.missing():
        began = time.monotonic()
        sidebar_id = f"{session}-sidebar"
        data = {"session_id": session, "sidebar_id": sidebar_id, "participants": ["claude", "ada"]}
        client.ask("spawn_sidebar", {**data, "task_description": "Why does the checkout test fail?"}, "sidebar")
        event = awaited(feed, lambda f: f["type"] == "sidebar_spawn" and f["sidebar_id"] == sidebar_id)
        known = ", ".join(f"{ref['kind']} {ref['id']}" for ref in event["inherited_context"])
        case.step(bool(known), f"spawn_sidebar → WebSocket ← sidebar_spawn, which knows {known}", since(began))
        began = time.monotonic()
        said = client.ask("post_to_sidebar", {"sidebar_id": sidebar_id, "text": "@ada two clocks"}, "exchange")
        awaited(feed, lambda f: f["type"] == "sidebar_exchange" and f["sidebar_id"] == sidebar_id)
        text = f"post_to_sidebar → WebSocket ← sidebar_exchange {said['seq']}, mentions {', '.join(said['mentions'])}"
        case.step(said["mentions"] == ["ada"], text, since(began))
        began = time.monotonic()
        done = {"sidebar_id": sidebar_id, "findings": "The clock was mocked twice"}
        merged = client.ask("merge_sidebar", done, "merged")
        awaited(feed, lambda f: f["type"] == "sidebar_merge" and f["sidebar_id"] == sidebar_id)
        case.step(True, f"merge_sidebar → WebSocket ← sidebar_merge, {merged['exchange_count']} exchange", since(began))
        wanted = {"session_id": session, "artifact_id": merged["artifact_id"]}
        kept = client.ask("get_artifact", wanted, "artifact")
        text = f"PostgreSQL ← get_artifact: {kept['type']} “{kept['name']}”"
        case.step("mocked twice" in kept["content"], text, since(began))
    return case


def _hands_off(client: Client) -> str | None:
    """Why the demonstration must not claim from the agent's queue: it would take work that is meant for a real one."""
    for status, words in (("pending", "waits there"), ("claimed", "is in hand"), ("running", "is in hand")):
        tasks = client.ask("list_tasks", {"agent_name": AGENT, "status": status}, "tasks")
        if any(task["task_type"] != DEMO_TASK for task in tasks):
            return f"other work of {AGENT} {words}"
        if status != "pending" and tasks:
            return f"{AGENT} is at work on another demonstration"
    return None


def _work_off(client: Client, task_id: str, worker_id: str) -> dict[str, Any]:
    """Claim and complete tasks, those of demonstrations that broke off included, until ours is done; returns ours."""
    while tasks := client.ask("claim_task", {"agent_name": AGENT, "worker_id": worker_id}, "tasks"):
        held = tasks[0]
        done = {"task_id": held["task_id"], "lease_token": held["lease_token"], "output_data": ANSWER}
        finished: dict[str, Any] = client.ask("complete_task", done, "task")
        if held["task_id"] == task_id:
            return finished
    raise CallFailed(f"claim_task gave nothing, though a task waits for {AGENT}")


def push_payload(path: Path = PUSH) -> tuple[dict[str, Any], str]:
    """A `push` payload and where it is from: GitHub's own example where it is at hand, else one like it."""
    if path.exists():
        return json.loads(path.read_text()), f"GitHub's example {path.name}"
    person = {"name": "Ada", "email": "ada@example.com", "username": "ada"}
    commit = {
        "id": hashlib.sha1(b"switchyard", usedforsecurity=False).hexdigest(),
        "message": "Route events by topic: naïve, but it works",
        "timestamp": "2026-01-02T03:04:05+01:00",
        "author": person,
        "committer": person,
        "added": ["switchyard.py"],
        "removed": [],
        "modified": ["README.md"],
        "distinct": True,
    }
    return {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": commit["id"],
        "created": True,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "commits": [commit],
        "head_commit": commit,
        "pusher": {"name": "ada", "email": "ada@example.com"},
        "repository": {"id": 1, "name": "switchyard", "full_name": "example/switchyard", "private": False},
        "sender": {"login": "ada", "id": 1, "type": "User"},
    }, "built in"


def _delivery(client: Client, delivery: str) -> dict[str, Any] | None:
    """The delivery in the newest page of `GET /api/deliveries`."""
    page = client.get("/api/deliveries", limit=50)
    return next((one for one in page.get("deliveries", []) if one.get("delivery_id") == delivery), None)
