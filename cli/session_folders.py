"""Sessions as folders of files, as the file-based session storage (seed 001) keeps them.

    SESSION/metadata.json   the session itself, and its history
    SESSION/state.json      its state, with goals and agents
    SESSION/actions.jsonl   what was done, a line each
    SESSION/responses.jsonl what came back, a line each
    SESSION/records.jsonl   what that layout has no place for, as records; only if there is any

Names are in camelCase. Folders that other programs have made need not be complete, and may hold more: what has no place
of its own is kept in `initial` of a session, `details` of an action or response, `metadata` of a goal or agent.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from cli.completing import (
    NULL,
    agent_of,
    camelled,
    first,
    goal_of,
    moment,
    number,
    object_of,
    part_of,
    session_of,
    snaked,
    state_of,
)
from cli.records import Members, Record, line_of, members_of, raw, read_lines, value_of
from shared.messages import rfc3339
from shared.messages.transfer import ActionRecord, AgentRecord, GoalRecord, ResponseRecord
from shared.spelling import snake

FILES = ("metadata.json", "state.json", "actions.jsonl", "responses.jsonl")
REST = "records.jsonl"


def is_session_folder(folder: Path) -> bool:
    """Whether a folder holds files of a session."""
    return any((folder / name).is_file() for name in FILES)


def session_folders(path: Path) -> list[Path]:
    """The session folders at a path: itself, or those in it or in its `sessions`, by name."""
    if is_session_folder(path):
        return [path]
    inside = path / "sessions" if (path / "sessions").is_dir() else path
    return sorted(each for each in inside.iterdir() if each.is_dir() and is_session_folder(each))


def write_folder(records: Iterable[Record], folder: Path) -> None:
    """Write a session's records as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    session: Members = {}
    transitions: list[Members] = []
    state: Members = {}
    goals: list[Members] = []
    agents: list[Members] = []
    rest = 0
    with (
        (folder / "actions.jsonl").open("wb") as actions,
        (folder / "responses.jsonl").open("wb") as responses,
        (folder / REST).open("wb") as others,
    ):
        for kind, members in records:
            match kind:
                case "session":
                    session = members
                case "transition":
                    transitions.append(camelled(members))
                case "state":
                    state = members
                case "goal":
                    goals.append(camelled(members))
                case "agent":
                    agents.append(camelled(members))
                case "action" | "response":
                    line = msgspec.json.encode(camelled(members)).replace(b"\n", b" ").replace(b"\r", b" ")
                    (actions if kind == "action" else responses).write(line + b"\n")
                case _:
                    rest += 1
                    others.write(line_of(Record(kind, members)))
    if not rest:
        (folder / REST).unlink()
    kept = {name: value for name, value in state.items() if name != "members"}
    # While nobody has patched it, a state shows what the session was opened with.
    untouched = {"untouched": raw(True)} if state.get("members") == NULL else {}
    more = {"transitions": raw(transitions), "stateRecord": raw(camelled({**kept, **untouched})) if state else NULL}
    (folder / "metadata.json").write_bytes(_laid_out({**camelled(session), **more}))
    patched = value_of(state.get("members"), dict[str, Raw] | None)
    own = patched if patched is not None else (object_of(session.get("initial")) or {})
    document = {"sessionId": session["session_id"], **own, "goals": raw(goals), "agents": raw(agents)}
    (folder / "state.json").write_bytes(_laid_out(document))


def read_folder(folder: Path) -> Iterator[Record]:
    """The records of a session folder, the session first. Raises ValueError naming the file that is wrong."""
    metadata = {snake(name): value for name, value in _document(folder / "metadata.json").items()}
    state_file = folder / "state.json"
    state = _document(state_file)
    goals = [part_of(GoalRecord, item, "metadata") for item in _list(state.pop("goals", None), state_file)]
    agents = [part_of(AgentRecord, item, "metadata") for item in _list(state.pop("agents", None), state_file)]
    named = [state.pop(name) for name in ("sessionId", "session_id") if name in state]
    events = [
        *(Record("action", part_of(ActionRecord, line, "details")) for line in _lines(folder / "actions.jsonl")),
        *(Record("response", part_of(ResponseRecord, line, "details")) for line in _lines(folder / "responses.jsonl")),
    ]
    transitions = [snaked(members_of(item)) for item in _list(metadata.pop("transitions", None), folder)]
    has_state = state_file.is_file() and metadata.get("state_record") != NULL
    state_record = value_of(metadata.pop("state_record", None), dict[str, Raw] | None)
    rest = list(read_lines(folder / REST)) if (folder / REST).is_file() else []
    session_id = first(metadata, "session_id") or (named[0] if named else raw(folder.name))
    for name in ("session_id", "id"):
        if value_of(metadata.get(name)) == value_of(session_id):
            metadata.pop(name, None)
    if not isinstance(value_of(session_id), str):
        session_id = raw(bytes(session_id).decode())
    moments = sorted(each for _, event in events if (each := moment(event.get("timestamp"))))
    began = moment(first(metadata, "created")) or (moments[0] if moments else _made(folder))
    ended = moment(first(metadata, "last_activity")) or (moments[-1] if moments else began)
    number(events, began)
    counted = {
        "action_count": sum(each.kind == "action" for each in events),
        "response_count": sum(each.kind == "response" for each in events),
        "conversation_chunk_count": sum(each.kind == "chunk" for each in rest),
        "artifact_count": sum(each.kind == "artifact" for each in rest),
        "task_count": sum(each.kind == "task" for each in rest),
        "memory_count": len({bytes(each.members["key"]) for each in rest if each.kind == "memory"}),
    }
    yield Record("session", {"session_id": session_id, **session_of(metadata, counted, began, ended)})
    for transition in transitions:
        yield Record("transition", transition)
    if has_state:
        yield Record("state", state_of(state, state_record, ended, len(raw([goals, agents]))))
    for goal in goals:
        yield Record("goal", goal_of(goal, began))
    for agent in agents:
        yield Record("agent", agent_of(agent, began))
    yield from sorted(events, key=lambda each: each.kind)
    yield from rest


def _made(folder: Path) -> str:
    files = [folder / name for name in FILES if (folder / name).is_file()]
    return rfc3339(datetime.fromtimestamp(min(each.stat().st_mtime for each in files), UTC))


def _document(path: Path) -> Members:
    if not path.is_file():
        return {}
    try:
        return members_of(path.read_bytes())
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: a JSON object is expected ({error})") from None


def _lines(path: Path) -> Iterator[Raw]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                members_of(line)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path}, line {number}: a JSON object is expected ({error})") from None
            yield Raw(line.strip())


def _list(value: Raw | None, where: Path) -> list[Raw]:
    try:
        items = [] if value is None else msgspec.json.decode(value, type=list[Raw] | None) or []
        for item in items:
            members_of(item)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where}: goals, agents and transitions are lists of objects ({error})") from None
    return items


def _laid_out(document: Mapping[str, Any]) -> bytes:
    """A document with a line for each member, whose own text stays as it is."""
    lines = [b"  %s: %s" % (msgspec.json.encode(name), bytes(value)) for name, value in document.items()]
    return b"{\n" + b",\n".join(lines) + b"\n}\n"
