"""The dashboard's pure modules, called in the browser they run in, and its vendored files."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route

from shared.messages import EVENTS

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(browser: Browser) -> Iterator[Call]:
    """Evaluates an expression on a module `m`: `call("filters", "(f) => m.toQuery(f)", {…})`. No server is needed."""
    page = browser.new_page()
    page.route("http://files.test/**", serve_file)
    page.goto("http://files.test/")

    def run(module: str, expression: str, *given: Any) -> Any:
        code = f"(given) => import('/dashboard/{module}.js').then((m) => ({expression})(...given))"
        return page.evaluate(code, list(given))

    yield run
    page.context.close()


def serve_file(route: Route) -> None:
    path = urlsplit(route.request.url).path
    if path.startswith("/dashboard/"):
        route.fulfill(path=DASHBOARD / path.removeprefix("/dashboard/"), content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


def test_vendored_files_are_those_that_were_checked_in() -> None:
    vendor = DASHBOARD / "vendor"
    listed = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    found = {
        str(path.relative_to(vendor)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("*.js", "fonts/*")
        for path in vendor.glob(pattern)
    }
    assert found == listed


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":[true,null,{"c":"d"}],"e":{},"f":[]}',
        '{"big":123456789012345678901234567890,"tiny":1e-400,"one":1.0}',
        r'{"quoted \" key":"a \\ b, {c}: [d]","é":"\u00e9"}',
        '"alone"',
        "[[[[1]]]]",
    ],
)
def test_pretty_json_is_the_same_json_with_its_text_untouched(call: Call, text: str) -> None:
    shown = call("json_text", "(text) => m.join(m.pretty(text))", text)
    assert json.loads(shown, parse_float=str, parse_int=str) == json.loads(text, parse_float=str, parse_int=str)


def test_pretty_json_is_indented_like_any_other(call: Call) -> None:
    document = {"a": [1, {"b": "x"}], "c": {}, "d": None}
    assert call("json_text", "(text) => m.join(m.pretty(text))", json.dumps(document)) == json.dumps(document, indent=2)


def test_text_that_is_no_json_is_still_shown(call: Call) -> None:
    assert "never closed" in call("json_text", "(text) => m.join(m.pretty(text))", '}{"a": "never closed')


def test_filters_come_back_from_the_address_as_they_went(call: Call) -> None:
    filters = {"text": "push -draft", "types": ["webhook", "task_created"], "session": "a&b #1", "priorities": ["high"]}
    assert call("filters", "(f) => m.fromQuery(m.toQuery(f))", filters) == filters
    assert call("filters", "() => m.toQuery(m.NO_FILTERS)") == ""


def test_waits_between_tries_double_up_to_half_a_minute_and_differ(call: Call) -> None:
    longest = call("socket", "() => [1, 2, 3, 7, 50].map((n) => m.delay(n, () => 1))")
    shortest = call("socket", "() => [1, 2, 3, 7, 50].map((n) => m.delay(n, () => 0))")
    assert longest == [500, 1000, 2000, 30_000, 30_000]
    assert shortest == [wait / 2 for wait in longest]


@pytest.mark.parametrize("type", sorted(EVENTS))
def test_the_topic_shown_for_an_event_is_the_one_it_is_published_under(call: Call, type: str) -> None:
    ids = {"session_id": "s 1.2#*", "sidebar_id": "aside.1", "agent_id": "ada.l"}
    ids |= {"room_id": "r 1", "bot_id": "b.1", "agent_name": "code.x"}
    fields = {**ids, "source": "git.hub", "event": "push", "name": "a.b"}
    kind = EVENTS[type]
    given = {name: value for name, value in fields.items() if name in kind.model_fields}
    event = kind.model_construct(**given)
    assert call("events", "(event) => m.topicOf(event)", {"type": type, **given}) == event.routing_key()


@pytest.mark.parametrize("type", [*sorted(EVENTS), "never_heard_of", ""])
@pytest.mark.parametrize("noun", [None, "text", 7, [], {}, {"session": None}])
def test_an_odd_event_still_makes_a_row(call: Call, type: str, noun: Any) -> None:
    nouns = dict.fromkeys(("session", "chunk", "exchange", "task", "payload", "insight", "dead_letter"), noun)
    row = call("events", "(event) => m.rowOf(event, JSON.stringify(event))", {"type": type, **nouns})
    assert row["type"] == type
    assert isinstance(row["summary"], str)


def test_the_place_comes_back_from_the_address_as_it_went(call: Call) -> None:
    nowhere = {"sidebar": "", "chat": {"room": "", "bot": ""}, "run": "", "replay": ""}
    there: tuple[dict[str, Any], ...] = (
        {"pane": "feed"},
        {"pane": "live"},
        {"pane": "sidebars", "sidebar": "a&b=#1"},
        {"pane": "chat", "chat": {"room": "a/b&c #1", "bot": "ada"}},
        {"pane": "agents", "run": "0199f7f0"},
        {"pane": "replay", "replay": "a/b&c #1"},
    )
    for place in there:
        query = call("place", "(place) => m.withPlace('?q=push', place)", {**nowhere, **place})
        assert call("place", "(query) => m.placeOf(query)", query) == {**nowhere, **place}
        assert call("filters", "(query) => m.fromQuery(query).text", query) == "push"
    assert call("place", "() => m.withPlace('', { pane: 'feed', sidebar: 'x' })") == ""
    assert call("place", "() => m.placeOf('?view=nonsense').pane") == "feed"


def test_sizes_and_times_are_short(call: Call) -> None:
    assert call("live", "() => [0, 999, 1500, 212e6, 3e12, NaN].map(m.bytes)") == [
        "0 B", "999 B", "1.5 kB", "212 MB", "3.0 TB", "\N{EN DASH}"
    ]  # fmt: skip
    assert call("live", "() => [0, 61, 3600, 90061, NaN].map(m.duration)") == [
        "0s",
        "1m 1s",
        "1h",
        "1d 1h",
        "\N{EN DASH}",
    ]


def test_rates_are_those_of_one_gateway(call: Call) -> None:
    def display(second: int, started: str, count: int) -> dict[str, Any]:
        figures = {"started": started, "events_in": count, "frames_out": 2 * count}
        return {"timestamp": f"2026-01-01T00:00:{second:02}Z", "gateway": figures}

    rates = "(a, b) => m.ratesBetween(a, b)"
    assert call("live", rates, display(0, "x", 10), display(5, "x", 25)) == {"in": 3, "out": 6}
    assert call("live", rates, display(0, "x", 10), display(5, "y", 25)) is None
    assert call("live", rates, None, display(5, "y", 25)) is None


def said(*numbers: int) -> list[dict[str, Any]]:
    return [{"seq": n, "sidebar_id": "s", "created": f"2026-01-01T00:00:{n:02}Z"} for n in numbers]


def test_what_was_read_twice_is_shown_once_and_without_holes(call: Call) -> None:
    def joined(known: list[int], fresh: list[int]) -> list[int]:
        both = call("talk", "(a, b) => m.joined(a, b)", said(*known), said(*fresh))
        return [each["seq"] for each in both]

    assert joined([1, 2, 3], [3, 4]) == [1, 2, 3, 4]
    assert joined([1, 2], [5, 6]) == [5, 6]
    assert joined([1, 2, 3], [1, 2]) == [1, 2, 3]
    assert joined([], []) == []


def test_a_conversation_goes_on_by_its_events_and_says_when_one_is_missing(call: Call) -> None:
    now = {"id": "s", "whole": {"exchange_count": 2}, "exchanges": said(1, 2), "moves": []}

    def after(number: int) -> Any:
        sidebar = {"sidebar_id": "s", "exchange_count": number}
        event = {"type": "sidebar_exchange", "sidebar": sidebar, "exchange": said(number)[0]}
        return call("talk", "(now, event) => m.carriedOn(now, event)", now, event)

    assert [each["seq"] for each in after(3)["exchanges"]] == [1, 2, 3]
    assert [each["seq"] for each in after(2)["exchanges"]] == [1, 2]
    assert after(4) is None


def test_moves_stand_where_they_happened_among_what_was_said(call: Call) -> None:
    moves = [{"at": f"2026-01-01T00:00:{n:02}Z", "from_status": None, "to_status": "active"} for n in (0, 2)]
    line = call("talk", "(talk) => m.timelineOf(talk)", {"exchanges": said(1, 3), "moves": moves})
    assert [each["kind"] for each in line] == ["moved", "said", "moved", "said"]


def test_a_countdown_ends_when_it_says(call: Call) -> None:
    warning = {
        "type": "emergency_shutdown_warning",
        "message": "It shuts down in 5 s, for fire",
        "countdown_seconds": 5,
    }
    notice = call("notices", "(frame) => m.noticeOf(frame, 1000)", warning)
    assert (notice["kind"], notice["until"], notice["message"]) == ("shutdown", 6000, "It shuts down, for fire")


def test_an_answer_reaches_whoever_asked(call: Call) -> None:
    code = """async () => {
        const asked = new m.Requests(), sent = [], socket = { send: (text) => sent.push(JSON.parse(text)) };
        const good = asked.send(socket, "x", {}, "1"), bad = asked.send(socket, "x", {}, "2");
        const lost = asked.send(socket, "x", {}, "3"), long = asked.send(socket, "x", { text: "é".repeat(40000) });
        asked.settle({ type: "response", correlation_id: "1", result: 7 });
        asked.settle({ type: "error", correlation_id: "2", code: "conflict", message: "no" });
        asked.abandon();
        const kinds = await Promise.allSettled([good, bad, lost, long]);
        return [sent.length, ...kinds.map(({ value, reason }) => value ?? reason.kind)];
    }"""
    assert call("requests", code) == [3, 7, "conflict", "unreachable", "too_large"]


def test_what_the_curator_asks_for_is_acknowledged_and_the_display_is_asked_for_while_it_is_watched(call: Call) -> None:
    code = """async () => {
        const real = window.WebSocket, seen = [];
        window.WebSocket = class { sent = []; send(text) { this.sent.push(JSON.parse(text)); } close() {} };
        const line = new m.Connection({
            token: async () => ({ token: "t" }), url: async () => "ws://files.test", onEvent() {}, onGap() {},
            onState() {}, onRefused() {}, onGatewayState: (frame) => seen.push(frame.type),
        });
        await line.start();
        const { socket } = line, say = (frame) => socket.onmessage({ data: JSON.stringify(frame) });
        line.watchGateway(true);
        say({ type: "connected", cursor: 5, epoch: "e", connection_id: "c" });
        say({ type: "subscribed" });
        say({ type: "gateway_state" });
        say({ type: "curator_checkin", missing_updates: [{ message_id: "a" }, { message_id: "b" }], attempt: 1 });
        line.watchGateway(false);
        line.stop();
        window.WebSocket = real;
        return [seen, ...socket.sent.map(({ type, topics, message_id }) => [type, message_id ?? topics.join()])];
    }"""
    assert call("socket", code) == [
        ["gateway_state"],
        ["subscribe", "#"],
        ["subscribe", "system.gateway"],
        ["ack", "a"],
        ["ack", "b"],
        ["unsubscribe", "system.gateway"],
    ]


def test_an_answer_grows_by_its_pieces_and_ends_with_its_turn(call: Call) -> None:
    turn = {"turn_id": "t", "number": 1, "status": "running", "text": "?", "room_id": "r", "bot_id": "b"}
    piece = {"type": "chat_delta", "room_id": "r", "bot_id": "b", "turn_id": "t", "attempt": 1, "index": 0}
    events = [
        {"type": "chat_started", "turn": turn},
        {**piece, "text": "lost"},
        {**piece, "attempt": 2, "text": "Good "},
        {**piece, "attempt": 2, "text": "morning"},
        {**piece, "attempt": 1, "text": "late"},
    ]
    carry = "(now, events) => events.reduce(m.carriedOn, now)"
    now = {"room": "r", "bot": "b", "turns": [], "growing": {}, "began": []}
    grown = call("chat_talk", carry, now, events)
    assert grown["growing"] == {"t": {"attempt": 2, "text": "Good morning"}}
    answered = {"type": "chat_answered", "turn": {**turn, "status": "answered", "answer": "Good morning"}}
    ended = call("chat_talk", carry, grown, [answered, {"type": "chat_started", "turn": turn}])
    assert ended["growing"] == {} and [each["status"] for each in ended["turns"]] == ["answered"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[1;32mok\x1b[0m \x1b]0;title\x07done", "ok done"),
        ("10 %\r50 %\r100 %\r", "100 %"),
        ("a\tb\t\tc", "a       b               c"),
        ("bell\x07 and \x1b(B cut \x1b[3", "bell and  cut "),
        ("<b>é 漢</b>", "<b>é 漢</b>"),
    ],
)
def test_a_line_is_shown_without_what_was_meant_for_a_terminal(call: Call, written: str, shown: str) -> None:
    assert call("terminal", "(text) => m.plain(text)", written) == shown


def test_lines_are_added_without_holes_and_the_oldest_go_while_the_end_is_followed(call: Call) -> None:
    def extended(known: list[int], fresh: list[int], most: int, *, follows: bool) -> list[int]:
        lines = [[{"number": n} for n in each] for each in (known, fresh)]
        added = call("run_output", "(a, b, most, follows) => m.extended(a, b, most, follows)", *lines, most, follows)
        return [line["number"] for line in added]

    assert extended([1, 2], [2, 3, 4], 9, follows=True) == [1, 2, 3, 4]
    assert extended([1, 2], [4, 5], 9, follows=True) == [1, 2]
    assert extended([1, 2], [3, 4], 3, follows=True) == [2, 3, 4]
    assert extended([1, 2], [3, 4], 3, follows=False) == [1, 2, 3]


def test_a_run_that_has_ended_stays_so_unless_it_was_only_lost(call: Call) -> None:
    def newer(known: str, fresh: str) -> str:
        runs = [{"state": state, "lines": 1, "heard": "2026-01-01T00:00:00Z"} for state in (known, fresh)]
        return str(call("runs", "(a, b) => m.newer(a, b).state", *runs))

    assert newer("completed", "running") == "completed"
    assert newer("lost", "running") == "running"
    assert newer("running", "killed") == "killed"


def test_a_replay_that_is_sought_back_forgets_what_came_after_and_says_what_it_passes_over(call: Call) -> None:
    rows = [{"seq": seq, "kind": "event"} for seq in (1, 2, 3)]

    def sought(place: int) -> list[Any]:
        found = call("replay", "(rows, place) => m.soughtRows(rows, 3, place)", rows, place)
        return [row.get("summary", row["seq"]) for row in found]

    assert sought(2) == [1]
    assert sought(4) == [1, 2, 3]
    assert sought(9) == [1, 2, 3, "Events 4 to 8 were passed over."]
