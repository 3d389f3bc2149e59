"""Sending records to a Switchyard, as many at once as a request takes.

What is there already is left alone by the commands themselves, so an import may be run again at any time. Within a run
a request's message id is made of what it holds, so that one whose answer was lost is done once.
"""

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from cli.client import CallFailed
from cli.records import Members, Record, raw, value_of

if TYPE_CHECKING:
    from cli.client import Client

# What one request may hold; a single record may be larger.
_BYTES = 400_000
_RECORDS = 200
_ATTEMPTS = 3
# The ids of tasks under a new session are made of it and their own.
_TASKS = uuid.UUID("c6a8a0de-0d3b-5a43-9f38-7d0c3b2e9a10")


class Importer:
    """Imports sessions, one after another; `done` tells of each how many records it had and how many were new."""

    def __init__(self, client: "Client", session_id: str | None) -> None:
        """`session_id`: the id to give, None: each session's own."""
        self._client = client
        self._named = session_id
        self.done: list[dict[str, Any]] = []

    def take(self, records: Iterable[Record]) -> None:
        """Import sessions, each followed by its records. Raises ValueError for what is no session, and CallFailed."""
        session: _Session | None = None
        for record in records:
            if record.kind == "session":
                if session is not None:
                    if self._named is not None:
                        raise ValueError("there is more than one session; --session-id can name only one")
                    self.done.append(session.end())
                session = _Session(self._client, record.members, self._named)
            elif session is None:
                raise ValueError(f"the first record is of the kind {record.kind!r}; a session comes first")
            else:
                session.add(record)
        if session is None:
            raise ValueError("there is no session in it")
        self.done.append(session.end())


class _Session:
    """One session on its way."""

    def __init__(self, client: "Client", members: Members, named: str | None) -> None:
        own = value_of(members.pop("session_id", None))
        if not isinstance(own, str):
            raise ValueError("the session has no session_id")
        self._client = client
        self._id = named or own
        self._moved = self._id != own
        self._run = uuid.uuid4()
        self._record = members
        self._kind = ""
        self._waiting: list[Members] = []
        self._size = 0
        self._counts: Counter[str] = Counter()
        self._imported = int(self._send("import_session", {"session": raw(members)}, "begin").get("created", False))

    def add(self, record: Record) -> None:
        """Another record, sent with its like."""
        size = sum(map(len, map(bytes, record.members.values())))
        if self._kind != record.kind or self._size + size > _BYTES or len(self._waiting) == _RECORDS:
            self._flush()
        self._kind = record.kind
        self._waiting.append(self._task(record.members) if record.kind == "task" else record.members)
        self._size += size
        self._counts[record.kind] += 1

    def end(self) -> dict[str, Any]:
        """Send what is left, and set status and counters, which tasks have raised, to what they were."""
        self._flush()
        self._send("import_session", {"session": raw(self._record)}, "end")
        return {"session_id": self._id, "records": {"session": 1, **self._counts}, "imported": self._imported}

    def _flush(self) -> None:
        if not self._waiting:
            return
        records = raw(self._waiting)
        match self._kind:
            case "memory":
                answer = self._send("import_memories", {"records": records})
            case "task":
                answer = self._send("import_tasks", {"tasks": records})
            case kind:
                answer = self._send("import_records", {"kind": raw(kind), "records": records})
        self._imported += answer["imported"]
        self._waiting = []
        self._size = 0

    def _send(self, command: str, data: dict[str, Raw], what: str = "") -> dict[str, Any]:
        text = msgspec.json.encode({"session_id": raw(self._id), **data})
        once = str(uuid.uuid5(self._run, f"{command} {what} {text.decode()}"))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                result: dict[str, Any] = msgspec.json.decode(
                    self._client.run(command, text, wait_s=60, message_id=once)
                )
                break
            except CallFailed as error:
                if error.status not in (None, 502, 503, 504) or attempt == _ATTEMPTS:
                    raise
                time.sleep(attempt)
        if result.keys() == {"message_id", "status"}:
            raise CallFailed(f"{command} was accepted, and is not done after a minute; run the import again")
        return result

    def _task(self, members: Members) -> Members:
        """A task of this session: under another id of its own, when the session has another one."""
        task = {**members, "session_id": raw(self._id)}
        if self._moved:
            task["task_id"] = self._other(task["task_id"])
            task["depends_on"] = raw([self._other(each) for each in value_of(task["depends_on"], list[Raw])])
            if value_of(task["schedule_id"]) is not None:
                task["schedule_id"] = self._other(task["schedule_id"])
        return task

    def _other(self, task_id: Raw) -> Raw:
        return raw(str(uuid.uuid5(_TASKS, f"{self._id}\n{value_of(task_id)}")))
