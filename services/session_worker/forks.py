"""What a session or a sidebar takes over from some point of a session."""

from services.session_worker import store
from services.session_worker.states import first_members
from services.session_worker.store import timeline
from shared.database import Transaction
from shared.errors import conflict, invalid, not_found
from shared.messages import JsonText
from shared.messages.session import CreateSession


async def memories_of_then(tx: Transaction, session_id: str, seq: int, limit: int) -> list[tuple[str, int]]:
    """The newest memories a session had after its event with this number, as (key, version).

    Raises `Rejected("conflict")` when that event is not recorded: still to come, or not kept any more.
    """
    session = await timeline.find_counted(tx, session_id)
    if session is None:
        raise not_found("session", session_id)
    moment = await timeline.find_moment(tx, session_id, session.created, seq)
    if moment is None:
        raise conflict(
            f"event {seq} of session {session_id!r} is not recorded: still to come, or not kept any more",
            session_id=session_id,
            last_seq=session.last_seq,
        )
    return await store.sidebars.find_memories_at(tx, session_id, moment, limit)


async def forked_state(tx: Transaction, asked: CreateSession) -> JsonText:
    """The own members of a session's state, now or after one of its events; goals and agents stay with it.

    Raises `Rejected`: `not_found`; `conflict` when that event is still to come, or what was then is not kept any more.
    """
    if asked.initial is not None:
        raise invalid("`initial` and `fork_of` both say what the state is; give one of them")
    fork_of = asked.fork_of or ""
    session = await timeline.find_counted(tx, fork_of)
    now = await store.states.find_state(tx, fork_of)
    if session is None or now is None:
        raise not_found("session", fork_of)
    if asked.fork_seq is None:
        return JsonText(now.members)
    if asked.fork_seq > session.last_seq:
        raise conflict(
            f"session {fork_of!r} has {session.last_seq} events, and no number {asked.fork_seq}",
            session_id=fork_of,
            last_seq=session.last_seq,
        )
    recorded = await timeline.find_recorded(tx, fork_of, session.created)
    if (recorded.last_seq or 0) < asked.fork_seq and not session.quiet:
        raise conflict("what happened until then is being recorded; ask again in a second", session_id=fork_of)
    state = await timeline.find_state_at(tx, fork_of, session.created, asked.fork_seq)
    if state is None and recorded.first_seq != 1:
        raise conflict(
            f"the first events of session {fork_of!r} are not kept any more, so its state of then is not known",
            session_id=fork_of,
            first_seq=recorded.first_seq,
        )
    if state is None:
        return JsonText(first_members(await store.sessions.find_initial(tx, fork_of)))
    return JsonText(first_members(state))
