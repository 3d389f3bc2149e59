"""What goes over one WebSocket: how it is opened, frames as they are written and read, and commands under way."""

import asyncio
import json
import zlib
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("switchyard.v1")
MAX_FRAME_BYTES = 64 * 1024


class Call:
    """A command under way: its frame, and its answer to be."""

    def __init__(self, frame: str) -> None:
        self.frame = frame
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        # Of the connection it was last sent on.
        self.sent_on = 0


def dial(url: str) -> connect:
    """A WebSocket to be, to a gateway; one that hangs is noticed within 25 s."""
    return connect(
        url,
        subprotocols=[SUBPROTOCOL],
        compression=None,
        max_size=None,
        open_timeout=10,
        ping_interval=10,
        ping_timeout=15,
        close_timeout=1,
    )


def as_json(value: Any) -> str:
    """JSON as it is sent: no spaces, and no escapes but the necessary ones."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def next_frame(socket: ClientConnection) -> dict[str, Any]:
    """The next frame of the gateway, compressed or not. Raises `ConnectionClosed`."""
    data = await socket.recv()
    frame: dict[str, Any] = json.loads(data if isinstance(data, str) else zlib.decompress(data))
    return frame
