"""Mentions: messages to agents wherever they are, kept until they have reached them; commands, noun and event."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Model, Priority, Trust
from shared.messages.registry import command
from shared.messages.session import Limit
from shared.messages.sidebar_commands import Importance, References

# Letters: a mention goes to many, each has its own, and up to a thousand of them wait for an agent.
MAX_MENTION = 10_000


class KeptMention(Model):
    """A message to one agent, kept until it has reached it; `target_agents` are all to whom it went.

    `mention_id` is the message id of its event.
    """

    mention_id: str
    agent_id: str
    author: str
    message: str
    target_agents: list[str]
    context_refs: list[str]
    session_id: str | None
    sidebar_id: str | None
    priority: Priority
    hops: int
    trust: Trust
    created: str


@command(
    "sidebar",
    result={"mentions": list[KeptMention]},
    creates=True,
    needs_session=False,
    confidential=True,
    example={"target_agents": ["ada"], "message": "The release waits for your review", "priority": "normal"},
)
class Mention(CommandData):
    """Reach agents wherever they are connected; who is not, hears of it on its next connect.

    Within a sidebar, only its participants may be mentioned.
    """

    target_agents: Annotated[list[Id], Field(min_length=1, max_length=50)]
    message: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MENTION)]
    session_id: Id | None = None
    sidebar_id: Id | None = None
    context_refs: References = []
    priority: Importance | None = None


@command("sidebar", result={"mentions": list[KeptMention]}, reads=True, public=False)
class ListMentions(CommandData):
    """The mentions that have not reached an agent yet, the oldest first; those after one that is still among them."""

    agent_id: Id
    limit: Limit = 500
    after: Id | None = None


@command("sidebar", result={"reached": int}, public=False, needs_session=False)
class MarkMentions(CommandData):
    """Note that mentions have reached their agents."""

    mention_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class MentionRoute(Event):
    """Somebody was mentioned; reaches every connection of its agent, whatever that is subscribed to.

    `target_agents` are all who were mentioned; each has an event of its own. Within a sidebar its participants (of
    whom `participants` is the list) and admins alone may hear of it.
    """

    topic: ClassVar = "agent.{agent_id}.mentioned"
    type: Literal["mention_route"] = "mention_route"
    agent_id: str
    mention: KeptMention
    target_agents: list[str]
    message: str
    context_refs: list[str]
    participants: list[str] | None
