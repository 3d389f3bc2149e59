"""The session worker as a process: commands in, events out and recorded, a clean end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import psycopg

from cli.local.ports import free_port
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.messages import encode_command, new_id, spec_of
from tests.waiting import eventually, eventually_async

ROOT = Path(__file__).resolve().parents[3]


def ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
        return answer.status == 200


async def converse(amqp_url: str) -> dict[str, Any]:
    """Opens a session, writes to it, and asks for the recorded events until all are there."""
    publisher = Publisher(amqp_url, name="tests")
    rpc = Rpc(publisher)
    publishing = asyncio.ensure_future(publisher.run())
    await publisher.wait_connected()

    async def do(name: str, data: dict[str, Any]) -> dict[str, Any]:
        message_id = new_id()
        body = encode_command(name, data, message_id=message_id, sender_agent_id="ada")
        reply = orjson.loads(await rpc.request(spec_of(name), body, message_id=message_id, wait=20))
        assert reply["ok"], reply
        return reply["result"]

    await do("create_session", {"session_id": "s1"})
    await asyncio.gather(
        *(do("conversation_chunk", {"session_id": "s1", "content": f"Idea: number {n}"}) for n in range(50))
    )
    await do("receive_webhook", {"source": "github", "event": "push", "delivery_id": "d1", "payload": {"n": 1}})

    async def all_recorded() -> dict[str, Any] | None:
        page = (await rpc.query("list_events", {"after": -1}, sender="ada")).value()
        return page if len(page["events"]) == 52 else None

    page = await eventually_async(all_recorded, 30, because="52 events recorded")
    log = (await rpc.query("get_event_log", {}, sender="ada")).value()
    session = (await rpc.query("get_session", {"session_id": "s1"}, sender="ada")).value()["session"]
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    return {"events": page["events"], "log": log, "session": session}


def test_the_worker_serves_records_and_ends_cleanly(database_url, fresh_amqp_url, tmp_path):
    port = free_port()
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.session_worker"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database_url,
            "AMQP_URL": fresh_amqp_url,
            "SWITCHYARD_WORKERS_PORT": str(port),
            "SWITCHYARD_LOG_FORMAT": "json",
        },
        stderr=log,
    )
    try:
        eventually(lambda: ready(port), 30, because="the worker ready")
        seen = asyncio.run(converse(fresh_amqp_url))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - started < 15
    finally:
        process.kill()
        process.wait()
        log.close()
    lines = [orjson.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [line for line in lines if line["level"] in ("warning", "error", "critical")] == []

    assert [event["cursor"] for event in seen["events"]] == list(range(1, 53))
    of_session = [event for event in seen["events"] if event.get("session_id") == "s1"]
    assert sorted(event["session_seq"] for event in of_session) == list(range(1, 52))
    assert (seen["log"]["first"], seen["log"]["last"]) == (1, 52)
    assert (seen["session"]["conversation_chunk_count"], seen["session"]["seq"]) == (50, 51)
    with psycopg.connect(database_url) as connection:
        (unpublished,) = connection.execute("select count(*) from handled_messages where events is not null").fetchone()
    assert unpublished == 0
