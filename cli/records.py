"""A session as lines of text: each line is a record, with its `kind` first; numbers and JSON stay as they were written.

The lines of a session: itself, then transitions, state, goals, agents, actions, responses, chunks, artifacts, memories
in every version, tasks, each kind in its order. A record holds no id of its session, so it can come back under another.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec
from msgspec import Raw

from cli.client import CallFailed
from shared.messages.transfer import RecordKind, SessionRecord

if TYPE_CHECKING:
    from cli.client import Client

KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
_PAGE = 200
Members = dict[str, Raw]
_MEMBERS = msgspec.json.Decoder(Members)
_ITEMS = msgspec.json.Decoder(list[Raw])


class Record(NamedTuple):
    """A record and what it is; of a session, with its id."""

    kind: str
    members: Members


def members_of(text: bytes | Raw) -> Members:
    """The members of a JSON object, each as it was written. Raises msgspec.DecodeError."""
    return _MEMBERS.decode(text)


def value_of(raw: Raw | None, kind: Any = Any) -> Any:
    """What a member says, None for one that is not there. Raises msgspec.DecodeError when it is of another type."""
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def raw(value: Any) -> Raw:
    """A value as the text of a member."""
    return Raw(msgspec.json.encode(value))


def exported(client: "Client", session_id: str) -> Iterator[Record]:
    """Everything a session keeps, read page by page. Raises CallFailed."""
    session = members_of(members_of(client.result("get_session", {"session_id": session_id}))["session"])
    kept = {name: session[name] for name in SessionRecord.model_fields}
    yield Record("session", {"session_id": session["session_id"], **kept})
    for kind in KINDS:
        asked: dict[str, Any] = {"session_id": session_id, "kind": kind, "limit": _PAGE}
        if kind == "task":
            asked["callbacks"] = True
        while True:
            page = members_of(_page(client, asked))
            for record in _ITEMS.decode(page["records"]):
                yield Record(kind, members_of(record))
            cursor = value_of(page["next"])
            if cursor is None:
                break
            asked["cursor"] = cursor


def _page(client: "Client", asked: dict[str, Any]) -> bytes:
    """A page of records; without the URLs of callbacks when the key may not have them. Raises CallFailed."""
    try:
        return client.result("export_records", asked)
    except CallFailed as failure:
        if failure.status != 403 or not asked.pop("callbacks", False):
            raise
        return client.result("export_records", asked)


def line_of(record: Record) -> bytes:
    """A record as a line of text. A break within its JSON, where it means nothing, becomes a space."""
    text = msgspec.json.encode({"kind": record.kind, **record.members})
    return text.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def write_lines(records: Iterable[Record], file: IO[bytes]) -> None:
    """Write records as JSON Lines."""
    for record in records:
        file.write(line_of(record))


def read_lines(path: Path) -> Iterator[Record]:
    """The records of a file of JSON Lines. Raises ValueError naming the line that is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield record_of(line, f"{path}, line {number}")


def record_of(line: bytes, where: str) -> Record:
    """The record of a line. Raises ValueError in words that name `where`."""
    try:
        members = members_of(line)
        kind = value_of(members.pop("kind", None), str)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where}: this is no record of a session ({error})") from None
    if kind != "session" and kind not in KINDS:
        raise ValueError(f"{where}: {kind!r} is no kind of record; there are session, {', '.join(KINDS)}")
    return Record(kind, members)
