"""Mentioning agents, and noting that they have heard of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.session_worker import mentions, sidebars, store
from shared.bus.replies import Handler, Reply, SessionMissing
from shared.database import Transaction
from shared.errors import not_found
from shared.logs import get_logger
from shared.messages import Command
from shared.messages.envelope import Priority
from shared.messages.mentions import MarkMentions, Mention, MentionRoute

log = get_logger()


async def mention(tx: Transaction, command: Command) -> Reply:
    """Reach agents by an event each, and keep it until it has reached them.

    Within a sidebar only by one who takes part in it or an admin, and only those who do. Raises `Rejected`.
    """
    asked: Mention = command.data
    session_id, participants = asked.session_id, None
    if asked.sidebar_id is not None:
        found = await store.sidebars.find_sidebar(tx, asked.sidebar_id)
        if found is None:
            missing = not_found("sidebar", asked.sidebar_id)
            raise missing if session_id is not None else SessionMissing(missing)
        sidebar, _ = found
        sidebars.check_access(sidebar, command)
        session_id, participants = mentions.check_reach(sidebar, asked), sidebar.participants
    elif session_id is not None and not await store.mentions.session_exists(tx, session_id):
        raise SessionMissing(not_found("session", session_id))
    events = await mention_agents(
        tx,
        command,
        asked.target_agents,
        message=asked.message,
        context_refs=asked.context_refs,
        session_id=session_id,
        sidebar_id=asked.sidebar_id,
        participants=participants,
        priority=asked.priority,
    )
    return Reply({"mentions": [event.mention for event in events]}, [*events])


async def mention_agents(
    tx: Transaction,
    command: Command,
    targets: Sequence[str],
    *,
    message: str,
    context_refs: Sequence[str] = (),
    session_id: str | None = None,
    sidebar_id: str | None = None,
    participants: Sequence[str] | None = None,
    priority: Priority | None = None,
) -> list[MentionRoute]:
    """Keep a mention for each of these agents; returns their events, for the reply of the command.

    For commands that mention somebody on the way, too: `participants` are those of the sidebar, and `priority` is the
    command's unless given. An agent for whom more than 1,000 wait loses the oldest.
    """
    if not targets:
        return []
    made = mentions.made(
        command,
        targets,
        message=message,
        context_refs=context_refs,
        session_id=session_id,
        sidebar_id=sidebar_id,
        priority=priority or command.priority,
        now=datetime.now(UTC),
    )
    await store.mentions.insert_mentions(tx, made)
    dropped = await store.mentions.drop_oldest(tx, [each.agent_id for each in made], mentions.MOST_WAITING)
    if dropped:
        log.warning("mentions_dropped", waiting_at_most=mentions.MOST_WAITING, agents=dropped)
    return [mentions.told(each, participants) for each in made]


async def mark_mentions(tx: Transaction, command: Command) -> Reply:
    """Let go of mentions that have reached their agents; those that are gone already count for nothing."""
    asked: MarkMentions = command.data
    return Reply({"reached": await store.mentions.delete_mentions(tx, asked.mention_ids)})


HANDLERS: dict[str, Handler] = {"mention": mention, "mark_mentions": mark_mentions}
