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
