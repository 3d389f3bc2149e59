"""What each connection was given of its agent's mentions, and how a kept mention looks to it. Free of I/O."""

from collections import OrderedDict, deque

from services.ws_gateway.stream.frames import Frame
from shared.messages.mentions import KeptMention, MentionRoute

# What was given to a connection, so that it does not come twice: twice as many as wait for an agent at most.
REMEMBERED = 2_000


class Book:
    """What one connection was given, and what of that its client has not said to have read."""

    __slots__ = ("counts", "dropped", "given", "held", "out", "unpinged", "unread")

    def __init__(self, *, counts: bool) -> None:
        # Whether what reaches this connection has reached the agent.
        self.counts = counts
        self.given: OrderedDict[str, None] = OrderedDict()
        # By the ping that was sent behind them; and those behind which none was sent yet, with how many events the
        # connection had lost before the first of them.
        self.unread: deque[tuple[int, list[str]]] = deque()
        self.unpinged: list[str] = []
        self.dropped = 0
        # Live ones that came while older ones were asked for.
        self.held: list[Frame] = []
        # Frames to be written next.
        self.out: list[bytes] = []

    def give(self, mention_id: str, dropped: int) -> bool:
        """Note that a mention goes out now; false when it did before."""
        if mention_id in self.given:
            return False
        self.given[mention_id] = None
        if len(self.given) > REMEMBERED:
            self.given.popitem(last=False)
        if self.counts:
            if not self.unpinged:
                self.dropped = dropped
            self.unpinged.append(mention_id)
        return True


def without_cursor(frame: Frame) -> bytes:
    """The JSON of a live mention that is given later than others: from where to resume, those say."""
    return frame.text[: frame.text.rindex(b',"cursor":')] + b"}"


def route_of(mention: KeptMention) -> MentionRoute:
    """The event that told of a mention when it was made, as far as that is kept."""
    return MentionRoute(
        message_id=mention.mention_id,
        timestamp=mention.created,
        sender_agent_id=mention.author,
        session_id=mention.session_id,
        sidebar_id=mention.sidebar_id,
        priority=mention.priority,
        hops=mention.hops,
        trust=mention.trust,
        agent_id=mention.agent_id,
        mention=mention,
        target_agents=mention.target_agents,
        message=mention.message,
        context_refs=mention.context_refs,
        participants=None,
    )
