"""Mentions: whom a text names, who may be reached from where, and what each of them is told; pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.errors import Rejected, invalid
from shared.messages import Command, new_id, rfc3339
from shared.messages.envelope import Priority
from shared.messages.mentions import MAX_MENTION, KeptMention, Mention, MentionRoute
from shared.messages.sidebar import Sidebar

# Of one agent so many wait at most; when there are more, the oldest go.
MOST_WAITING = 1_000
KEPT = timedelta(days=7)


def named_in(text: str, agents: Sequence[str], author: str) -> list[str]:
    """Those of these agents whom a text names as `@agent`, in the order in which it does; its author is not among them.

    The longest id that fits counts, upper and lower case are the same where only one agent is meant, and an `@` within
    a word, as in an address, names nobody.
    """
    if "@" not in text:
        return []
    exact = {agent for agent in agents if agent != author}
    folded: dict[str, list[str]] = {}
    for agent in exact:
        folded.setdefault(agent.casefold(), []).append(agent)
    if not exact:
        return []
    any_of = "|".join(re.escape(agent) for agent in sorted([*exact, author], key=len, reverse=True))
    # Not followed by what may go on with an id: `@ada-2` and `@ada.lovelace` are others than `@ada`.
    pattern = re.compile(rf"(?<![\w@.-])@({any_of})(?![\w@-]|\.\w)", re.IGNORECASE)
    found: dict[str, None] = {}
    for match in pattern.finditer(text):
        name = match[1]
        meant = [name] if name in exact else folded.get(name.casefold(), [])
        if len(meant) == 1:
            found[meant[0]] = None
    return list(found)


def check_reach(sidebar: Sidebar, asked: Mention) -> str:
    """The session of a mention within a sidebar.

    Raises `Rejected`: `invalid` when it names another session than the sidebar's, `forbidden` when it names somebody
    who takes no part in the sidebar.
    """
    if asked.session_id not in (None, sidebar.session_id):
        raise invalid(
            f"sidebar {sidebar.sidebar_id!r} belongs to session {sidebar.session_id!r}, not to {asked.session_id!r}",
            fields=[{"field": "session_id", "fault": "is not the sidebar's session", "kind": "value_error"}],
        )
    strangers = [agent for agent in asked.target_agents if agent not in sidebar.participants]
    if strangers:
        raise Rejected(
            "forbidden",
            f"within sidebar {sidebar.sidebar_id!r} only its participants can be mentioned, and not "
            f"{', '.join(map(repr, strangers[:5]))}; leave `sidebar_id` out to reach them outside of it",
            sidebar_id=sidebar.sidebar_id,
            target_agents=strangers,
        )
    return sidebar.session_id


def made(
    command: Command,
    targets: Sequence[str],
    *,
    message: str,
    context_refs: Sequence[str] = (),
    session_id: str | None,
    sidebar_id: str | None,
    priority: Priority,
    now: datetime,
) -> list[KeptMention]:
    """A mention for each target, once, in their order, on behalf of a command's sender.

    Of a text longer than a mention may be, such as a post's, it has the beginning.
    """
    agents = list(dict.fromkeys(targets))
    message = message if len(message) <= MAX_MENTION else f"{message[: MAX_MENTION - 1]}…"
    return [
        KeptMention(
            mention_id=new_id(),
            agent_id=agent,
            author=command.sender_agent_id,
            message=message,
            target_agents=agents,
            context_refs=list(context_refs),
            session_id=session_id,
            sidebar_id=sidebar_id,
            priority=priority,
            hops=command.hops,
            trust=command.trust,
            created=rfc3339(now),
        )
        for agent in agents
    ]


def told(mention: KeptMention, participants: Sequence[str] | None) -> MentionRoute:
    """The event of a mention, under the mention's own id, so that acknowledging the one acknowledges the other."""
    return MentionRoute(
        message_id=mention.mention_id,
        session_id=mention.session_id,
        sidebar_id=mention.sidebar_id,
        priority=mention.priority,
        agent_id=mention.agent_id,
        mention=mention,
        target_agents=mention.target_agents,
        message=mention.message,
        context_refs=mention.context_refs,
        participants=None if participants is None else list(participants),
    )
