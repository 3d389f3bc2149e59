"""The heat map: where memories change, what goes together, and what an agent does not look at; pure.

After the heat map of the memory design: focus areas, hot zones, emerging patterns, potential blind spots, a suggestion.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import Literal

from shared.messages import rfc3339
from shared.messages.memory import BlindSpot, Correlation, HeatMap, HotZone

Kind = Literal["tag", "type", "key"]
Topic = tuple[Kind, str]

# After a quarter of the time asked for, an update counts half: at its end, a sixteenth.
HALF_LIVES = 4
ZONES = 10
# Of memories with more tags, the first are taken: pairs take the square of them.
TAGS = 10
# Two tags go together when they are seen so often together, and more often than chance would have it.
LEAST_TOGETHER, LEAST_LIFT = 2, 1.2


@dataclass(frozen=True, slots=True)
class Activity:
    """One version of a memory: who wrote it when, under which key, and what it is about."""

    session_id: str
    key: str
    type: str
    tags: Sequence[str]
    author: str
    at: datetime

    def topics(self) -> Iterator[Topic]:
        """What it is about."""
        yield "type", self.type
        yield "key", self.key
        for tag in self.labels():
            yield "tag", tag

    def labels(self) -> list[str]:
        """Its tags, each once."""
        return list(dict.fromkeys(self.tags))[:TAGS]


@dataclass(slots=True)
class _Zone:
    heat: float = 0.0
    updates: int = 0
    agents: Counter[str] = field(default_factory=Counter)
    last: datetime | None = None

    def add(self, activity: Activity, heat: float) -> None:
        self.heat += heat
        self.updates += 1
        self.agents[activity.author] += 1
        self.last = max(self.last or activity.at, activity.at)


def drawn(
    activities: Sequence[Activity], *, agent_id: str, hours: int, now: datetime, looks_at: Collection[str] = ()
) -> HeatMap:
    """The map of what happened in so many hours, as one agent should see it.

    `looks_at`: names of tags, types and keys that are its focus too, whoever writes to them.
    """
    half_life = hours / HALF_LIVES
    heats = [0.5 ** (max(0.0, (now - each.at).total_seconds()) / 3600 / half_life) for each in activities]
    everything = _everything(activities, heats)
    zones, own = _areas(everything), _areas(_everything(activities, heats, agent_id))
    # What it looks at it sees whole, be it one update of a key.
    named = frozenset(looks_at)
    watched = {topic: zone for topic, zone in everything.items() if topic[1] in named}
    focus = own | watched
    patterns = _patterns(activities, heats)
    blind = _blind_spots(activities, zones, focus, own)
    quiet = sorted(named - {name for _, name in watched})
    return HeatMap(
        hours=hours,
        half_life_hours=half_life,
        updates=len(activities),
        agent_id=agent_id,
        your_focus_areas=_hottest(focus),
        hot_zones=_hottest(zones),
        emerging_patterns=patterns,
        potential_blindspots=blind,
        suggestion=_suggestion(agent_id, hours, zones, focus, patterns, blind, quiet),
    )


def _everything(
    activities: Sequence[Activity], heats: Sequence[float], agent_id: str | None = None
) -> dict[Topic, _Zone]:
    zones: dict[Topic, _Zone] = defaultdict(_Zone)
    for activity, heat in zip(activities, heats, strict=True):
        if agent_id is None or activity.author == agent_id:
            for topic in activity.topics():
                zones[topic].add(activity, heat)
    return zones


def _areas(zones: dict[Topic, _Zone]) -> dict[Topic, _Zone]:
    """Without the keys that were written once, which are no areas."""
    return {topic: zone for topic, zone in zones.items() if topic[0] != "key" or zone.updates > 1}


def _ordered(zones: dict[Topic, _Zone]) -> list[tuple[Topic, _Zone]]:
    return sorted(zones.items(), key=lambda item: (-item[1].heat, item[0]))


def _hottest(zones: dict[Topic, _Zone]) -> list[HotZone]:
    return [
        HotZone(
            topic=name,
            kind=kind,
            heat=round(zone.heat, 3),
            updates=zone.updates,
            agents=[agent for agent, _ in zone.agents.most_common(ZONES)],
            last=rfc3339(zone.last) if zone.last else "",
        )
        for (kind, name), zone in _ordered(zones)[:ZONES]
    ]


def _patterns(activities: Sequence[Activity], heats: Sequence[float]) -> list[Correlation]:
    """The pairs of tags that stand together more often than chance would have it, the hottest first."""
    alone: Counter[str] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    heat_of: Counter[tuple[str, str]] = Counter()
    for activity, heat in zip(activities, heats, strict=True):
        labels = sorted(activity.labels())
        alone.update(labels)
        for pair in combinations(labels, 2):
            together[pair] += 1
            heat_of[pair] += heat  # type: ignore[assignment]
    found = []
    for pair, count in together.items():
        lift = count * len(activities) / (alone[pair[0]] * alone[pair[1]])
        if count >= LEAST_TOGETHER and lift >= LEAST_LIFT:
            found.append(
                Correlation(topics=list(pair), heat=round(float(heat_of[pair]), 3), updates=count, lift=round(lift, 2))
            )
    return sorted(found, key=lambda each: (-each.heat, each.topics))[:ZONES]


def _blind_spots(
    activities: Iterable[Activity], zones: dict[Topic, _Zone], focus: dict[Topic, _Zone], own: Container[Topic]
) -> list[BlindSpot]:
    """The tags and keys that the agent does not look at and that others use together with what it does look at."""
    beside: dict[Topic, Counter[Topic]] = defaultdict(Counter)
    for activity in activities:
        topics = [topic for topic in activity.topics() if topic[0] != "type"]
        known = [topic for topic in topics if topic in focus]
        for topic in topics:
            if topic in zones and topic not in focus:
                beside[topic].update(known)
    spots = []
    for topic, zone in _ordered({topic: zones[topic] for topic, near in beside.items() if near}):
        near = [each for each, _ in beside[topic].most_common(3)]
        related = [name for _, name in near]
        how = "work on" if all(each in own for each in near) else "look at"
        busy = _listed([agent for agent, _ in zone.agents.most_common(3)])
        spots.append(
            BlindSpot(
                topic=topic[1],
                kind=topic[0],
                heat=round(zone.heat, 3),
                related_to=related,
                why=f"{busy} updated {topic[1]!r} {_times(zone.updates)}, together with {_listed(related)},"
                f" which you {how}",
            )
        )
    return spots[:ZONES]


def _suggestion(
    agent_id: str,
    hours: int,
    zones: dict[Topic, _Zone],
    focus: dict[Topic, _Zone],
    patterns: list[Correlation],
    blind: list[BlindSpot],
    quiet: list[str],
) -> str:
    if not zones:
        return f"Nothing was remembered in the last {hours} hours."
    (_, hottest), zone = next(
        ((topic, zone) for topic, zone in _ordered(zones) if topic[0] == "tag"), _ordered(zones)[0]
    )
    said = [f"Most happens around {hottest!r} ({_times(zone.updates, 'update')} in {hours} hours)."]
    if blind:
        said.append(f"Look at {blind[0].topic!r}: {blind[0].why}.")
    elif not focus and not quiet:
        said.append(f"{agent_id!r} has written nothing in that time, so there is no focus to compare it with.")
    elif ("tag", hottest) not in focus and ("type", hottest) not in focus:
        said.append(f"{agent_id!r} has not been there.")
    if quiet:
        said.append(f"Nothing happened around {_listed(quiet[:3])}, where {agent_id!r} looks.")
    if patterns:
        said.append(f"{_listed(patterns[0].topics)} go together {patterns[0].lift:g} times as often as by chance.")
    return " ".join(said)


def _listed(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _times(count: int, noun: str = "") -> str:
    if noun:
        return f"{count} {noun}{'' if count == 1 else 's'}"
    return "once" if count == 1 else f"{count} times"
