"""The session API's rules without I/O: spellings, what is gathered, entity tags, slashes in ids."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.session_api import etags
from services.ingress.session_api.segments import SegmentRoute
from services.ingress.session_api.spelling import camel_result, command_data
from shared.errors import Rejected
from shared.messages import spec_of
from shared.spelling import camel, snake

CREATE, LOG, GOAL = spec_of("create_session"), spec_of("log_action"), spec_of("add_goal")


@pytest.mark.parametrize(
    ("one", "other"),
    [("session_id", "sessionId"), ("conversation_chunk_count", "conversationChunkCount"), ("title", "title")],
)
def test_names_are_spelled_both_ways(one: str, other: str) -> None:
    assert camel(one) == other
    assert snake(other) == one
    assert snake(one) == one


def test_only_a_sessions_own_names_are_respelled_and_no_number_changes() -> None:
    text = b'{"sessionId":"s1","initial":{"someKey":1e400,"b_c":[1.10,2]},"user_id":"u"}'
    expected = b'{"session_id":"s1","initial":{"someKey":1e400,"b_c":[1.10,2]},"user_id":"u"}'
    assert command_data(CREATE, text, {}) == expected
    page = b'{"sessions":[{"session_id":"a"},{"session_id":"b"}],"next":"n"}'
    assert camel_result(page) == b'{"sessions":[{"sessionId":"a"},{"sessionId":"b"}],"next":"n"}'


def test_one_noun_is_there_flat_too() -> None:
    result = b'{"session":{"session_id":"s1","initial":{"someKey":1.0,"b_c":1e5}}}'
    noun = b'"sessionId":"s1","initial":{"someKey":1.0,"b_c":1e5}'
    assert camel_result(result) == b'{%s,"session":{%s}}' % (noun, noun)


@pytest.mark.parametrize("noun", ["action", "response", "goal", "agent"])
def test_a_noun_keeps_what_its_user_wrote(noun: str) -> None:
    text = b'{"%s":{"agent_id":"a","details":{"agent_id":1e2,"a_b":{"c_d":null}}}}' % noun.encode()
    assert camel_result(text).endswith(
        b'"%s":{"agentId":"a","details":{"agent_id":1e2,"a_b":{"c_d":null}}}}' % noun.encode()
    )


def test_a_page_of_actions_is_respelled_item_by_item() -> None:
    text = b'{"actions":[{"action_id":"a","details":{"x_y":1}}],"responses":[{"response_id":"r"}],"next":null}'
    assert camel_result(text) == (
        b'{"actions":[{"actionId":"a","details":{"x_y":1}}],"responses":[{"responseId":"r"}],"next":null}'
    )


def test_a_state_is_flat_with_its_own_members_untouched() -> None:
    text = (
        b'{"state":{"session_id":"s1","current_step":1e2,"version":"1.2","goals":[{"goal_id":"g","metadata":{"a_b":1}}],'
        b'"agents":[{"agent_id":"a"}]},"version":7}'
    )
    state = (
        b'"sessionId":"s1","current_step":1e2,"version":"1.2","goals":[{"goalId":"g","metadata":{"a_b":1}}],'
        b'"agents":[{"agentId":"a"}]'
    )
    assert camel_result(text) == b'{%s,"state":{%s}}' % (state, state)


def test_a_member_called_state_stands_within_the_state() -> None:
    answered = orjson.loads(
        camel_result(b'{"state":{"session_id":"s1","state":"ready","goals":[],"agents":[]},"version":1}')
    )
    assert answered["state"]["state"] == "ready"
    assert answered["state"]["sessionId"] == answered["sessionId"] == "s1"


@pytest.mark.parametrize("rest", [None, "details"])
def test_a_field_in_two_spellings_is_refused(rest: str | None) -> None:
    with pytest.raises(Rejected, match="two spellings"):
        command_data(LOG, b'{"agentId":"a","agent_id":"b"}', {}, rest=rest)


def test_ids_of_the_path_join_the_body_unless_it_says_otherwise() -> None:
    for body in (b"{}", b'{"sessionId":"s1"}', b'{"session_id":"s\\u0031"}'):
        assert orjson.loads(command_data(LOG, body, {"session_id": "s1"})) == {"session_id": "s1"}
    for body in (b'{"sessionId":"s2"}', b'{"session_id":null}', b'{"sessionId":1}'):
        with pytest.raises(Rejected, match="the path names sessionId 's1'") as refusal:
            command_data(LOG, body, {"session_id": "s1"})
        assert refusal.value.details["fields"][0]["field"] == "sessionId"


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (b'{"type":"t"}', None),
        (b'{"type":"t","details":{"a_b":1e2}}', b'{"a_b":1e2}'),
        (b'{"type":"t","toolName":"x","n":1e2}', b'{"toolName":"x","n":1e2}'),
        (b'{"n":2.0,"type":"t","details":{"a":1}}', b'{"a":1,"n":2.0}'),
        (b'{"type":"t","details":null,"n":1}', b'{"n":1}'),
        (b'{"type":"t","details":"text","n":1}', b'{"details":"text","n":1}'),
        (b'{"type":"t","details":[1.0],"n":1}', b'{"details":[1.0],"n":1}'),
        (b'{"type":"t","details":"text"}', b'"text"'),
    ],
)
def test_members_nobody_knows_are_kept_among_the_details(body: bytes, details: bytes | None) -> None:
    kept = command_data(LOG, body, {"session_id": "s1"}, rest="details")
    end = b"" if details is None else b',"details":' + details
    # Where the details stand among the members is no matter.
    assert sorted(orjson.loads(kept).items()) == sorted(orjson.loads(b'{"type":"t","session_id":"s1"%s}' % end).items())
    assert details is None or details in kept


def test_a_member_beside_and_among_the_details_is_refused() -> None:
    with pytest.raises(Rejected, match="beside `metadata` and in it"):
        command_data(GOAL, b'{"description":"d","metadata":{"due":1},"due":2}', {}, rest="metadata")


def test_without_a_place_for_it_what_nobody_knows_stays_to_be_refused() -> None:
    assert command_data(CREATE, b'{"sesionId":"s1"}', {}) == b'{"sesion_id":"s1"}'


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"7"', 7),
        (' "7" ,', 7),
        ('"7","8"', [7, 8]),
        ('"8" , , "7", "8"', [7, 8]),
        ('W/"7"', []),
        ('W/"7","8"', 8),
        ('"x","8"', 8),
        ('"x"', []),
        ('"07"', []),
        ('""', []),
        ('"a,b", "3"', 3),
        ('"2147483647"', 2**31 - 1),
        ('"2147483648"', []),
        ('"99999999999999999999"', []),
    ],
)
def test_if_match_allows_versions(header: str | None, allowed: Any) -> None:
    assert etags.versions_allowed(header) == allowed


@pytest.mark.parametrize("header", ["7", "", "x", '"7', '"7" "8"', "*, *", "'7'", '"7";', 'w/"7"', "W/7"])
def test_what_is_no_list_of_tags_is_refused_and_named(header: str) -> None:
    with pytest.raises(Rejected) as refusal:
        etags.versions_allowed(header)
    assert refusal.value.details["fields"][0]["field"] == "If-Match"
    with pytest.raises(Rejected, match="If-None-Match"):
        etags.is_known(header, 7)


@pytest.mark.parametrize(
    ("header", "known"),
    [(None, False), ("*", True), ('"7"', True), ('W/"7"', True), ('"6", W/"7"', True), ('"6"', False), ('"77"', False)],
)
def test_if_none_match_knows_a_version(header: str | None, known: bool) -> None:
    assert etags.is_known(header, 7) is known


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=40))
def test_any_header_is_understood_or_refused(header: str) -> None:
    for check in (etags.versions_allowed, lambda text: etags.is_known(text, 7)):
        try:
            check(header)
        except Rejected as refusal:
            assert refusal.code == "invalid"


async def endpoint(session_id: str, goal_id: str = "") -> None: ...


def matched(template: str, sent: str, decoded: str) -> dict[str, str] | None:
    """The parameters of a path that was sent so and decoded by the server, None when the route is not meant."""
    route = SegmentRoute(template, endpoint, methods=["GET"], response_model=None)
    scope = {"type": "http", "method": "GET", "path": decoded, "raw_path": sent.encode(), "headers": []}
    match, child = route.matches(scope)
    return dict(child["path_params"]) if match.value else None


STATE, GOALS = "/api/state/{session_id:path}", "/api/state/{session_id:path}/goals/{goal_id}"


@pytest.mark.parametrize(
    ("template", "sent", "decoded", "found"),
    [
        (STATE, "/api/state/a", "/api/state/a", {"session_id": "a"}),
        (STATE, "/api/state/a%2Fb", "/api/state/a/b", {"session_id": "a/b"}),
        (STATE, "/api/state/a/b", "/api/state/a/b", {"session_id": "a/b"}),
        (STATE, "/api/state/a%2fgoals%2Fg", "/api/state/a/goals/g", {"session_id": "a/goals/g"}),
        (GOALS, "/api/state/a%2Fgoals%2Fg", "/api/state/a/goals/g", None),
        (GOALS, "/api/state/a/goals/g", "/api/state/a/goals/g", {"session_id": "a", "goal_id": "g"}),
        (GOALS, "/api/state/a%2Fb/goals/g%2Fh", "/api/state/a/b/goals/g/h", {"session_id": "a/b", "goal_id": "g/h"}),
        (GOALS, "/api/state/a/goals%2Fg", "/api/state/a/goals/g", None),
        (
            GOALS,
            "/api/state/%C3%A9%20%2F/goals/%252F",
            "/api/state/\xe9 //goals/%2F",
            {"session_id": "\xe9 /", "goal_id": "%2F"},
        ),
    ],
)
def test_a_slash_sent_in_an_id_belongs_to_it(template: str, sent: str, decoded: str, found: Any) -> None:
    assert matched(template, sent, decoded) == found


def test_the_runs_of_a_session_are_respelled_and_what_a_run_brought_is_not() -> None:
    run = b'{"run_id":"r","usage":{"cost_usd":1},"result":{"a_b":1e2}}'
    respelled = b'{"runId":"r","usage":{"costUsd":1},"result":{"a_b":1e2}}'
    assert camel_result(b'{"sessions":[{"session_id":"s","runs":[%b]}]}' % run) == (
        b'{"sessions":[{"sessionId":"s","runs":[%b]}]}' % respelled
    )
    assert b'"byState":{"waiting_input":1},"runs":4' in camel_result(
        b'{"stats":{"by_state":{"waiting_input":1},"runs":4}}'
    )
