"""What a connection costs that only listens."""

import gc
import tracemalloc

import pytest

from tests.unit.ws_gateway.house import House, Socket, token

pytestmark = pytest.mark.anyio

CLIENTS = 300
# A fifth of what a connection may cost in all; the rest is for its socket.
MOST_BYTES = 8_000


class Sink(Socket):
    """A socket that remembers nothing."""

    def write(self, data: bytes) -> None:
        pass


async def test_a_connection_that_only_listens_costs_little() -> None:
    house = House()
    tokens = [token(f"agent-{number}") for number in range(CLIENTS)]
    sockets = [Sink() for _ in tokens]
    gc.collect()
    tracemalloc.start()
    try:
        for socket, shown in zip(sockets, tokens, strict=True):
            client = house.gateway.connect(socket)
            client.entrance.open(shown)
            client.answers.said(b'{"type":"subscribe","topics":["session.s1.#"]}')
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert house.gateway.places.total == CLIENTS
    assert used / CLIENTS < MOST_BYTES
