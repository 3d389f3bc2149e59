"""Both spellings of names: bodies become the data of commands, results become camelCase; pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from shared.errors import invalid
from shared.messages import CommandSpec, JsonText, encode
from shared.messages.json_text import slices
from shared.spelling import camel, snake

# Results that are one noun, and those that are lists of one.
_NOUNS = ("session", "action", "response", "goal", "agent", "stats")
_LISTS = ("sessions", "actions", "responses", "hits", "extractions")
# Nouns, and lists of them, that stand within others.
_WITHIN = ("usage",)
_WITHIN_MANY = ("runs",)


def command_data(spec: CommandSpec, body: bytes, path: Mapping[str, str], *, rest: str | None = None) -> bytes:
    """The data of a command, from a checked object whose names are in either spelling and the ids in the path.

    Members the command does not know are gathered into its field `rest`, an object; without one they stay, to be
    refused by name. What members hold stays as it is. Raises `Rejected("invalid")` when a name is there twice, in two
    spellings or in the body and in `rest`, or an id is another than the path's.
    """
    known: dict[str, Any] = {}
    unknown: dict[str, JsonText] = {}
    for name, text in slices(body).items():
        if rest is not None and snake(name) not in spec.data.model_fields:
            unknown[name] = JsonText(text)
        elif snake(name) in known:
            raise invalid(f"{name!r} is there twice, in two spellings", fields=[{"field": name, "kind": "duplicate"}])
        else:
            known[snake(name)] = JsonText(text)
    for name, value in path.items():
        if name in known and known[name].value() != value:
            raise invalid(
                f"the path names {camel(name)} {value!r}, and the body another one",
                fields=[{"field": camel(name), "fault": f"should be {value!r} or left out", "kind": "contradiction"}],
            )
        known[name] = value
    if rest is not None and unknown:
        known[rest] = _gathered(rest, known.get(rest), unknown)
    return encode(known)


def _gathered(rest: str, given: JsonText | None, unknown: dict[str, JsonText]) -> dict[str, JsonText]:
    if given is None or given.text.strip() == b"null":
        return unknown
    if not given.text.lstrip().startswith(b"{"):
        # Kept too, under its own name.
        return {rest: given, **unknown}
    members = {name: JsonText(text) for name, text in slices(given.text).items()}
    for name in unknown:
        if name in members:
            raise invalid(
                f"{name!r} is there twice, beside `{rest}` and in it", fields=[{"field": name, "kind": "duplicate"}]
            )
    return {**members, **unknown}


def camel_result(text: bytes) -> bytes:
    """The text of a result in camelCase: its nouns' own names, not what users keep in them; one noun also flat."""
    members: dict[str, Any] = {name: JsonText(value) for name, value in slices(text).items()}
    flat: dict[str, Any] = {}
    if "state" in members:
        # Its version goes into the ETag: a member of the state may be called so.
        members = {"state": _camel_state(members["state"].text)}
        flat = members["state"]
    for name in members.keys() & _NOUNS:
        flat = members[name] = _camel_noun(members[name].text)
    for name in members.keys() & _LISTS:
        members[name] = [_camel_noun(item) for item in _items(members[name].text)]
    return encode({**flat, **members})


def _camel_state(text: bytes) -> dict[str, Any]:
    """A state: `session_id` comes first and the lists of nouns last; all between is the session's own."""
    members: dict[str, Any] = {"sessionId": None}
    for name, value in slices(text).items():
        if name == "session_id":
            members["sessionId"] = JsonText(value)
        elif name in ("goals", "agents"):
            members[name] = [_camel_noun(item) for item in _items(value)]
        else:
            members[name] = JsonText(value)
    return members


def _camel_noun(text: bytes) -> dict[str, Any]:
    return {camel(name): _camel_member(name, value) for name, value in slices(text).items()}


def _camel_member(name: str, text: bytes) -> Any:
    if name in _WITHIN and text.startswith(b"{"):
        return _camel_noun(text)
    # In figures `runs` is a number.
    return (
        [_camel_noun(item) for item in _items(text)]
        if name in _WITHIN_MANY and text.startswith(b"[")
        else JsonText(text)
    )


def _items(text: bytes) -> list[bytes]:
    return [bytes(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]


def version_of(result: bytes) -> int:
    """The version in the text of a state's result."""
    version: int = orjson.loads(slices(result)["version"])
    return version
