"""Fan-out with picows, bare: the frame is built once, joined with its neighbours, and written to every socket."""

import argparse
import asyncio

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.load.offer import serve_commands


class Client(WSListener):
    """One socket; `full` holds those whose buffer is over its high-water mark."""

    connected: set["Client"] = set()
    full: set["Client"] = set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        wire = transport.underlying_transport
        self.write = getattr(wire, "write_nocheck", wire.write)  # without the check of its argument
        self.connected.add(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.connected.discard(self)
        self.full.discard(self)

    def pause_writing(self) -> None:
        self.full.add(self)

    def resume_writing(self) -> None:
        self.full.discard(self)


def frame(text: bytes) -> bytes:
    """An unmasked text frame of 126 to 65,535 bytes."""
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


async def publish(events: list[bytes]) -> None:
    frames = b"".join(map(frame, events))
    for client in Client.connected:
        client.write(frames)
    await asyncio.sleep(0)
    while Client.full:  # noqa: ASYNC110
        await asyncio.sleep(0)


def on_request(_: WSUpgradeRequest) -> Client:
    return Client()


async def main(port: int) -> None:
    await ws_create_server(on_request, "127.0.0.1", port, backlog=1024)
    await serve_commands(publish)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
