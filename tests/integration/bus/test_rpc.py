"""Questions and answers over the bus."""

import asyncio
import time
from collections.abc import Callable

import orjson
import pytest
from pamqp import commands as amqp

from shared.bus.bodies import packed
from shared.bus.connection import Connection
from shared.bus.frames import Delivery
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.errors import Rejected, Unavailable, Unconfirmed
from shared.messages import encode_command, new_id, spec_of
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients, until
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


class Answerer:
    """Takes questions from the memory queues and answers by a function of the test's; None: not at all."""

    def __init__(self, connection: Connection, answer: Callable[[Delivery], bytes | None]) -> None:
        self._connection = connection
        self._answer = answer
        self.taken: list[Delivery] = []

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.taken.append(delivery)
            if (reply := self._answer(delivery)) is not None:
                body, encoding = packed(reply)
                self._connection.send(
                    "", delivery.reply_to, body, mandatory=False, persistent=False,
                    correlation_id=delivery.correlation_id, content_encoding=encoding,
                )  # fmt: skip
            self._connection.ack(delivery.tag)


async def answerer(clients: Clients, url: str, answer: Callable[[Delivery], bytes | None]) -> Answerer:
    connection = await clients.connection(url)
    made = Answerer(connection, answer)
    for queue in ("memory.queries", "memory.commands"):
        await connection.consume(queue, made.on_deliveries)
    return made


def ok(result: object) -> bytes:
    return orjson.dumps({"ok": True, "result": result})


def asked(delivery: Delivery) -> dict[str, object]:
    data: dict[str, object] = orjson.loads(delivery.body)["data"]
    return data


def question(key: str) -> dict[str, str]:
    return {"session_id": "s1", "key": key}


async def store(rpc: Rpc, *, wait: float, content: object = 1) -> bytes:
    message_id = new_id()
    data = {"session_id": "s1", "type": "fact", "content": content}
    body = encode_command("store_memory", data, message_id=message_id, sender_agent_id="ada")
    return await rpc.request(spec_of("store_memory"), body, message_id=message_id, wait=wait)


async def test_many_at_once_get_each_their_own_answer(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    await answerer(clients, fresh_amqp_url, lambda delivery: ok({"key": asked(delivery)["key"]}))
    answers = await asyncio.gather(
        *(rpc.query("retrieve_memory", question(f"k{n}"), sender="ada", wait=20) for n in range(500))
    )
    assert [answer.value()["key"] for answer in answers] == [f"k{n}" for n in range(500)]


async def test_answers_out_of_order_find_their_askers(fresh_amqp_url: str, clients: Clients) -> None:
    """One slow answer holds up nobody."""
    rpc = await clients.rpc(fresh_amqp_url)
    slow = await answerer(
        clients, fresh_amqp_url, lambda delivery: None if asked(delivery)["key"] == "slow" else ok({"n": 1})
    )
    waiting = asyncio.ensure_future(rpc.query("retrieve_memory", question("slow"), sender="ada", wait=20))
    await until(lambda: slow.taken)
    for _ in range(10):
        await rpc.query("retrieve_memory", question("quick"), sender="ada")
    assert not waiting.done()
    held = slow.taken[0]
    slow._connection.send("", held.reply_to, ok({"n": 2}), mandatory=False, correlation_id=held.correlation_id)
    assert (await waiting).value() == {"n": 2}


async def test_a_refusal_is_raised_with_its_code_and_details(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    error = {"code": "not_found", "message": "no such memory", "details": {"key": "k"}}
    await answerer(clients, fresh_amqp_url, lambda _: orjson.dumps({"ok": False, "error": error}))
    with pytest.raises(Rejected, match="no such memory") as refused:
        await rpc.query("retrieve_memory", question("k"), sender="ada")
    assert refused.value.as_error() == error


async def test_an_answer_too_large_for_the_bus_as_it_is_comes_out_whole(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    text = "x" * 3_000_000
    await answerer(clients, fresh_amqp_url, lambda _: ok({"memories": text}))
    assert (await rpc.query("query_memories", {}, sender="ada")).value()["memories"] == text
    assert orjson.loads(await store(rpc, wait=10))["result"]["memories"] == text


async def test_a_question_too_large_for_the_bus_as_it_is_arrives_whole(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    taker = await answerer(clients, fresh_amqp_url, lambda _: ok({}))
    await store(rpc, wait=10, content="x" * 1_000_000)
    assert taker.taken[0].content_encoding == "gzip"


async def test_no_answer_is_a_timeout_and_the_command_is_kept(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await store(rpc, wait=0.3)
    assert 0.2 < time.monotonic() - began < 2
    kept = await clients.letters(fresh_amqp_url, "memory.commands")
    await until(lambda: kept)


async def test_a_question_nobody_takes_is_gone_when_its_asker_is(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    with pytest.raises(TimeoutError):
        await rpc.query("retrieve_memory", question("k"), sender="ada", wait=0.3)

    connection = await clients.connection(fresh_amqp_url)

    async def is_empty() -> bool:
        declared = await connection.call(amqp.Queue.Declare(queue="memory.queries", passive=True))
        return declared.message_count == 0

    await eventually_async(is_empty)


async def test_an_answer_that_comes_too_late_troubles_nobody(fresh_amqp_url: str, clients: Clients) -> None:
    rpc = await clients.rpc(fresh_amqp_url)
    late = await answerer(clients, fresh_amqp_url, lambda delivery: None if len(late.taken) == 1 else ok({"n": 2}))
    with pytest.raises(TimeoutError):
        await rpc.query("retrieve_memory", question("k"), sender="ada", wait=0.2)
    held = late.taken[0]
    late._connection.send("", held.reply_to, ok({"n": 1}), mandatory=False, correlation_id=held.correlation_id)
    assert (await rpc.query("retrieve_memory", question("k"), sender="ada")).value() == {"n": 2}


async def test_a_broker_that_dies_ends_every_wait_at_once(broker: Broker, clients: Clients) -> None:
    """Answers go to the connection that asked, so none can come any more."""
    rpc = await clients.rpc(broker.url)
    reading = asyncio.ensure_future(rpc.query("retrieve_memory", question("k"), sender="ada", wait=60))
    writing = asyncio.ensure_future(store(rpc, wait=60))
    taker = await answerer(clients, broker.url, lambda _: None)
    await until(lambda: len(taker.taken) >= 2)

    began = time.monotonic()
    await broker.crash()
    with pytest.raises((Unavailable, TimeoutError)):
        await reading
    # It was confirmed, so it will be handled; only the answer is lost.
    with pytest.raises((TimeoutError, Unconfirmed)):
        await writing
    assert time.monotonic() - began < 5
    with pytest.raises(Unavailable):
        await store(rpc, wait=60)

    await broker.start_again()
    await answerer(clients, broker.url, lambda _: ok({"n": 1}))
    await until(lambda: rpc._publisher.connected)
    assert (await rpc.query("retrieve_memory", question("k"), sender="ada")).value() == {"n": 1}


async def test_asking_with_the_broker_away_fails_at_once_and_leaves_nothing_waiting() -> None:
    rpc = Rpc(Publisher("amqp://u:p@127.0.0.1:1/", name="test"))
    for name in ("retrieve_memory", "query_memories"):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await rpc.query(name, question("k") if name == "retrieve_memory" else {}, sender="ada", wait=10)
        assert time.monotonic() - began < 0.5
    with pytest.raises(Unavailable):
        await store(rpc, wait=10)
    assert not rpc._waiting
