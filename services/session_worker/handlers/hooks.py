"""Noting down hooks of Claude Code."""

from dataclasses import replace

from services.session_worker import hooks, sessions, store
from services.session_worker.actions import Draft, Kind, Noted, action_of, response_of
from shared.bus.commit import OPEN
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.logs import get_logger
from shared.messages import Command, Event
from shared.messages.actions import ActionLogged, ResponseLogged
from shared.messages.hooks import LateHook, ReceiveClaudeHook
from shared.messages.session import CreateSession, Session, SessionCreated

log = get_logger()


async def receive_claude_hook(tx: Transaction, command: Command) -> Reply:
    """Note down a hook in its session, which is opened when there is none; a closed session's is told of only."""
    asked: ReceiveClaudeHook = command.data
    hook = hooks.document_of(command)
    session, opened = await _session(tx, command, hooks.opened(hook))
    if session.status not in OPEN:
        log.info("hook_late", session_id=session.session_id, status=session.status, hook=asked.event)
        late = LateHook(session_id=session.session_id, status=session.status, hook=asked.hook)
        return Reply({"noted": "event", "id": command.message_id}, [late])
    kind, draft = hooks.draft_of(command, hook)
    draft, noted = await _note(tx, kind, draft)
    reply = Reply({"noted": kind, "id": draft.id}, opened)
    if noted is not None:
        reply.events.append(_logged(kind, draft, noted))
        reply.counts = {f"{kind}_count": 1}
    return reply


async def _session(tx: Transaction, command: Command, asked: CreateSession) -> tuple[Session, list[Event]]:
    """The hook's session, locked, and the event of its opening if that was now."""
    session_id = command.data.session_id
    found = await store.sessions.lock_session(tx, session_id)
    if found is None:
        made = await store.sessions.insert_session(tx, session_id, asked)
        if made is not None:
            await store.sessions.add_transition(
                tx, made, before=None, by=command.sender_agent_id, reason="a Claude Code hook",
                message_id=command.message_id,
            )  # fmt: skip
            made = sessions.told(made)
            return made, [SessionCreated(session_id=session_id, session=made)]
        # Another worker has opened it meanwhile, and has committed.
        found = await store.sessions.lock_session(tx, session_id)
        assert found is not None
    return found, []


async def _note(tx: Transaction, kind: Kind, draft: Draft) -> tuple[Draft, Noted | None]:
    """Write a draft under its id or, when that is taken, under its message's; None when it was written long ago."""
    for each in (draft, replace(draft, id=draft.message_id)):
        noted = (await store.actions.insert(tx, kind, [each])).get(each.place)
        if noted is not None:
            return each, noted
    return draft, None


def _logged(kind: Kind, draft: Draft, noted: Noted) -> Event:
    if kind == "action":
        return ActionLogged(session_id=draft.session_id, action=action_of(draft, noted))
    return ResponseLogged(session_id=draft.session_id, response=response_of(draft, noted))


HANDLERS: dict[str, Handler] = {"receive_claude_hook": receive_claude_hook}
