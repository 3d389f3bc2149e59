"""What `switchyard sessions replay` reads."""

from cli.replays import SentEvent, read_events


def test_events_are_read_from_their_lines_and_what_is_none_is_passed_over() -> None:
    lines = [
        "retry: 2000",
        "event: a",
        "data: {}",
        "",
        ": nothing yet",
        "",
        "id: 1-7",
        "event: b",
        "data: 1",
        "data:2",
        "",
    ]
    assert list(read_events([*lines, "event: c", "data: cut off"])) == [
        SentEvent("a", "", "{}"),
        SentEvent("b", "1-7", "1\n2"),
    ]
