"""What a client must not send, and what becomes of it."""

import asyncio
import random

import pytest

from tests.integration.ws_gateway.processes import Client, GatewayProcess, connected

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [65_537, 1_000_000, 20_000_000])
async def test_a_frame_over_64_kib_ends_the_connection(gateway: GatewayProcess, size: int) -> None:
    async with connected(gateway) as client:
        await client.socket.send("x" * size)
        assert await client.close_code() == 4413


async def test_a_message_over_64_kib_in_pieces_ends_the_connection(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        await client.socket.send("x" * 10_000 for _ in range(7))
        assert await client.close_code() == 4413


async def test_a_large_frame_is_not_taken_into_memory(gateway: GatewayProcess) -> None:
    before = gateway.memory()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(_announce_and_send(gateway, 20_000_000))
    assert gateway.memory() - before < 30_000_000


async def _announce_and_send(gateway: GatewayProcess, size: int) -> None:
    async with connected(gateway) as client:
        await client.socket.send("x" * size)
        assert await client.close_code() == 4413


async def test_the_largest_frame_and_a_message_in_pieces_are_heard(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        await client.socket.send('{"type":"ping"' + " " * (65_536 - 15) + "}")
        assert (await client.receive())["type"] == "pong"
        await client.socket.send(['{"type":', '"pi', "", 'ng"}'])
        assert (await client.receive())["type"] == "pong"


@pytest.mark.parametrize("text", ["no json", "[]", '{"type":"dance"}', '{"type":"ping","x":NaN}', "[" * 60_000, ""])
async def test_what_is_no_known_frame_is_an_error_and_the_connection_stays(gateway: GatewayProcess, text: str) -> None:
    async with connected(gateway) as client:
        await client.socket.send(text)
        answer = await client.receive()
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        assert (await client.ask("ping"))["type"] == "pong"


async def test_binary_messages_are_an_error_and_the_connection_stays(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        await client.socket.send([b"\xff", b"\xfe"])
        assert (await client.receive())["type"] == "error"
        assert (await client.ask("ping"))["type"] == "pong"


async def test_text_that_is_not_utf8_ends_the_connection(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        await client.socket.send(b'{"type":"\xff"}', text=True)
        assert await client.close_code() == 1007


@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1\x80" + bytes(4),  # a reserved bit
        b"\x83\x80" + bytes(4),  # a reserved opcode
        b"\x81\x01x",  # not masked
        b"\x80\x80" + bytes(4),  # a continuation of nothing
        b"\x09\x80" + bytes(4),  # a ping in pieces
        b"\x89\xfe\x00\x7e" + bytes(4 + 126),  # a ping of 126 bytes
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(gateway: GatewayProcess, frame: bytes) -> None:
    async with connected(gateway) as client:
        client.socket.transport.write(frame)
        assert await client.close_code() == 1002


async def test_a_flood_ends_the_connection_of_who_makes_it_alone(gateway: GatewayProcess) -> None:
    async with connected(gateway) as calm, connected(gateway) as wild:
        for _ in range(400):
            await wild.send("ping")
        assert await wild.close_code() == 4429
        assert (await calm.ask("ping"))["type"] == "pong"


async def test_noise_is_survived(gateway: GatewayProcess) -> None:
    noise = random.Random(7)

    async def shout() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(noise.randbytes(5000))
        writer.write_eof()
        await reader.read()
        writer.close()

    await asyncio.gather(*(shout() for _ in range(20)), return_exceptions=True)
    async with connected(gateway) as client:
        client.socket.transport.write(b"\xff" + noise.randbytes(5000))
        await client.close_code()
    async with connected(gateway) as client:
        assert (await client.ask("ping"))["type"] == "pong"


async def test_the_close_code_of_a_client_is_answered(gateway: GatewayProcess) -> None:
    for code in (1000, 1001, 3000, 4999):
        async with connected(gateway) as client:
            await client.socket.close(code, "enough")
            assert client.socket.protocol.close_rcvd is not None
            assert client.socket.protocol.close_rcvd.code == code


async def test_pings_of_the_protocol_are_answered(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        assert isinstance(client, Client)
        async with asyncio.timeout(10):
            await (await client.socket.ping(b"hello"))
