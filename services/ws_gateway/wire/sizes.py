"""Frame headers as a client sends them, looked at before the frame is taken in. Free of I/O.

A frame that breaks the protocol, or announces more than is allowed, is refused from its header on: nothing of it is
handed to the parser, and what came before it still is.
"""

TOO_LARGE = 4413
PROTOCOL_ERROR = 1002
_CLOSE = 8
_CONTROL = 8
_OPCODES = frozenset((0, 1, 2, 8, 9, 10))
_MAX_CONTROL = 125


class FrameSizes:
    """Follows the frame headers (RFC 6455 §5.2) in what a client sends."""

    __slots__ = ("_head", "_limit", "_payload_left", "close_begins", "close_seen", "fault")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._payload_left = 0
        # Close code and reason for a frame that can't be taken. From then on the client is only heard for its close
        # frame; what comes behind that means nothing.
        self.fault: tuple[int, str] | None = None
        self.close_seen = False
        # Where in the bytes last looked at that frame begins, if all of its header is there; else 0.
        self.close_begins = 0

    def feed(self, data: memoryview) -> int:
        """Look at the next bytes; how many of them may be handed on: those of good frames, the last one a close."""
        head = self._head
        at, end = 0, len(data)
        begin = good = self.close_begins = 0
        while at < end:
            if self._payload_left:
                taken = min(self._payload_left, end - at)
                self._payload_left -= taken
                at += taken
                continue
            if self.close_seen:
                break
            if not head:
                begin = at
            taken = _header_size(head) - len(head)
            head += data[at : at + taken]
            at = min(at + taken, end)
            if len(head) < _header_size(head):
                continue
            size = _payload_size(head)
            if head[0] & 0x0F == _CLOSE:
                self.close_seen = True
                self.close_begins = begin
            if self.fault is None and (fault := self._fault(head, size)):
                self.fault, good = fault, begin
            self._payload_left = size
            head.clear()
        return at if self.fault is None else good

    def _fault(self, head: bytearray, size: int) -> tuple[int, str] | None:
        opcode, is_last, short = head[0] & 0x0F, head[0] & 0x80, head[1] & 0x7F
        if head[0] & 0x70:
            return PROTOCOL_ERROR, "no extension was agreed on"
        if opcode not in _OPCODES:
            return PROTOCOL_ERROR, f"there is no opcode {opcode}"
        if not head[1] & 0x80:
            return PROTOCOL_ERROR, "the frame is not masked"
        if opcode >= _CONTROL:
            if not is_last:
                return PROTOCOL_ERROR, "a control frame comes in one piece"
            if short > _MAX_CONTROL:
                return PROTOCOL_ERROR, f"a control frame holds at most {_MAX_CONTROL} bytes"
        if (short == 126 and size < 126) or (short == 127 and not 65536 <= size < 1 << 63):
            return PROTOCOL_ERROR, "the length is not in its shortest form"
        if size > self._limit:
            return TOO_LARGE, f"a message holds at most {self._limit} bytes"
        return None


def _header_size(head: bytearray) -> int:
    """How long the header is, as far as that is known; the mask included."""
    if len(head) < 2:
        return 2
    short = head[1] & 0x7F
    return 2 + (0 if short < 126 else 2 if short == 126 else 8) + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytearray) -> int:
    short = head[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(head[2 : 4 if short == 126 else 10], "big")
