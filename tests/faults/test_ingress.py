"""The ingress without a broker: its spool filled, full, and left behind by kill -9."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.load import Load
from tests.faults.processes import Ingress
from tests.faults.system import System

pytestmark = pytest.mark.anyio
NO_BROKER = "amqp://nobody:nothing@127.0.0.1:1/"


@pytest.fixture
def ingress(system: System, tmp_path: Path) -> Iterator[Ingress]:
    """An ingress that has never seen a broker."""
    made = Ingress(system, tmp_path, AMQP_URL=NO_BROKER, SWITCHYARD_SPOOL_MAX_BYTES="200000")
    made.start()
    yield made
    made.kill()


async def test_what_a_killed_ingress_had_in_its_spool_arrives(system: System, load: Load, ingress: Ingress) -> None:
    await ingress.serves()
    load.direct_to(ingress.url)
    load.start()
    await load.more(60)
    # In the middle of the load, some requests unanswered; those clients send again.
    ingress.kill()
    accepted = len(load.accepted)
    ingress.start()
    await load.more(60)
    await load.stop()
    ingress.kill()
    assert set(load.statuses) == {202}
    assert accepted >= 60
    assert not await load.effects()

    ingress.start(AMQP_URL=system.broker.url)
    await load.assert_once_each()
    assert await ingress.stop() == 0


async def test_a_full_spool_is_a_503_and_what_it_took_arrives(system: System, load: Load, ingress: Ingress) -> None:
    await ingress.serves()
    load.direct_to(ingress.url)
    load.start()

    await load.refused(50)
    full = len(load.accepted)
    await load.refused(50)
    await load.stop()
    # Smaller messages may still have found room; a full spool takes none.
    assert len(load.accepted) <= full + 5
    assert set(load.statuses) == {202, 503}
    refused = await load.http.post(
        load.message("webhook").path, content=b"x" * 20, headers=load.message("webhook").headers
    )
    assert refused.status_code == 401, "who is not verified is told so first"
    message = load.message("conversation_chunk")
    answer = await load.http.post(message.path, content=message.body, headers=message.headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "unavailable"

    ingress.kill()
    ingress.start(AMQP_URL=system.broker.url)
    await load.assert_once_each()
    assert await ingress.stop() == 0


async def test_spooled_messages_arrive_in_their_order(system: System, load: Load, ingress: Ingress) -> None:
    await ingress.serves()
    load.direct_to(ingress.url)
    sent = [load.message("conversation_chunk") for _ in range(50)]
    for message in sent:
        assert await load.send(message)
    ingress.kill()
    ingress.start(AMQP_URL=system.broker.url)
    await load.assert_once_each()
    assert load.told_in_order() == [message.message_id for message in sent]
