"""Which agents an event concerns: those of its session and sidebar, and those it names. Free of I/O.

Where an agent takes part is known of agents that somebody has asked for as `relevant` only. The session worker tells it
once (`contexts.py`), and from then on the events themselves do: whoever is a participant of a session or was spawned
in it, or has sent an event of it, takes part. Bounded: for an agent the `PLACES` sessions and as many sidebars last
heard of, the longest unheard of going first; and beyond the agents that are connected now, the last `REMEMBERED` ones.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable

from services.ws_gateway.stream.frames import CRITICAL, Frame

PLACES = 500
REMEMBERED = 5_000


class _Context:
    """Where one agent takes part, the longest unheard of first."""

    __slots__ = ("sessions", "sidebars")

    def __init__(self) -> None:
        self.sessions: OrderedDict[str, None] = OrderedDict()
        self.sidebars: OrderedDict[str, None] = OrderedDict()


class Relevance:
    """Where agents take part, found by agent, by session and by sidebar."""

    def __init__(self) -> None:
        self._contexts: dict[str, _Context] = {}
        # Those of them that are no longer connected, by when they went.
        self._remembered: OrderedDict[str, None] = OrderedDict()
        # What their contexts held before is known of these; of the others the worker's answer is awaited.
        self._known: set[str] = set()
        self._followed: Counter[str] = Counter()
        self._sessions: dict[str, set[str]] = {}
        self._sidebars: dict[str, set[str]] = {}

    @property
    def listens(self) -> bool:
        """Whether there is anybody whose places are kept."""
        return bool(self._contexts)

    @property
    def unknown(self) -> list[str]:
        """Connected agents of whom it is still to be learned where they take part."""
        return [agent for agent in self._followed if agent not in self._known]

    def follow(self, agent_id: str) -> None:
        """A connection asks for what concerns this agent; to be undone by `unfollow`."""
        self._followed[agent_id] += 1
        self._remembered.pop(agent_id, None)
        if agent_id not in self._contexts:
            self._contexts[agent_id] = _Context()

    def unfollow(self, agent_id: str) -> None:
        """One such connection less."""
        self._followed[agent_id] -= 1
        if self._followed[agent_id] > 0:
            return
        del self._followed[agent_id]
        if agent_id not in self._known:
            self._drop(agent_id)
            return
        self._remembered[agent_id] = None
        if len(self._remembered) > REMEMBERED:
            self._drop(self._remembered.popitem(last=False)[0])

    def knows(self, agent_id: str) -> bool:
        """Whether it is known where the agent takes part."""
        return agent_id in self._known

    def doubt(self) -> None:
        """Events were missed: what is known of agents is no longer sure."""
        self._known.clear()
        for agent_id in self._remembered:
            self._drop(agent_id)
        self._remembered.clear()

    def _drop(self, agent_id: str) -> None:
        context = self._contexts.pop(agent_id)
        self._known.discard(agent_id)
        for place in context.sessions:
            _take_out(self._sessions, place, agent_id)
        for place in context.sidebars:
            _take_out(self._sidebars, place, agent_id)

    def merge(self, agent_id: str, sessions: Iterable[str], sidebars: Iterable[str]) -> None:
        """Where an agent takes part, by the worker's word; both the most recently active first."""
        context = self._contexts.get(agent_id)
        if context is None:
            return
        self._known.add(agent_id)
        for places, named, index in (
            (context.sessions, sessions, self._sessions),
            (context.sidebars, sidebars, self._sidebars),
        ):
            for place in named:
                if place not in places and len(places) < PLACES:
                    places[place] = None
                    # What events have told already is more recent.
                    places.move_to_end(place, last=False)
                    index.setdefault(place, set()).add(agent_id)

    def learn(self, frame: Frame) -> None:
        """Note what an event tells of where agents take part."""
        about, contexts = frame.about, self._contexts
        if about.session_id:
            if about.sender in contexts:
                self._take_part(contexts[about.sender].sessions, about.session_id, about.sender, self._sessions)
            for agent in about.members:
                if agent in contexts:
                    self._take_part(contexts[agent].sessions, about.session_id, agent, self._sessions)
        if about.sidebar_id and about.participants:
            for agent in about.participants:
                if agent in contexts:
                    self._take_part(contexts[agent].sidebars, about.sidebar_id, agent, self._sidebars)

    def learn_of(self, frame: Frame, agent_id: str) -> None:
        """Note what an older event tells of one agent, so that what followed it is judged rightly."""
        about, context = frame.about, self._contexts.get(agent_id)
        if context is None:
            return
        if about.session_id and (about.sender == agent_id or agent_id in about.members):
            self._take_part(context.sessions, about.session_id, agent_id, self._sessions)
        if about.sidebar_id and about.participants and agent_id in about.participants:
            self._take_part(context.sidebars, about.sidebar_id, agent_id, self._sidebars)

    def _take_part(self, places: OrderedDict[str, None], place: str, agent_id: str, index: dict[str, set[str]]) -> None:
        if place in places:
            places.move_to_end(place)
            return
        places[place] = None
        index.setdefault(place, set()).add(agent_id)
        if len(places) > PLACES:
            _take_out(index, places.popitem(last=False)[0], agent_id)

    def concerned(self, frame: Frame) -> set[str] | None:
        """The agents, of those known of, that an event concerns; None: all of them."""
        if frame.rank == CRITICAL:
            return None
        about, contexts = frame.about, self._contexts
        agents = {agent for agent in about.agents if agent in contexts}
        if about.session_id in self._sessions:
            agents |= self._sessions[about.session_id]
        if about.sidebar_id in self._sidebars:
            agents |= self._sidebars[about.sidebar_id]
        return agents

    def concerns(self, frame: Frame, agent_id: str) -> bool:
        """Whether an event concerns an agent."""
        about, context = frame.about, self._contexts.get(agent_id)
        if frame.rank == CRITICAL or agent_id in about.agents or (about.session_id and about.sender == agent_id):
            return True
        return context is not None and (about.session_id in context.sessions or about.sidebar_id in context.sidebars)


def _take_out(index: dict[str, set[str]], place: str, agent_id: str) -> None:
    agents = index[place]
    agents.discard(agent_id)
    if not agents:
        del index[place]
