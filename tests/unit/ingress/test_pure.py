"""Small rules without I/O: preferences, problem documents, spellings, Campfire's keys, sources."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress import campfire, sources
from services.ingress.calls import Call
from services.ingress.outgoing import check_message_id, command, receive_webhook
from services.ingress.prefer import wait_of
from services.ingress.problems import STATUS, from_error, problem
from shared.errors import ERROR_CODES, Rejected
from shared.messages import decode_command, spec_of


def call(*headers: tuple[str, str]) -> Call:
    async def receive() -> None: ...

    return Call({"headers": [(name.encode(), value.encode()) for name, value in headers]}, receive)


@pytest.mark.parametrize(
    ("sent", "wait"),
    [
        ([], None),
        (["wait=5"], 5),
        (["wait=0"], 0),
        (["respond-async"], 0),
        (["respond-async, wait=7"], 7),
        (["wait=7, respond-async"], 7),
        (["respond-async", "wait=7"], 7),
        (['wait="12"'], 12),
        (["WAIT = 3"], 3),
        (["Respond-Async"], 0),
        (["return=minimal; wait=4"], None),
        (["wait=soon"], None),
        (["wait=-1"], None),
        (["wait="], None),
        ([""], None),
        (["handling=lenient, wait=9"], 9),
    ],
)
def test_prefer_says_how_long_to_wait(sent: list[str], wait: float | None) -> None:
    assert wait_of(call(*(("prefer", value) for value in sent))) == wait


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=60))
def test_no_prefer_header_is_an_error(text: str) -> None:
    async def receive() -> None: ...

    wait = wait_of(Call({"headers": [(b"prefer", text.encode("latin-1"))]}, receive))
    assert wait is None or wait >= 0


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_error_code_has_a_status_and_a_problem_document(code: Any) -> None:
    answer = problem(Rejected(code, "it failed", field="x"), "0af7651916cd43dd8448eb211c80319c")
    document = orjson.loads(answer.body)
    assert answer.status == STATUS[code] == document["status"]
    assert answer.content_type == b"application/problem+json"
    assert document["code"] == code
    assert document["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert document["detail"] == "it failed"
    assert document["details"] == {"field": "x"}
    assert document["type"] == "about:blank"


def test_a_full_service_says_when_to_come_again() -> None:
    answer = problem(Rejected("unavailable", "full", retry_after=7.2), "t")
    assert dict(answer.headers) == {b"retry-after": b"8"}
    assert dict(problem(Rejected("rate_limited", "slow down"), "t").headers)[b"retry-after"].isdigit()


def test_an_error_of_a_kind_nobody_knows_is_ours() -> None:
    assert from_error({"code": "exploded"}, "t").status == 500
    assert from_error({}, "t").status == 500


def room(path: Any, **more: Any) -> dict[str, Any]:
    return {"user": {"id": 9, "name": "Jo"}, "room": {"id": 4, "name": None, "path": path}, **more}


def test_the_bots_key_is_taken_out_and_every_other_byte_stays() -> None:
    body = b'{"room":{"id":4,"path":"/rooms/4/9-AbCdEf123456/messages"},  "message":{"id":7,"body":{"plain":"1e5"}}}'
    masked = campfire.without_bot_key(body, orjson.loads(body))
    assert masked == body.replace(b"9-AbCdEf123456", b"bot-key")


@pytest.mark.parametrize("escape", ["\\/", "/"])
@pytest.mark.parametrize("key", ["9-AbCdEf123456", "9", "a.b"])
def test_the_bots_key_is_found_however_its_path_is_written(key: str, escape: str) -> None:
    text = json.dumps(room(f"/rooms/4/{key}/messages", message={"id": 9, "path": "/rooms/4/@77"})).replace("/", escape)
    masked = orjson.loads(campfire.without_bot_key(text.encode(), orjson.loads(text)))
    assert masked["room"]["path"] == "/rooms/4/bot-key/messages"
    assert masked["message"] == {"id": 9, "path": "/rooms/4/@77"}
    assert masked["user"] == {"id": 9, "name": "Jo"}


def test_a_key_written_in_escapes_is_taken_out_too() -> None:
    text = '{"room":{"path":"/rooms/4/\\u0039-AbCdEf123456/messages"},"message":{"body":"is it 9-AbCdEf123456?"}}'
    masked = campfire.without_bot_key(text.encode(), orjson.loads(text))
    assert b"AbCdEf123456" not in masked
    assert orjson.loads(masked)["room"]["path"] == "/rooms/4/bot-key/messages"


@pytest.mark.parametrize(
    "document", [{}, {"room": None}, {"room": {"path": None}}, {"room": {"path": 7}}, room("/elsewhere")]
)
def test_a_message_without_a_key_stays_as_it_is(document: dict[str, Any]) -> None:
    assert campfire.without_bot_key(orjson.dumps(document), document) == orjson.dumps(document)


@pytest.mark.parametrize(
    ("document", "expected"),
    [({"message": {"id": 77}}, "77"), ({"message": {"id": "a"}}, "a"), ({"message": {}}, None), ({}, None), ([], None)],
)
def test_a_campfire_delivery_is_known_by_its_messages_number(document: Any, expected: str | None) -> None:
    assert campfire.delivery_id(document) == expected


def test_the_committed_sources_file_is_valid_and_declares_the_defaults() -> None:
    found = sources.load(Path(__file__).resolve().parents[3] / "switchyard.toml", {"GITHUB_WEBHOOK_SECRET": "s"})
    assert found["github"].secrets == (b"s",)
    assert found["api"].scheme == "api_key"


def test_without_a_file_the_defaults_are_in_force(tmp_path: Path) -> None:
    found = sources.load(tmp_path / "none.toml", {})
    assert set(found) == {"github", "api"}
    assert found["github"].secrets == ()


def test_several_secrets_are_valid_at_once_and_empty_ones_never(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[sources.x]\nscheme="hmac"\nsecret=""\nsecrets=["a","","b"]\nsecret_env=["C","D"]\n')
    assert sources.load(file, {"C": "c", "D": ""})["x"].secrets == (b"a", b"b", b"c")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[sources.x]\n", "scheme"),
        ('[sources.x]\nscheme="magic"\n', "scheme"),
        ('[sources.x]\nscheme="hmac"\nsecrte="a"\n', "secrte"),
        ('[sources."a/b"]\nscheme="hmac"\n', "a/b"),
        ('[sources.x]\nscheme="standard"\nsecret="whsec_%%%"\n', "secret"),
        ("[sources.x\n", "switchyard"),
        ("sources = 3\n", "tables"),
    ],
)
def test_a_mistake_in_the_sources_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "switchyard.toml"
    file.write_text(text)
    with pytest.raises(sources.SourcesError, match=named):
        sources.load(file, {})


def test_a_webhook_becomes_a_command_with_its_payload_untouched() -> None:
    payload = b'{"b": 1e300, "a": 100000000000000000000000, "a": "\\u00e9"}'
    message = receive_webhook("github", "push", None, 'd"1', payload, "tp")
    decoded = decode_command(message.body)
    assert payload in message.body
    assert decoded.data.payload.text == payload
    assert (decoded.data.event, decoded.data.action, decoded.data.delivery_id) == ("push", None, 'd"1')
    assert decoded.trust == "untrusted"
    assert message.message_id == receive_webhook("github", "push", "x", 'd"1', b"{}", "tp").message_id
    assert message.message_id != receive_webhook("gitlab", "push", "x", 'd"1', b"{}", "tp").message_id


def test_a_command_carries_its_data_as_it_was_written() -> None:
    data = b'{ "session_id":"s1", "type":"fact", "content":{"z":1.10,"a":2e300} }'
    message = command(spec_of("store_memory"), {"message_id": "m", "sender_agent_id": "me"}, data, "tp")
    assert decode_command(message.body).data.content.text == b'{"z":1.10,"a":2e300}'
    assert message.routing_key == "memory.store_memory"


@pytest.mark.parametrize("text", ["", "a\nb", "\x7f", "x" * 256, "é" * 128])
def test_a_message_id_must_fit_what_carries_it(text: str) -> None:
    with pytest.raises(Rejected):
        check_message_id(text)


def test_any_other_text_is_a_message_id() -> None:
    for text in ("a", "order 7/β", "x" * 255, "é" * 127):
        assert check_message_id(text) == text
