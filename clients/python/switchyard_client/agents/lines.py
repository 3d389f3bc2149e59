"""From the bytes a process writes to numbered lines, whatever the pieces in which the bytes arrive."""

from base64 import b64decode, b64encode
from dataclasses import dataclass

# Of one piece: with everything escaped, it still fits into a frame of 64 KiB.
MAX_PIECE_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """A line without its end, or one of several pieces of a line; `more` says that the line goes on in the next."""

    content: bytes
    more: bool = False


class LineSplitter:
    """Splits one stream.

    A line ends with a line feed, which goes, with a carriage return before it; longer ones are cut, never within a
    character of UTF-8. Without `flush`, the pieces depend on the bytes alone, and not on how they were fed.
    """

    def __init__(self, limit: int = MAX_PIECE_BYTES) -> None:
        """`limit`: bytes of a piece, at least 4."""
        self._limit = limit
        self._rest = bytearray()
        # Pieces of the line have been handed out.
        self._begun = False

    @property
    def unfinished(self) -> bytes:
        """What has come of a line whose end has not, and was not handed out."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[Piece]:
        """What is known to be a line or a piece of one by now."""
        *ended, rest = data.split(b"\n")
        found: list[Piece] = []
        for line in ended:
            self._rest += line
            if self._rest.endswith(b"\r"):
                del self._rest[-1]
            self._cut(found, self._limit)
            found.append(self._piece(bytes(self._rest), more=False))
            self._rest.clear()
        self._rest += rest
        # A carriage return may belong to the end of the line, and then is not of its length.
        self._cut(found, self._limit + 1)
        return found

    def flush(self) -> list[Piece]:
        """What there is of an unfinished line, as a prompt is; it goes on in the next piece."""
        whole = _whole(self._rest)
        if not whole:
            return []
        found: list[Piece] = []
        self._cut(found, self._limit)
        whole = _whole(self._rest)
        if whole:
            found.append(self._piece(bytes(self._rest[:whole]), more=True))
            del self._rest[:whole]
        return found

    def finish(self) -> list[Piece]:
        """The last line, if the stream ended within one."""
        if not self._rest and not self._begun:
            return []
        found: list[Piece] = []
        self._cut(found, self._limit)
        found.append(self._piece(bytes(self._rest), more=False))
        self._rest.clear()
        return found

    def _cut(self, found: list[Piece], allowed: int) -> None:
        """Take pieces off the front until no more than so many bytes are left."""
        at = 0
        while len(self._rest) - at > allowed:
            end = at + self._limit
            # A byte 10xxxxxx goes on with a character; three of them at most.
            for back in range(4):
                if self._rest[end - back] & 0xC0 != 0x80:
                    end -= back
                    break
            found.append(self._piece(bytes(self._rest[at:end]), more=True))
            at = end
        del self._rest[:at]

    def _piece(self, content: bytes, *, more: bool) -> Piece:
        self._begun = more
        return Piece(content, more)


def _whole(data: bytearray) -> int:
    """How many of these bytes can be shown now: not half a character, nor what may be the end of a line."""
    length = len(data)
    if data.endswith(b"\r"):
        return length - 1
    for back in range(1, min(4, length) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return length - back if needed > back else length
    return length


def encode(content: bytes) -> tuple[str, str | None]:
    """A piece as text, and how: None as it is, `base64` where it is not UTF-8 or holds what JSON here may not."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return b64encode(content).decode(), "base64"
    return (b64encode(content).decode(), "base64") if "\x00" in text else (text, None)


def decode(text: str, encoding: str | None) -> bytes:
    """The bytes of a piece again."""
    return b64decode(text) if encoding == "base64" else text.encode()
