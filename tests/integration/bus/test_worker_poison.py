"""The worker runtime and what nobody can read: dead letters with the reason, and neighbours that notice nothing."""

import asyncio
import gzip
from typing import Any

import pytest

from services.session_worker import batch
from services.session_worker.handlers.actions import log_action
from shared.bus.topology import COMMANDS
from shared.database import Transaction
from shared.messages import Command, new_id
from tests.integration.bus.clients import until
from tests.integration.bus.poison import POISON, STRANGE, raw_publish
from tests.integration.bus.workshop import Workshop

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", POISON)
async def test_poison_is_a_dead_letter_and_an_answer_and_its_neighbours_are_unaffected(
    workshop: Workshop, name: str
) -> None:
    body, code, said = POISON[name]
    letters = await workshop.clients.letters(workshop.url)
    before = await workshop.send(*(workshop.insight(n) for n in range(3)))
    asked = asyncio.ensure_future(workshop.ask_raw("session.record_insight", body))
    await asyncio.wait([asked], timeout=0.1)
    after = await workshop.send(*(workshop.insight(n) for n in range(3)))
    await workshop.worker()

    error = (await asked)["error"]
    assert (error["code"], said in error["message"]) == (code, True)
    (letter,) = await until(lambda: letters)
    assert letter.body == body
    assert letter.headers["x-reason"] == error["message"][:1000]
    await workshop.all_told(before + after)
    await workshop.nothing_queued()
    assert len(letters) == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip"),
        ("br", b"{}"),
        ("gzip", gzip.compress(b"\0" * 30_000_000)),
        ("gzip", gzip.compress(b"{}")[:-5]),
    ],
    ids=["damaged", "unknown", "a bomb", "cut short"],
)
async def test_a_body_that_can_not_be_unpacked_is_a_dead_letter(workshop: Workshop, encoding: str, body: bytes) -> None:
    await workshop.worker()
    letters = await workshop.clients.letters(workshop.url)
    reply = await workshop.ask_raw("session.record_insight", body, content_encoding=encoding)
    assert reply["error"]["code"] in ("invalid", "too_large")
    (letter,) = await until(lambda: letters)
    assert (letter.body, letter.content_encoding) == (body, encoding)


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("body", [b"poison", b"a bug", b"fine"])
async def test_properties_nobody_can_read_stop_nobody(workshop: Workshop, name: str, body: bytes) -> None:
    """Sent as bytes, since no AMQP library would; RabbitMQ itself looks at none of it."""
    message_id = new_id()
    whole = {
        b"poison": b"poison",
        b"a bug": workshop.insight({"bug": "oops"}, message_id=message_id)[1],
        b"fine": workshop.insight(message_id=message_id)[1],
    }[body]
    connection = await workshop.clients.connection(workshop.url)
    connection._write(raw_publish(COMMANDS, "session.record_insight", whole, **STRANGE[name]))
    ids = await workshop.send(*(workshop.insight(n) for n in range(5)))
    letters = await workshop.clients.letters(workshop.url)
    retried = await workshop.clients.letters(workshop.url, "switchyard.retry.10s")
    worker = await workshop.worker()

    await workshop.all_told(ids)
    if body == b"poison":
        (letter,) = await until(lambda: letters)
        assert letter.body == b"poison"
        assert "not JSON" in letter.headers["x-reason"]
    elif body == b"a bug":
        (held,) = await until(lambda: retried)
        assert (held.body, held.headers["x-attempt"]) == (whole, 1)
    else:
        await workshop.all_told([message_id])
    await workshop.stop(worker)
    assert await workshop.queued("session.commands") == 0


async def test_a_bug_within_a_batch_gives_up_that_batch_alone_and_it_is_done_when_it_comes_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buggy(tx: Transaction, commands: list[Command]) -> list[Any]:
        if any(command.data.type == "bug" for command in commands):
            raise RuntimeError("a bug in a part")
        return await log_action(tx, commands)

    def two_parts(name: str) -> tuple[str, bytes, str]:
        memory = {"session_id": "s1", "type": "fact", "key": name, "content": 1}
        action = {"session_id": "s1", "type": name}
        parts = [{"command": "store_memory", "data": memory}, {"command": "log_action", "data": action}]
        return workshop.command("batch", {"commands": parts}, message_id=name)

    async def done() -> tuple[list[str], list[str]]:
        memories = await workshop.sql("select key from memories order by key")
        actions = await workshop.sql("select type from actions order by type")
        return [key for (key,) in memories], [kind for (kind,) in actions]

    await workshop.open("s1")
    letters = await workshop.clients.letters(workshop.url)
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_BATCH_HANDLERS", {**batch._BATCH_HANDLERS, "log_action": buggy})
        before = await workshop.send(two_parts("a"), workshop.insight())
        # Its last attempt, so that nobody has to wait for the others.
        await workshop.send(two_parts("bug"), headers={"x-attempt": 5})
        after = await workshop.send(two_parts("b"), workshop.insight())
        await workshop.worker(more=batch.HANDLERS)
        (letter,) = await until(lambda: letters)
        await workshop.all_told(before + after)
    assert "RuntimeError: a bug in a part" in letter.headers["x-reason"]
    assert await done() == (["a", "b"], ["a", "b"])

    came_by = letter.headers["x-original-exchange"], letter.headers["x-original-routing-key"]
    await workshop.publisher.publish(*came_by, letter.body, message_id=letter.message_id)
    await workshop.all_told(["bug"])
    assert await done() == (["a", "b", "bug"], ["a", "b", "bug"])
    ((seq,),) = await workshop.sql("select seq from sessions where id = 's1'")
    numbers = [event["session_seq"] for event in workshop.told() if event.get("session_id") == "s1"]
    assert sorted(set(numbers)) == [*range(1, seq + 1)]
    assert len(letters) == 1
