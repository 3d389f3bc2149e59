"""Frame sizes as a client announces them, so that a large frame is refused before it is taken in. Free of I/O."""

_CLOSE = 8


class FrameSizes:
    """Follows the frame headers (RFC 6455 §5.2) in what a client sends."""

    __slots__ = ("_head", "_limit", "_payload_left", "close_seen", "too_large")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._payload_left = 0
        # A frame over the limit was announced. From then on the client is only heard for its close frame.
        self.too_large = False
        self.close_seen = False

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        at, end = 0, len(data)
        while at < end:
            if self._payload_left:
                taken = min(self._payload_left, end - at)
                self._payload_left -= taken
                at += taken
                continue
            self._head.append(data[at])
            at += 1
            size = _payload_size(self._head)
            if size is not None:
                self.too_large |= size > self._limit
                self.close_seen |= self._head[0] & 0x0F == _CLOSE
                self._payload_left = size
                self._head.clear()


def _payload_size(head: bytearray) -> int | None:
    """The payload's size in bytes once the header is whole, mask included."""
    if len(head) < 2:
        return None
    short = head[1] & 0x7F
    length = 0 if short < 126 else 2 if short == 126 else 8
    if len(head) < 2 + length + (4 if head[1] & 0x80 else 0):
        return None
    return int.from_bytes(head[2 : 2 + length], "big") if length else short
