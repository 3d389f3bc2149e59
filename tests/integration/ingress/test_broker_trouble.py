"""The broker away, frozen or killed: what is accepted is kept and comes out in order; nobody waits long."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from shared.messages import Command
from tests.integration.bus.broker import Broker
from tests.integration.ingress.conftest import Ingress, take
from tests.waiting import eventually

MakeIngress = Callable[..., Ingress]
NOWHERE = "amqp://127.0.0.1:1/"


def session(number: int | str) -> dict[str, Any]:
    return {"session_id": f"s{number}"}


def create(ingress: Ingress, number: int | str, **headers: str) -> httpx.Response:
    return ingress.http.post(
        "/api/commands/create_session",
        json=session(number),
        headers={"Idempotency-Key": f"m{number}", **{name.replace("_", "-"): value for name, value in headers.items()}},
    )


def sessions_of(url: str, at_least: int) -> list[str]:
    found: list[Command] = asyncio.run(take(url, "session.commands", at_least=at_least))
    return [command.message_id for command in found]


def firsts(ids: list[str]) -> list[str]:
    """Without the repetitions that a retried publish makes."""
    return list(dict.fromkeys(ids))


def test_before_the_broker_is_there_it_is_live_not_ready_and_takes_messages(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    broker.stop()
    ingress = make_ingress(broker.url).start(ready=False)
    assert ingress.health("ready") == 503
    assert "broker" in ingress.http.get("/health/ready").json()["failing"]
    got = create(ingress, 1)
    assert (got.status_code, got.json()) == (202, {"message_id": "m1", "status": "accepted"})
    assert ingress.http.get("/api/commands/m1").json() == {"status": "pending"}
    assert ingress.http.post("/api/commands/list_sessions", json={}).status_code == 503
    broker.start()
    eventually(lambda: ingress.health("ready") == 200, 20)
    assert firsts(sessions_of(broker.url, 1)) == ["m1"]


def test_what_was_spooled_comes_out_in_order_across_restarts_and_kills(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    broker.stop()
    ingress = make_ingress(broker.url).start(ready=False)
    for number in range(300):
        assert create(ingress, number).status_code == 202
        if number == 100:
            ingress.kill()
            ingress.start(ready=False)
        if number == 200:
            assert ingress.stop() == 0
            ingress.start(ready=False)
    ingress.kill()
    broker.start()
    ingress.start()
    assert firsts(sessions_of(broker.url, 300)) == [f"m{number}" for number in range(300)]
    eventually(lambda: ingress.metric("switchyard_spool_messages") == 0)


def test_new_messages_queue_up_behind_what_waits_in_the_spool(make_ingress: MakeIngress, broker: Broker) -> None:
    broker.stop()
    ingress = make_ingress(broker.url).start(ready=False)
    for number in range(300):
        assert create(ingress, number, Prefer="respond-async").status_code == 202
    # Many more come while it boots.
    broker.launch()
    number = 300
    while ingress.metric("switchyard_spool_messages") or ingress.health("ready") != 200:
        for _ in range(20):
            assert create(ingress, number, Prefer="respond-async").status_code == 202
            number += 1
    for _ in range(20):
        assert create(ingress, number, Prefer="respond-async").status_code == 202
        number += 1
    assert firsts(sessions_of(broker.url, number)) == [f"m{each}" for each in range(number)]


def test_every_client_keeps_its_order_while_the_broker_is_killed_and_comes_back(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    ingress = make_ingress(broker.url).start()
    stop = threading.Event()

    def client(name: int) -> list[str]:
        sent = []
        with httpx.Client(base_url=ingress.http.base_url, headers=ingress.http.headers, timeout=10) as http:
            # A little pause leaves the broker a core to boot on.
            while not stop.wait(0.005):
                key = f"m{name}-{len(sent)}"
                headers = {"Idempotency-Key": key, "Prefer": "respond-async"}
                assert http.post("/api/commands/create_session", json={}, headers=headers).status_code == 202
                sent.append(key)
        return sent

    with ThreadPoolExecutor(8) as pool:
        lanes = [pool.submit(client, name) for name in range(8)]
        try:
            for _ in range(2):
                was = ingress.metric("switchyard_spooled_total")
                asyncio.run(broker.crash())
                eventually(lambda was=was: ingress.metric("switchyard_spooled_total") > was + 100)
                broker.launch()
                eventually(
                    lambda: ingress.health("ready") == 200 and not ingress.metric("switchyard_spool_messages"), 40
                )
        finally:
            stop.set()
        sent = [lane.result() for lane in lanes]
    arrived = firsts(sessions_of(broker.url, sum(map(len, sent))))
    for name, keys in enumerate(sent):
        assert [key for key in arrived if key.startswith(f"m{name}-")] == keys


def test_with_a_frozen_broker_every_answer_comes_within_3_s(make_ingress: MakeIngress, broker: Broker) -> None:
    ingress = make_ingress(broker.url).start()
    assert create(ingress, 0, Prefer="respond-async").status_code == 202
    asked: list[tuple[str, float, int]] = []

    def ask(kind: str, number: int) -> None:
        began = time.monotonic()
        with httpx.Client(base_url=ingress.http.base_url, headers=ingress.http.headers, timeout=20) as http:
            if kind == "webhook":
                got = http.post("/webhook", content=b"{}", headers={"Idempotency-Key": f"w{number}"})
            elif kind == "query":
                got = http.post("/api/commands/list_sessions", json={})
            elif kind == "campfire":
                got = http.post("/webhook/helper?token=campfire-token", json={"message": {"id": number}})
            else:
                got = http.post(
                    "/api/commands/create_session", json=session(number), headers={"Idempotency-Key": f"m{number}"}
                )
        asked.append((kind, time.monotonic() - began, got.status_code))

    kinds = ["webhook", "command", "query", "campfire"]
    # These wait for a reply, or for the worker that is not there, when the broker freezes.
    with ThreadPoolExecutor(40) as pool:
        early = [pool.submit(ask, kind, 1) for kind in ("command", "query")]
        eventually(lambda: not any(task.done() for task in early) and ingress.health("live") == 200)
        broker.freeze()
        try:
            began = time.monotonic()
            for number in range(2, 9):
                for task in [pool.submit(ask, kind, number) for kind in kinds * 2]:
                    task.result()
            for task in early:
                task.result()
            assert ingress.health("ready") == 200
            assert time.monotonic() - began < 15
        finally:
            broker.thaw()
    expected = {"webhook": 202, "command": 202, "query": 503, "campfire": 204}
    for kind, seconds, status in asked:
        assert status == expected[kind]
        assert seconds < (1 if kind == "campfire" else 3), (kind, seconds)
    # Once it is known to be frozen, nobody waits for it.
    assert max(seconds for kind, seconds, _ in asked[-16:] if kind != "campfire") < 0.5
    eventually(lambda: ingress.metric("switchyard_spool_messages") == 0, 30)
    assert set(sessions_of(broker.url, 9)) == {f"m{number}" for number in range(9)}
    assert len({command.message_id for command in asyncio.run(take(broker.url, "webhook.commands", at_least=14))}) == 14


def test_under_a_memory_alarm_messages_go_to_the_spool_and_come_out_after_it(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    ingress = make_ingress(broker.url).start()
    broker.alarm()
    try:
        for number in range(10):
            began = time.monotonic()
            assert create(ingress, number, Prefer="respond-async").status_code == 202
            assert time.monotonic() - began < 3
        assert ingress.metric("switchyard_spool_messages") > 0
    finally:
        broker.clear()
    eventually(lambda: ingress.metric("switchyard_spool_messages") == 0, 20)
    assert firsts(sessions_of(broker.url, 10)) == [f"m{number}" for number in range(10)]


def test_a_full_spool_is_503_and_never_a_2xx(make_ingress: MakeIngress) -> None:
    ingress = make_ingress(NOWHERE, SWITCHYARD_SPOOL_MAX_BYTES=20_000).start(ready=False)
    answers = [ingress.github(b'{"n":"' + b"x" * 1000 + b'"}', f"d{number}") for number in range(40)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {202, 503}
    assert statuses == sorted(statuses)
    refused = answers[-1]
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["code"] == "unavailable"
    assert ingress.health("ready") == 503
    assert {"broker", "spool"} == set(ingress.http.get("/health/ready").json()["failing"])
    assert ingress.metric("switchyard_spool_messages") == statuses.count(202)


def test_a_full_spool_empties_and_takes_again(make_ingress: MakeIngress, broker: Broker) -> None:
    broker.stop()
    ingress = make_ingress(broker.url, SWITCHYARD_SPOOL_MAX_BYTES=20_000).start(ready=False)
    kept = []
    for number in range(60):
        if create(ingress, number).status_code == 202:
            kept.append(f"m{number}")
    assert 10 < len(kept) < 60
    broker.start()
    eventually(lambda: ingress.health("ready") == 200 and not ingress.metric("switchyard_spool_messages"), 20)
    assert create(ingress, "after", Prefer="respond-async").status_code == 202
    assert firsts(sessions_of(broker.url, len(kept) + 1)) == [*kept, "mafter"]


def test_two_ingresses_on_one_folder_and_one_takes_over_what_the_other_left(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    broker.stop()
    one, other = make_ingress(broker.url).start(ready=False), make_ingress(broker.url).start(ready=False)
    for number in range(20):
        assert create(other, number).status_code == 202
    assert create(one, "one").status_code == 202
    other.kill()
    one.kill()
    broker.start()
    one.start()
    assert set(sessions_of(broker.url, 21)) == {*(f"m{number}" for number in range(20)), "mone"}


@pytest.mark.parametrize("moment", ["idle", "waiting"])
def test_sigterm_ends_it_cleanly_and_answers_who_waits(make_ingress: MakeIngress, broker: Broker, moment: str) -> None:
    ingress = make_ingress(broker.url).start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(create, ingress, 1, Prefer="wait=60") if moment == "waiting" else None
        if waiting:
            eventually(lambda: "m1" in str(asyncio.run(peek(broker.url))))
        began = time.monotonic()
        assert ingress.stop() == 0
        assert time.monotonic() - began < 10
        if waiting:
            assert waiting.result().status_code == 202
    assert "Traceback" not in ingress.log.read_text()


def test_a_campfire_message_that_was_answered_before_it_was_kept_survives_sigterm(
    make_ingress: MakeIngress, broker: Broker
) -> None:
    ingress = make_ingress(broker.url).start()
    broker.freeze()
    said = {
        "room": {"id": 1, "path": "/rooms/1/9-abcdefghijkl/messages"},
        "message": {"id": 7, "body": {"plain": "hi"}},
    }
    assert ingress.http.post("/webhook/helper", params={"token": "campfire-token"}, json=said).status_code == 204
    assert ingress.stop() == 0
    broker.thaw()
    ingress.start()
    kept = asyncio.run(take(broker.url, "webhook.commands", at_least=1))
    assert {command.data.delivery_id for command in kept} == {"7"}


async def peek(url: str) -> list[str]:
    """The ids in the queue, which stay there."""
    from shared.bus.connection import Connection
    from shared.bus.topology import declare

    found: list[str] = []
    async with await Connection.open(url, name="peek") as connection:
        await declare(connection)
        await connection.consume(
            "session.commands", lambda deliveries: found.extend(each.message_id for each in deliveries), prefetch=100
        )
        await asyncio.sleep(0.1)
    return found
