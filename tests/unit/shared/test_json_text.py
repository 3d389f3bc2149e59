"""JSON from outside: what is refused, and that whatever is taken stays as its sender wrote it."""

import json
import re
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.messages import JsonText, check_json, decode_command, encode, encode_command, rfc3339
from shared.messages.json_text import MAX_DEPTH, same_for_all, slices

# Each with the reason the refusal must name.
POISON = {
    "bad UTF-8": (b'{"a": "\xff"}', "json"),
    "an overlong NUL": (b'"\xc0\x80"', "json"),
    "a surrogate as UTF-8": (b'"\xed\xa0\x80"', "json"),
    "NaN": (b'{"a": NaN}', "json"),
    "Infinity": (b'{"a": Infinity}', "json"),
    "-Infinity": (b"-Infinity", "json"),
    "a number no double holds": (b"1e400", "json"),
    "a lone high surrogate": (rb'"\ud800"', "json"),
    "a lone low surrogate": (rb'"\udc00 after"', "json"),
    "surrogates the wrong way round": (rb'"\udc00\ud800"', "json"),
    "NUL in a value": (rb'{"a": "x\u0000y"}', "nul"),
    "NUL in a key": (rb'{"a\u0000": 1}', "nul"),
    "NUL after an escaped backslash": (rb'"\\\u0000"', "nul"),
    "NUL after an escaped quote": (rb'"\"\u0000"', "nul"),
    "NUL twice": (rb'"\u0000\u0000"', "nul"),
    "a raw NUL": (b'"\x00"', "json"),
    "a raw control character": (b'"\x1f"', "json"),
    "nothing": (b"", "json"),
    "only spaces": (b" \n", "json"),
    "a second document": (b"{} {}", "json"),
    "a trailing comma": (b'{"a": 1,}', "json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "json"),
    "single quotes": (b"{'a': 1}", "json"),
    "a comment": (b"{} // no", "json"),
    "one level too many": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "depth"),
    "one level too many, in an object": (b'{"a":' * MAX_DEPTH + b"[]" + b"}" * MAX_DEPTH, "depth"),
    "brackets never closed": (b"[" * 500, "json"),
    "2,000 levels": (b"[" * 2_000 + b"]" * 2_000, "depth"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "depth"),
    "100,000 levels, never closed": (b'{"a":' * 100_000, "depth"),
}

FINE = {
    "an escaped backslash before u0000": rb'"\\u0000"',
    "two of them": rb'"\\\\u0000"',
    "2**70": b'{"a": %d}' % 2**70,
    "a long fraction": b"0." + b"1" * 300,
    "1e5 and -0": b"[1e5, -0, 1E+5, -0.0]",
    "a pair of surrogates": rb'"\ud83d\ude00"',
    "the same key twice": b'{"a": 1, "a": 2}',
    "64 levels": b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    "many shallow brackets": b"[" + b",".join([b"{}"] * 1000) + b"]",
    "brackets in a string": b'"' + b"[" * 1000 + b'"',
    "a slash, escaped": rb'"a\/b"',
    "DEL": b'"\x7f"',
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_and_the_fault_named(name: str) -> None:
    body, reason = POISON[name]
    with pytest.raises(Rejected) as refused:
        check_json(body)
    assert (refused.value.code, refused.value.details["reason"]) == ("invalid", reason)
    assert refused.value.message


@pytest.mark.parametrize("name", FINE)
def test_unusual_json_is_taken_and_kept_as_written(name: str) -> None:
    text = FINE[name]
    check_json(text)
    assert encode(JsonText(text)) == text
    assert slices(b'{"before":1, "x" : ' + text + b' ,"after":[]}')["x"] == text


def test_the_last_of_two_members_with_one_name_counts_for_everybody() -> None:
    body = rb'{"data": {"x": 1}, "d\u0061ta": {"x": 2}}'
    assert check_json(body) == {"data": {"x": 2}}
    assert slices(body)["data"] == b'{"x": 2}'


def test_a_moment_is_written_in_utc_with_microseconds() -> None:
    assert encode([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]) == b'["2026-01-02T03:04:05.000000Z"]'


# JSON as any program might write it: every form of number, escapes, space wherever it may be.
_SPACE = st.sampled_from([b"", b" ", b"\n", b"\t ", b" \r\n"])
_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
_PLAIN = st.text(st.characters(min_codepoint=0x20, exclude_characters='"\\', exclude_categories=["Cs"]), max_size=8)
_ESCAPES = st.sampled_from([r"\n", r"\"", r"\\", r"\/", r"\b", r"\u00e9", r"\u001f", r"\ud83d\ude00", r"\\u0000"])
_STRINGS = st.lists(_PLAIN | _ESCAPES, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
_SCALARS = (_NUMBERS | _STRINGS | st.sampled_from(["true", "false", "null"])).map(str.encode)


@st.composite
def _spaced(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    return draw(_SPACE) + draw(inner) + draw(_SPACE)


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    return b"[" + (b",".join(draw(st.lists(_spaced(inner), max_size=4))) or draw(_SPACE)) + b"]"


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    names = draw(st.lists(_spaced(_STRINGS.map(str.encode)), max_size=4))
    return b"{" + (b",".join(name + b":" + draw(_spaced(inner)) for name in names) or draw(_SPACE)) + b"}"


JSON_TEXTS = st.recursive(_SCALARS, lambda inner: _arrays(inner) | _objects(inner), max_leaves=20)


@given(JSON_TEXTS)
def test_any_json_survives_exactly(text: bytes) -> None:
    check_json(text)
    assert encode({"x": JsonText(text), "y": 1}) == b'{"x":' + text + b',"y":1}'
    assert slices(b'{"x":' + text + b',"y": 1}') == {"x": text, "y": b"1"}
    assert JsonText(text).value() == orjson.loads(text)


@given(JSON_TEXTS)
def test_a_command_carries_any_json_exactly_from_end_to_end(text: bytes) -> None:
    data = JsonText(b'{"session_id": "s1",\n"type":"fact" ,"content" : ' + text + b"}")
    command = decode_command(encode_command("store_memory", data, message_id="m1", sender_agent_id="ada"))
    assert command.data_text == data.text
    assert command.data.content == JsonText(text)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_either_taken_or_refused_as_invalid(body: bytes) -> None:
    try:
        check_json(body)
    except Rejected as refused:
        assert refused.code == "invalid"
    else:
        assert slices(b'{"x":' + body + b"}")["x"] == body.strip()


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()))
def test_all_spellings_of_a_document_are_the_same(document: dict[str, object]) -> None:
    wide = json.dumps(document, indent=2).encode()
    narrow = json.dumps(dict(reversed(document.items())), separators=(",", ":"), ensure_ascii=False).encode()
    assert same_for_all(wide) == same_for_all(narrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b"2"),
        (b"1", b"1.0"),
        (b"1", b'"1"'),
        (b"null", b"{}"),
        (b"[1,2]", b"[2,1]"),
        (b"9007199254740992.0", b"9007199254740993.0"),
        (b"1180591620717411303424", b"1180591620717411303425"),
        (b"0.1234567890123456781", b"0.1234567890123456782"),
    ],
)
def test_two_documents_are_never_the_same(one: bytes, other: bytes) -> None:
    assert same_for_all(b'{"x":' + one + b"}") != same_for_all(b'{"x":' + other + b"}")


@given(
    st.datetimes(
        timezones=st.timezones() | st.just(UTC), min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)
    )
)
def test_a_moment_of_any_zone_is_written_in_utc(moment: datetime) -> None:
    text = rfc3339(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)
