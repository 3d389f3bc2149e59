"""The heat map, drawn from what happened."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from services.memory_worker.heat_map import Activity, drawn
from shared.messages.memory import HeatMap

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def activity(key: str, *tags: str, author: str = "ada", hours: float = 0, type: str = "fact") -> Activity:
    return Activity("s1", key, type, tags, author, NOW - timedelta(hours=hours))


def map_of(*activities: Activity, agent_id: str = "ada", hours: int = 24, focus: Collection[str] = ()) -> HeatMap:
    return drawn(activities, agent_id=agent_id, looks_at=focus, hours=hours, now=NOW)


def heat(map: HeatMap) -> dict[str, float]:
    return {zone.topic: zone.heat for zone in map.hot_zones}


def test_an_update_counts_half_after_each_half_life():
    heats = heat(map_of(activity("a", "now"), activity("b", "six", hours=6), activity("c", "day", hours=24)))
    assert heats == {"fact": 1.562, "now": 1.0, "six": 0.5, "day": 0.062}


def test_zones_say_who_was_there_how_often_and_when_last():
    map = map_of(activity("k", "t", author="bob", hours=2), activity("k", "t", hours=1), activity("k", "t", hours=3))
    zone = next(zone for zone in map.hot_zones if zone.kind == "key")
    assert (zone.topic, zone.updates, zone.agents, zone.last) == ("k", 3, ["ada", "bob"], "2026-01-02T11:00:00.000000Z")


def test_a_key_written_once_is_no_zone():
    assert [zone.kind for zone in map_of(activity("k")).hot_zones] == ["type"]


def test_tags_that_stand_together_more_often_than_by_chance_are_a_pattern():
    map = map_of(*(activity(f"a{n}", "auth", "logs") for n in range(3)), *(activity(f"b{n}", "ui") for n in range(9)))
    (pattern,) = map.emerging_patterns
    assert (pattern.topics, pattern.updates, pattern.lift) == (["auth", "logs"], 3, 4.0)
    assert "'auth' and 'logs' go together 4 times as often as by chance." in map.suggestion


def test_what_others_do_beside_ones_own_work_is_a_blind_spot():
    map = map_of(
        activity("a", "auth"),
        *(activity(f"b{n}", "auth", "logs", author="bob") for n in range(2)),
        *(activity(f"c{n}", "ui", author="cyd") for n in range(5)),
    )
    (spot,) = map.potential_blindspots
    assert (spot.topic, spot.kind, spot.related_to) == ("logs", "tag", ["auth"])
    assert spot.why == "'bob' updated 'logs' 2 times, together with 'auth', which you work on"
    assert [zone.topic for zone in map.your_focus_areas] == ["auth", "fact"]
    assert "Look at 'logs': 'bob' updated" in map.suggestion


def test_an_agent_that_wrote_nothing_has_no_focus_and_is_told_so():
    map = map_of(activity("a", "auth"), agent_id="new")
    assert (map.your_focus_areas, map.potential_blindspots) == ([], [])
    assert "'new' has written nothing" in map.suggestion


def test_what_an_agent_looks_at_is_its_focus_whoever_writes_there():
    map = map_of(
        *(activity(f"b{n}", "auth", "logs", author="bob") for n in range(2)),
        activity("plan", "ui", author="bob"),
        focus=["auth", "plan"],
    )
    assert [(zone.kind, zone.topic, zone.updates, zone.agents) for zone in map.your_focus_areas] == [
        ("tag", "auth", 2, ["bob"]),
        ("key", "plan", 1, ["bob"]),
    ]
    assert [(spot.topic, spot.related_to) for spot in map.potential_blindspots] == [
        ("logs", ["auth"]),
        ("ui", ["plan"]),
    ]
    assert map.potential_blindspots[0].why == "'bob' updated 'logs' 2 times, together with 'auth', which you look at"


def test_what_an_agent_looks_at_is_no_blind_spot_of_it():
    others = [activity(f"b{n}", "auth", "logs", author="bob") for n in range(2)]
    map = map_of(activity("a", "auth"), *others, focus=["logs"])
    assert map.potential_blindspots == []
    assert [(zone.topic, zone.agents) for zone in map.your_focus_areas if zone.kind == "tag"] == [
        ("logs", ["bob"]),
        ("auth", ["ada"]),
    ]


def test_where_nothing_happens_though_somebody_looks_is_said():
    map = map_of(activity("a", "ui", author="bob"), focus=["logs", "auth"])
    assert map.your_focus_areas == []
    assert map.suggestion.endswith("Nothing happened around 'auth' and 'logs', where 'ada' looks.")
    assert "has written nothing" not in map.suggestion


def test_nothing_happened_is_said_in_words():
    map = map_of(hours=3)
    assert (map.updates, map.hot_zones) == (0, [])
    assert map.suggestion == "Nothing was remembered in the last 3 hours."


def test_a_memory_with_many_tags_is_counted_by_the_first_of_them():
    map = map_of(*(activity(f"k{n}", *(f"t{m:02}" for m in range(100))) for n in range(2)))
    assert {zone.topic for zone in map.hot_zones if zone.kind == "tag"} <= {f"t{m:02}" for m in range(10)}
