"""Bad input to the commands of a session's parts: each fault is refused, and the field named."""

from typing import Any

import pytest

from shared.errors import Rejected
from shared.messages import COMMANDS, JsonText, encode
from shared.messages.commands import validate_data

LONG_ID = "x" * 256
WRONG_IDS: list[Any] = [None, "", LONG_ID, "a\nb", 7, ["s1"]]
WRONG_OPTIONAL_IDS = [wrong for wrong in WRONG_IDS if wrong is not None]
NOT_MOMENTS: list[Any] = [
    "yesterday", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00Z", "2026-13-31T12:00:00Z",
    "2026-02-30T12:00:00Z", "2026-01-31T24:00:01Z", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", 17, "",
]  # fmt: skip

# By command: data that is right, and for each field values that are not; what must be there has None among them.
CASES: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "fail_session": ({"session_id": "s1"}, {"session_id": WRONG_IDS, "reason": ["x" * 2_001, 7]}),
    "archive_session": ({"session_id": "s1"}, {"session_id": WRONG_IDS}),
    "log_action": (
        {"session_id": "s1", "type": "t"},
        {
            "session_id": WRONG_IDS, "action_id": WRONG_OPTIONAL_IDS, "agent_id": WRONG_OPTIONAL_IDS,
            "type": [None, "", "x" * 101, 7], "timestamp": NOT_MOMENTS,
        },
    ),
    "log_response": (
        {"session_id": "s1"},
        {
            "session_id": WRONG_IDS, "response_id": WRONG_OPTIONAL_IDS, "action_id": WRONG_OPTIONAL_IDS,
            "agent_id": WRONG_OPTIONAL_IDS, "type": [None, "", "x" * 101, 7], "timestamp": NOT_MOMENTS,
        },
    ),
    "get_actions": (
        {"session_id": "s1"},
        {"session_id": WRONG_IDS, "kind": ["actions", ""], "limit": [0, 501, "9", 1.5, None], "cursor": ["", 7]},
    ),
    "get_state": ({"session_id": "s1"}, {"session_id": WRONG_IDS}),
    "update_state": (
        {"session_id": "s1", "patch": {}},
        {
            "session_id": WRONG_IDS,
            "patch": [None, [], "x", 7, True, {"goals": []}, {"a": 1, "agents": None}, {"sessionId": "x"},
                      {"session_id": "s1"}],
            "if_version": [-1, 1.5, "1", 2**31, [1, -1], list(range(101))],
        },
    ),
    "add_goal": (
        {"session_id": "s1", "description": "d"},
        {
            "session_id": WRONG_IDS, "goal_id": WRONG_OPTIONAL_IDS, "description": [None, "", "x" * 10_001, 7],
            "status": ["done", "", None], "priority": ["urgent", "", None, 1],
        },
    ),
    "update_goal": (
        {"session_id": "s1", "goal_id": "g1", "status": "blocked"},
        {
            "session_id": WRONG_IDS, "goal_id": WRONG_IDS, "description": ["", "x" * 10_001], "status": ["done", ""],
            "priority": ["urgent", ""],
        },
    ),
    "spawn_agent": (
        {"session_id": "s1", "type": "t"},
        {
            "session_id": WRONG_IDS, "agent_id": WRONG_OPTIONAL_IDS, "type": [None, "", "x" * 101, 7],
            "description": ["x" * 2_001, 7],
        },
    ),
    "complete_agent": (
        {"session_id": "s1", "agent_id": "a1"},
        {"session_id": WRONG_IDS, "agent_id": WRONG_IDS, "status": ["active", "", None, 7]},
    ),
    "add_artifact": (
        {"session_id": "s1", "name": "n", "type": "t", "content": "c"},
        {
            "session_id": WRONG_IDS, "artifact_id": WRONG_OPTIONAL_IDS, "name": [None, "", "x" * 501, 7],
            "type": [None, "", "x" * 101, 7], "content": [None, "", "x" * 1_000_001, {}], "format": ["", "x" * 101, 7],
        },
    ),
    "get_artifact": ({"session_id": "s1", "artifact_id": "x1"}, {"session_id": WRONG_IDS, "artifact_id": WRONG_IDS}),
}  # fmt: skip


def validate(name: str, data: dict[str, Any]) -> Any:
    return validate_data(COMMANDS[name], data, encode(data))


def refusal(name: str, data: dict[str, Any]) -> set[str]:
    """The fields that a refusal names, without what is within them."""
    with pytest.raises(Rejected) as refused:
        validate(name, data)
    assert refused.value.code == "invalid"
    return {str(fault["field"]).split(".")[0] for fault in refused.value.details["fields"]}


@pytest.mark.parametrize("name", CASES)
def test_every_wrong_value_is_refused_and_its_field_named(name: str) -> None:
    right, wrong = CASES[name]
    validate(name, right)
    for field, values in wrong.items():
        for value in values:
            assert refusal(name, {**right, field: value}) == {field}, value


@pytest.mark.parametrize("name", CASES)
def test_what_must_be_there_is_missed_and_what_nobody_knows_is_named(name: str) -> None:
    right, wrong = CASES[name]
    for field in wrong:
        if COMMANDS[name].data.model_fields[field].is_required():
            assert refusal(name, {key: value for key, value in right.items() if key != field}) == {field}
    assert refusal(name, {**right, "colour": "red"}) == {"colour"}


@pytest.mark.parametrize("name", CASES)
def test_null_is_like_leaving_out_where_that_may_be(name: str) -> None:
    right, _ = CASES[name]
    for field, kind in COMMANDS[name].data.model_fields.items():
        if kind.default is None and field not in right:
            given = getattr(validate(name, {**right, field: None}), field)
            # A field of any JSON can hold the null itself.
            assert given in (None, JsonText(b"null")), field


@pytest.mark.parametrize("name", CASES)
def test_the_example_of_the_documents_is_right(name: str) -> None:
    spec = COMMANDS[name]
    assert spec.public
    assert spec.example
    validate(name, spec.example)
