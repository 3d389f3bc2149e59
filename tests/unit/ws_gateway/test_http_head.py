"""Heads of HTTP requests, and what a request for events asks for."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from services.ws_gateway.wire.event_requests import of_key, subscription
from services.ws_gateway.wire.http_head import BadRequest, Head, is_for, problem, read_head
from shared.auth import Caller
from shared.errors import Rejected
from shared.reach import Sessions


def head(target: str = "/events", **headers: str) -> Head:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **headers}.items())
    return read_head(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))


def asked(query: str, **headers: str) -> dict[str, Any]:
    request = subscription(head(f"/events?{query}", **headers))
    return {"topics": request.topics, "mode": request.mode, "since": request.since}


def refusal(query: str, **headers: str) -> str:
    with pytest.raises(Rejected) as refused:
        subscription(head(f"/events?{query}", **headers))
    assert refused.value.code == "invalid"
    return refused.value.message


def test_a_head_is_read() -> None:
    read = read_head(b"OPTIONS /events?a=1 HTTP/1.1\r\nhost:x\r\nX-A:  b \r\nx-a: c\r\n\r\n")
    assert (read.method, read.path, read.query()) == ("OPTIONS", "/events", {"a": ["1"]})
    assert read.headers.getall("X-A") == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /events\r\nHost: x\r\n\r\n", 400),
        (b"GET  /events HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /ev\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /events HTTP/1.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /events HTTP/1.1\r\n\r\n", 400),
        (b"GET /events HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /events HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /events HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        (b"GET /events HTTP/1.1\r\nHost: x\r\nA: b\nc\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        read_head(text)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("text", "is_events"),
    [
        (b"GET /events HTTP/1.1\r\n", True),
        (b"POST /events?a HTTP/1.1\r\n", True),
        (b"GET /eventses HTTP/1.1\r\n", False),
        (b"GET /ws?/events HTTP/1.1\r\n", False),
        (b"\r\n", False),
    ],
)
def test_a_path_is_known_by_the_first_line(text: bytes, is_events: bool) -> None:
    assert is_for(text, b"/events") is is_events


def test_a_body_is_known_by_the_head() -> None:
    assert not head().has_body
    assert not head(**{"Content-Length": "0"}).has_body
    assert head(**{"Content-Length": "10"}).has_body
    assert head(**{"Transfer-Encoding": "chunked"}).has_body


def test_topics_stand_apart_or_between_commas() -> None:
    assert asked(f"topics={quote('a.#,b.*')}&topics=c")["topics"] == ["a.#", "b.*", "c"]
    assert asked("topics=a.%23")["topics"] == ["a.#"]


def test_the_place_to_go_on_from_is_the_headers_before_the_urls() -> None:
    assert asked("topics=a&since=5")["since"] == 5
    assert asked("topics=a&since=last")["since"] == "last"
    assert asked("topics=a&since=5&last_event_id=6")["since"] == 6
    assert asked("topics=a&lastEventId=6")["since"] == 6
    assert asked("topics=a&since=5", **{"Last-Event-ID": "7"})["since"] == 7
    assert asked("topics=a&since=", **{"Last-Event-ID": ""})["since"] is None


def test_how_the_events_are_wanted_can_be_said() -> None:
    filters = quote(json.dumps({"tags": ["x"]}))
    request = subscription(head(f"/events?topics=a&mode=focused&filters={filters}&peripheral_awareness=false"))
    assert request.mode == "focused"
    assert request.filters is not None
    assert request.filters.tags == ["x"]
    assert request.peripheral_awareness is False


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("topic=a", "no parameter 'topic'"),
        ("topics=a&since=1&since=2", "more than once"),
        ("topics=a&since=x", "'x' is no cursor"),
        ("topics=a&since=1e3", "no cursor"),
        ("topics=a&mode=loud", "`$.mode`"),
        ("topics=a&filters=x", "`filters` is not JSON"),
        ("topics=a&filters={}x", "`filters` is not JSON"),
        ("topics=a&filters=[]", "`$.filters`"),
        ("topics=a&peripheral_awareness=maybe", "not JSON"),
        ("topics=%ff", "UTF-8"),
    ],
)
def test_what_a_query_must_not_say(query: str, said: str) -> None:
    assert said in refusal(query)


def test_a_key_listens_as_an_observer_named_after_it() -> None:
    key = Caller("grafana", frozenset({"read", "publish", "admin"}), Sessions(["s1"]))
    identity = of_key(key)
    assert (identity.agent_id, identity.permission, identity.is_admin) == ("key:grafana", "observer", False)
    assert identity.hears("session.s1.#")
    assert not identity.hears("session.s2.#")
    with pytest.raises(Rejected):
        of_key(Caller("writer", frozenset({"publish"})))


def test_a_refusal_is_a_problem_document() -> None:
    text, body = problem(Rejected("rate_limited", "too many", retry_after=1.2), {"Vary": "Origin"}).split(b"\r\n\r\n")
    lines = text.decode().splitlines()
    assert lines[0] == "HTTP/1.1 429 Too Many Requests"
    assert {"Content-Type: application/problem+json", "Retry-After: 2", "Vary: Origin", "Connection: close"} <= {*lines}
    assert f"Content-Length: {len(body)}" in lines
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "too many",
        "code": "rate_limited",
        "details": {"retry_after": 1.2},
    }
