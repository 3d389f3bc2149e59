"""The messages by which gateways tell each other who is connected where. Free of I/O."""

from typing import Any

import msgspec

from services.ws_gateway.agents.roster import Seat, Words

# Seats of one message; more go in several, so that none holds up the event loop of whoever reads it.
SEATS_A_MESSAGE = 500
MAX_PARTS = 10_000


class Bulletin(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What every message says: who sends it, and in which of its incarnations."""

    gateway_id: str
    incarnation: int


class Beat(Bulletin, tag="beat"):
    """It is alive, at this version of its seats.

    `void` names incarnations of others that were taken for dead, but speak; `about` is what the status display shows of
    it, now and then.
    """

    version: int
    may_tell: bool = False
    void: list[tuple[str, int]] = []
    about: dict[str, Any] = {}


class Delta(Bulletin, tag="delta"):
    """What has changed from one version to the next."""

    version: int
    seats: list[Seat] = []
    free: list[str] = []
    words: list[Words] = []


class Full(Bulletin, tag="full"):
    """A part of all its seats at a version; the parts are counted from 0.

    `told`: of its agents, the events by which others were told what is so.
    """

    version: int
    part: int
    parts: int
    seats: list[Seat] = []
    words: list[Words] = []
    told: dict[str, str] = {}


class Ask(Bulletin, tag="ask"):
    """Asks one gateway, or every one, for all its seats."""

    of: str | None = None


class Bye(Bulletin, tag="bye"):
    """It ends, and its seats with it."""


Message = Beat | Delta | Full | Ask | Bye
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_ENCODER = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """The text of a message."""
    return _ENCODER.encode(message)


def decode(body: bytes) -> Message:
    """The message of a text. Raises ValueError when it is none."""
    try:
        message = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise ValueError(str(fault)) from None
    if isinstance(message, Full) and not 0 <= message.part < message.parts <= MAX_PARTS:
        raise ValueError(f"part {message.part} of {message.parts}")
    return message


def deltas(me: dict[str, Any], version: int, seats: list[Seat], free: list[str], words: list[Words]) -> list[Delta]:
    """Changes since a version, as messages with the versions after it.

    Words count only of those who have a seat, so they come with the last seats or after them.
    """
    made: list[Delta] = []
    for at in range(0, max(len(seats), len(free)), SEATS_A_MESSAGE):
        some = slice(at, at + SEATS_A_MESSAGE)
        made.append(Delta(**me, version=version + len(made) + 1, seats=seats[some], free=free[some]))
    if made and len(words) <= SEATS_A_MESSAGE:
        made[-1].words = words
        return made
    for at in range(0, len(words), SEATS_A_MESSAGE):
        made.append(Delta(**me, version=version + len(made) + 1, words=words[at : at + SEATS_A_MESSAGE]))
    return made


def fulls(me: dict[str, Any], version: int, seats: list[Seat], words: list[Words], told: dict[str, str]) -> list[Full]:
    """All seats at a version, as one message or several; there is never more of the words than of the seats."""
    parts = max(1, -(-len(seats) // SEATS_A_MESSAGE))
    made = []
    for part in range(parts):
        some = slice(part * SEATS_A_MESSAGE, (part + 1) * SEATS_A_MESSAGE)
        told_here = {said.agent_id: told[said.agent_id] for said in words[some] if said.agent_id in told}
        made.append(
            Full(**me, version=version, part=part, parts=parts, seats=seats[some], words=words[some], told=told_here)
        )
    return made
