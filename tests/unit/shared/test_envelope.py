"""The envelope: what every message carries, and how what is wrong with one is named."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.messages import COMMANDS, EVENTS, JsonText, check_json, decode_command, encode_command, new_id, spec_of
from shared.messages.envelope import MAX_HOPS, delivery_message_id, topic_word
from shared.messages.json_text import MAX_DEPTH
from shared.messages.session import SessionEvent
from shared.messages.system import Webhook

COMMAND = {
    "type": "command",
    "message_id": "m1",
    "command": "pause_session",
    "sender_agent_id": "ada",
    "data": {"session_id": "s1"},
}


def refusal(**changes: Any) -> Rejected:
    with pytest.raises(Rejected) as refused:
        decode_command(orjson.dumps({**COMMAND, **changes}))
    return refused.value


def test_a_command_is_decoded_with_the_defaults_of_its_envelope() -> None:
    command = decode_command(orjson.dumps(COMMAND))
    assert (command.priority, command.hops, command.trust, command.correlation_id) == ("normal", 0, "trusted", None)
    assert (command.spec, command.session_id, command.data.reason) == (COMMANDS["pause_session"], "s1", None)


def test_an_unknown_field_of_the_envelope_is_named() -> None:
    error = refusal(colour="red")
    assert error.code == "invalid"
    assert "colour" in error.message
    assert error.details["fields"][0]["field"] == "colour"


def test_an_unknown_field_of_the_data_is_named() -> None:
    error = refusal(data={"session_id": "s1", "reson": "typo"})
    assert "`data` of pause_session" in error.message
    assert error.details["fields"] == [
        {"field": "reson", "fault": "Extra inputs are not permitted", "kind": "extra_forbidden"}
    ]


def test_every_wrong_field_is_named() -> None:
    error = refusal(command="delegate_task", data={"session_id": 7, "priority": 12})
    assert {fault["field"] for fault in error.details["fields"]} == {
        "session_id",
        "priority",
        "agent_name",
        "task_type",
    }


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("get_session", {"session_id": "a\nb"}, "session_id: string should hold no control characters"),
        ("retrieve_memory", {"session_id": "s", "key": "k", "as_of": "today"}, "as_of: string should be a moment with"),
        ("list_sessions", [], "data: input should be an object"),
        ("store_memory", {"session_id": "s", "type": "fact", "content": 1, "if_version": 2**31}, "if_version: input"),
    ],
)
def test_what_is_wrong_is_said_without_patterns_or_python(name: str, data: Any, said: str) -> None:
    assert said in refusal(command=name, data=data).message


def test_urgent_is_read_as_critical() -> None:
    assert decode_command(orjson.dumps({**COMMAND, "priority": "urgent"})).priority == "critical"
    assert refusal(priority="asap").details["fields"][0]["field"] == "priority"


@pytest.mark.parametrize("given", ["12", 12.0, True, 2**70])
def test_nothing_is_coerced(given: Any) -> None:
    with pytest.raises(Rejected):
        decode_command(b'{"type":"command","message_id":"m1","command":"list_sessions","data":{"limit":%s}}'
                       % (str(given) if given == 2**70 else orjson.dumps(given).decode()).encode())  # fmt: skip


@pytest.mark.parametrize("body", [b"[]", b'"command"', b"7", b"null"])
def test_a_message_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected, match="a message is a JSON object"):
        decode_command(body)


@pytest.mark.parametrize("name", ["drop_tables", "", "store_memory ", "Store_Memory", "__class__"])
def test_an_unknown_command_is_named(name: str) -> None:
    error = refusal(command=name)
    assert (error.code, error.details["command"]) == ("invalid", name)


def test_append_conversation_is_another_name_for_conversation_chunk() -> None:
    assert spec_of("append_conversation") is COMMANDS["conversation_chunk"]


def test_a_message_at_16_hops_is_refused_as_a_loop() -> None:
    assert decode_command(orjson.dumps({**COMMAND, "hops": MAX_HOPS - 1})).hops == 15
    assert refusal(hops=MAX_HOPS).code == "loop"
    assert refusal(hops=-1).code == "invalid"


@pytest.mark.parametrize("identifier", ["", "a\nb", "a\x7fb", "x" * 256])
def test_an_id_is_a_label_a_person_could_write(identifier: str) -> None:
    assert refusal(message_id=identifier).code == "invalid"
    assert refusal(data={"session_id": identifier}).code == "invalid"


def test_an_event_takes_the_routing_key_of_its_topic_and_no_id_can_break_it() -> None:
    webhook = Webhook(source="git.hub", event="issue #7*", action=None, delivery_id="d", payload={"a": 1})
    assert webhook.routing_key() == "webhook.git_hub.issue__7_"
    session_event = next(iter(SessionEvent.__subclasses__()))
    key = session_event.model_construct(session_id="a.b c#*").routing_key()
    assert key.startswith("session.a_b_c__.")


def test_an_event_of_no_session_says_none_in_its_routing_key() -> None:
    insight = EVENTS["llm_conversation_insight"](insight={"any": 1})
    assert insight.routing_key() == "session.none.insight"
    assert b'"session_id"' not in insight.encoded()


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_any_two_ids_fit_a_routing_key(one: str, other: str) -> None:
    for word in (topic_word(one), topic_word(other)):
        assert not re.search(r"[.*# ]", word)
    event = Webhook.model_construct(source=one, event=other)
    assert len(event.routing_key().encode()) <= 255


def test_the_copies_of_a_delivery_share_one_message_id() -> None:
    assert delivery_message_id("github", "d1") == delivery_message_id("github", "d1")
    assert delivery_message_id("github", "d1") != delivery_message_id("gitlab", "d1")


def test_message_ids_are_sortable_by_the_time_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000


def test_what_was_accepted_at_the_deepest_is_decoded_inside_its_command() -> None:
    deepest = JsonText(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    check_json(deepest.text)
    delivery = {"source": "s", "event": "e", "delivery_id": "d", "payload": deepest}
    body = encode_command("receive_webhook", delivery, message_id="m1", sender_agent_id="webhook")
    assert decode_command(body).data.payload == deepest


_BODY = encode_command("store_memory", {"session_id": "s1", "type": "fact", "content": {"a": [1, "b"]}, "tags": ["t"]},
                       message_id="m1", sender_agent_id="ada")  # fmt: skip


@given(st.integers(0, len(_BODY)), st.binary(max_size=3), st.integers(0, 4))
def test_a_damaged_message_is_decoded_or_refused_and_nothing_else(at: int, put: bytes, cut: int) -> None:
    try:
        decode_command(_BODY[:at] + put + _BODY[at + cut :])
    except Rejected as refused:
        assert refused.code in ("invalid", "loop")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(COMMANDS)),
)
def test_any_data_is_decoded_or_refused_and_nothing_else(data: Any, name: str) -> None:
    document = {**COMMAND, "command": name, "data": data}
    try:
        body = orjson.dumps(document)
    except TypeError:  # a lone surrogate, or an integer JSON writers can't write
        return
    try:
        decode_command(body)
    except Rejected as refused:
        assert refused.code == "invalid"
