"""The state of a session: its members, how a patch changes them, and how much it may hold; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.session_worker.merge_patch import merge
from shared.errors import Rejected, conflict
from shared.messages import JsonText, encode
from shared.messages.json_text import slices
from shared.messages.state import RESERVED

# What the members may take, as JSON; megabytes are 10^6 bytes here.
MAX_MEMBERS = 1_000_000
# What the goals and spawned agents may take together: a state is read and told whole, so all of it must travel well.
MAX_PARTS = 4_000_000


@dataclass(frozen=True, slots=True)
class State:
    """A session's state; `goals` and `agents` are the texts of JSON arrays."""

    session_id: str
    members: bytes
    goals: bytes
    agents: bytes
    version: int

    def whole(self) -> JsonText:
        """The state as it is shown: the session's id, the members, then goals and agents."""
        members = {name: JsonText(value) for name, value in slices(self.members).items()}
        parts = {"goals": JsonText(self.goals), "agents": JsonText(self.agents)}
        return JsonText(encode({"session_id": self.session_id, **members, **parts}))


def first_members(initial: str | None) -> bytes:
    """The members a session is opened with: those of an `initial` that is an object, but for the reserved ones."""
    if initial is None or not initial.lstrip().startswith("{"):
        return b"{}"
    members = slices(initial.encode())
    if RESERVED.keys().isdisjoint(members):
        return initial.encode()
    return encode({name: JsonText(value) for name, value in members.items() if name not in RESERVED})


def patched(state: State, patch: JsonText, if_version: int | Sequence[int] | None) -> State:
    """The state after a patch; the same object when the patch changes nothing.

    Raises `Rejected`: `conflict` when the state has another version than those asked for, `too_large`.
    """
    wanted = [if_version] if isinstance(if_version, int) else if_version
    if wanted is not None and state.version not in wanted:
        raise conflict(
            f"the state of session {state.session_id!r} is at version {state.version}, and `if_version` is"
            f" {if_version}; read it, and patch what it is now",
            session_id=state.session_id,
            version=state.version,
            if_version=if_version,
        )
    members = merge(state.members, patch.text)
    if members == state.members:
        return state
    if len(members) > MAX_MEMBERS:
        raise Rejected(
            "too_large",
            f"the state would take {len(members)} bytes, and {MAX_MEMBERS} are the limit; large things are artifacts",
            size=len(members),
            limit=MAX_MEMBERS,
        )
    return replace(state, members=members, version=state.version + 1)


def check_room(session_id: str, size: int) -> None:
    """Raise `Rejected("too_large")` when a session's goals and agents would take more than they may."""
    if size > MAX_PARTS:
        raise Rejected(
            "too_large",
            f"the goals and agents of session {session_id!r} would take {size} bytes, and {MAX_PARTS} are the limit;"
            " keep large results as artifacts, or go on in another session",
            size=size,
            limit=MAX_PARTS,
        )
