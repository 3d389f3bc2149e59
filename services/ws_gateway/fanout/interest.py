"""What a connection wants to hear: topics, and which of the events under them. The key of the hub's groups."""

from dataclasses import dataclass
from functools import lru_cache

from services.ws_gateway.fanout.filters import NO_FOCUS, FocusFilter
from services.ws_gateway.fanout.relevance import Relevance
from services.ws_gateway.requests import Mode
from services.ws_gateway.stream.frames import CRITICAL, Frame
from shared.topics import Topics


@lru_cache(maxsize=200)
def topics_of(patterns: frozenset[str]) -> Topics:
    """The patterns, ready to be matched; made once for all who want the same."""
    return Topics(patterns, cached_keys=1_000)


@dataclass(frozen=True, slots=True)
class Interest:
    """Topics, and what is wanted of what they match.

    `everything`: all of it. `focused`: what lies within `focus`. `relevant`: what concerns the agent (`relevance.py`).
    `peripheral_awareness`: the rest is told of in digests; without it, `everything` is what concerns the agent too.
    """

    topics: frozenset[str] = frozenset()
    mode: Mode = "everything"
    focus: FocusFilter = NO_FOCUS
    peripheral_awareness: bool = True

    @property
    def is_own(self) -> bool:
        """Whether only what concerns the agent is wanted: that differs from member to member of a group."""
        return self.mode == "relevant" or (self.mode == "everything" and not self.peripheral_awareness)

    @property
    def is_focused(self) -> bool:
        """Whether only what lies within the focus is wanted."""
        return self.mode == "focused"

    @property
    def is_digested(self) -> bool:
        """Whether what is not wanted shall be told of in short."""
        return self.mode != "everything" and self.peripheral_awareness

    def of(self, topics: frozenset[str]) -> "Interest":
        """The same of other topics."""
        if topics == self.topics:
            return self
        return Interest(topics, self.mode, self.focus, self.peripheral_awareness)

    def matches(self, routing_key: str) -> bool:
        """Whether one of the topics matches."""
        return topics_of(self.topics).matches(routing_key)

    def admits(self, frame: Frame, agent_id: str, relevance: Relevance) -> bool:
        """Whether an event that the topics match is wanted by an agent's connection."""
        if self.is_focused:
            return self.focus.admits(frame)
        return not self.is_own or frame.rank == CRITICAL or relevance.concerns(frame, agent_id)


EVERYTHING = Interest()


def may_hear(frame: Frame, agent_id: str, is_admin: bool) -> bool:
    """Whether an event is meant for an agent's connection."""
    audience = frame.audience
    return audience is None or is_admin or agent_id in audience
