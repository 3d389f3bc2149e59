"""Reading commands: answered or refused, never recorded, and gone with their askers."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from cli.local.postgres import Postgres
from shared.bus.queries import QueryServer
from shared.bus.topology import COMMANDS
from shared.database import Database, Transaction
from shared.errors import Rejected, not_found
from shared.messages import Command
from tests.integration.bus.broker import Broker
from tests.integration.bus.clients import Clients, until
from tests.integration.bus.poison import STRANGE, raw_publish
from tests.integration.bus.workshop import Workshop
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def retrieve(tx: Transaction, command: Command) -> dict[str, Any]:
    """Answers as the key says."""
    key = command.data.key
    match key:
        case "missing":
            raise not_found("memory", key)
        case "bug":
            raise RuntimeError("a secret of the code")
        case "large":
            return {"memory": "x" * 1_000_000}
        case "too large":
            return {"memory": "x" * 28_000_000}
        case "slow":
            await tx.execute(text("select pg_sleep(0.5)"))
        case "database":
            await tx.execute(text("select 1"))
    return {"memory": key, "session": command.session_id}


async def serve(clients: Clients, url: str, database: Database) -> None:
    server = QueryServer(
        url=url, areas=["memory"], database=database, publisher=await clients.publisher(url),
        handlers={"retrieve_memory": retrieve},
    )  # fmt: skip
    clients.spawn(server.run())


async def ask(workshop: Workshop, key: str, wait: float = 20) -> dict[str, Any]:
    question = {"session_id": "s1", "key": key}
    answer: dict[str, Any] = (await workshop.rpc.query("retrieve_memory", question, sender="ada", wait=wait)).value()
    return answer


async def test_a_question_is_answered(workshop: Workshop) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    assert await ask(workshop, "k") == {"memory": "k", "session": "s1"}
    assert not await workshop.sql("select from handled_messages")


async def test_slow_questions_are_answered_side_by_side(workshop: Workshop) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    await ask(workshop, "k")
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(ask(workshop, "slow") for _ in range(5)))
    assert asyncio.get_running_loop().time() - began < 2


async def test_more_questions_than_can_be_answered_at_once_wait_in_the_broker_and_no_longer_than_their_askers(
    workshop: Workshop,
) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    await ask(workshop, "k")
    patient = [asyncio.ensure_future(ask(workshop, "slow")) for _ in range(40)]
    hasty = [asyncio.ensure_future(ask(workshop, "slow", wait=1)) for _ in range(40)]

    async def some_wait() -> bool:
        return await workshop.queued("memory.queries") >= 40

    await eventually_async(some_wait)
    assert {answer["memory"] for answer in await asyncio.gather(*patient)} == {"slow"}
    ended = await asyncio.gather(*hasty, return_exceptions=True)
    assert any(isinstance(each, TimeoutError) for each in ended)
    assert await workshop.queued("memory.queries") == 0


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [("missing", "not_found", "'missing' does not exist"), ("bug", "internal", "RuntimeError"),
     ("too large", "too_large", "limit")],
)  # fmt: skip
async def test_a_question_that_fails_is_an_answer_too(workshop: Workshop, key: str, code: str, said: str) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    with pytest.raises(Rejected, match=said) as refused:
        await ask(workshop, key)
    assert refused.value.code == code
    assert "secret of the code" not in str(refused.value)
    assert await ask(workshop, "k")


async def test_a_large_answer_comes_whole(workshop: Workshop) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    assert len((await ask(workshop, "large"))["memory"]) == 1_000_000


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [(b"no JSON", "", "not JSON"), (b"{}", "gzip", "uncompressed"), (b"{}", "", "type"),
     (b'{"type":"command","message_id":"m","command":"retrieve_memory","data":{"session_id":"s"}}', "", "key"),
     (b'{"type":"command","message_id":"m","command":"get_task","data":{"task_id":"t"}}', "", "get_task")],
    ids=["no JSON", "compressed", "no command", "a field missing", "a question for others"],
)  # fmt: skip
async def test_a_question_nobody_understands_is_refused(
    workshop: Workshop, body: bytes, encoding: str, said: str
) -> None:
    await serve(workshop.clients, workshop.url, workshop.database)
    reply = await workshop.ask_raw("memory.retrieve_memory", body, content_encoding=encoding)
    assert (reply["error"]["code"], said in reply["error"]["message"]) == ("invalid", True)


@pytest.mark.parametrize("name", STRANGE)
async def test_properties_nobody_can_read_stop_no_questions(workshop: Workshop, name: str) -> None:
    connection = await workshop.clients.connection(workshop.url)
    connection._write(raw_publish(COMMANDS, "memory.retrieve_memory", b"poison", **STRANGE[name]))
    await serve(workshop.clients, workshop.url, workshop.database)
    for _ in range(5):
        assert await ask(workshop, "k")
    assert await workshop.queued("memory.queries") == 0


async def test_while_the_database_is_away_the_answer_is_unavailable(
    fresh_amqp_url: str, clients: Clients, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    try:
        database = Database(server.url, name="test")
        clients.on_exit(database.close)
        await serve(clients, fresh_amqp_url, database)
        rpc = await clients.rpc(fresh_amqp_url)
        question = {"session_id": "s1", "key": "database"}
        assert (await rpc.query("retrieve_memory", question, sender="ada", wait=20)).value()

        await asyncio.to_thread(server.kill)
        for _ in range(3):
            with pytest.raises(Rejected, match="the database is away") as refused:
                await rpc.query("retrieve_memory", question, sender="ada", wait=20)
            assert refused.value.code == "unavailable"

        server.start()
        assert (await rpc.query("retrieve_memory", question, sender="ada", wait=20)).value()

        # Nobody notices a restart between two questions, though every pooled connection is dead.
        slow = {"session_id": "s1", "key": "slow"}
        await asyncio.gather(*(rpc.query("retrieve_memory", slow, sender="ada", wait=20) for _ in range(5)))
        await asyncio.to_thread(server.stop)
        server.start()
        await asyncio.gather(*(rpc.query("retrieve_memory", slow, sender="ada", wait=20) for _ in range(5)))
    finally:
        server.kill()


async def test_questions_are_answered_again_after_the_broker_was_killed(
    broker: Broker, workshop: Workshop, clients: Clients
) -> None:
    await serve(clients, broker.url, workshop.database)
    rpc = await clients.rpc(broker.url)
    question = {"session_id": "s1", "key": "k"}
    assert (await rpc.query("retrieve_memory", question, sender="ada", wait=20)).value()
    await broker.crash()
    await broker.start_again()
    await until(lambda: rpc._publisher.connected)
    assert (await rpc.query("retrieve_memory", question, sender="ada", wait=20)).value()
