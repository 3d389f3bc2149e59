"""The topology: made by whoever comes first, the same for everybody, and nothing falls between its parts."""

import asyncio

import pytest
from pamqp import commands as amqp

from shared.bus import topology
from shared.bus.topology import COMMANDS, DEAD_LETTERS, EVENT_LOG, EVENTS, declare
from shared.errors import Unavailable
from shared.messages import COMMANDS as REGISTRY
from shared.messages import EVENTS as EVENT_CLASSES
from tests.integration.bus.clients import Clients, until

pytestmark = pytest.mark.anyio


async def test_it_can_be_declared_again_and_again(fresh_amqp_url: str, clients: Clients) -> None:
    connection = await clients.connection(fresh_amqp_url)
    for _ in range(3):
        await declare(connection)


async def test_it_can_be_declared_by_many_at_once(fresh_amqp_url: str, clients: Clients) -> None:
    connections = [await clients.connection(fresh_amqp_url) for _ in range(5)]
    await asyncio.gather(*map(declare, connections))
    for queue in topology.QUEUES:
        await connections[0].call(amqp.Queue.Declare(queue=queue.name, passive=True))


async def test_what_is_there_differently_is_an_error_that_names_it(fresh_amqp_url: str, clients: Clients) -> None:
    first = await clients.connection(fresh_amqp_url)
    await first.call(amqp.Queue.Declare(queue="memory.commands", durable=True, arguments={"x-queue-type": "classic"}))
    with pytest.raises(Unavailable, match=r"PRECONDITION_FAILED.*memory\.commands"):
        await declare(await clients.connection(fresh_amqp_url))


async def test_a_command_no_area_has_ends_among_the_dead_letters(fresh_amqp_url: str, clients: Clients) -> None:
    publisher = await clients.publisher(fresh_amqp_url)
    await publisher.publish(COMMANDS, "memory.store_memroy", b"{}", message_id="m1")
    letters = await clients.letters(fresh_amqp_url)
    (letter,) = await until(lambda: letters)
    assert (letter.message_id, letter.routing_key, letter.exchange) == ("m1", "memory.store_memroy", COMMANDS)


@pytest.mark.parametrize("name", sorted(REGISTRY))
async def test_every_command_has_exactly_one_queue(name: str) -> None:
    spec = REGISTRY[name]
    queues = [queue.name for queue in topology.QUEUES if (COMMANDS, spec.routing_key) in queue.bindings]
    assert queues == [f"{spec.area}.{'queries' if spec.reads else 'commands'}"]


async def test_commands_and_events_share_no_queue() -> None:
    """A handler whose own event came back to it as a command would never end."""
    for queue in topology.QUEUES:
        assert len({source for source, _ in queue.bindings if source in (COMMANDS, EVENTS)}) <= 1
    assert all(not kind.topic.startswith("*") for kind in EVENT_CLASSES.values())


async def test_nothing_that_was_accepted_can_be_dropped_by_a_queue() -> None:
    """A full queue refuses its publishers; nothing waits in a queue whose dead letters have no place to go."""
    names = [queue.name for queue in topology.QUEUES]
    assert names[0] == DEAD_LETTERS
    for queue in topology.QUEUES:
        if queue.name == EVENT_LOG or queue.name.endswith(".queries"):
            continue
        assert queue.arguments["x-queue-type"] == "quorum"
        if "x-max-length" in queue.arguments:
            assert queue.arguments["x-overflow"] == "reject-publish"
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
