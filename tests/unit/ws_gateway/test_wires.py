"""Encodings of what the hub writes: compressed messages, server-sent events."""

import json
import random
import zlib

import pytest

from services.ws_gateway.stream.frames import event_frame, gap, message, overtaking, text_frame
from services.ws_gateway.wire.wires import AT_ONCE, DEFLATE_FROM, Wires, chunk, event, frames
from tests.unit.ws_gateway.wire import event as an_event
from tests.unit.ws_gateway.wire import payloads

PING = b"\x89\x04\x00\x00\x00\x01"


def deflated(*given: bytes) -> list[bytes]:
    written: list[bytes] = []
    write = Wires().deflated(written.append)
    for data in given:
        write(data)
    return written


def streamed(*given: bytes) -> bytes:
    written: list[bytes] = []
    write = Wires().events(written.append)
    for data in given:
        write(data)
    return b"".join(written)


def test_large_messages_come_compressed_and_the_others_as_they_are() -> None:
    small, large = an_event(1).data, an_event(2, size=10_000).data
    (data,) = deflated(small + large + PING + small + large)
    assert [opcode for opcode, _ in payloads(data)] == [1, 2, 9, 1, 2]
    texts = [zlib.decompress(text) if opcode == 2 else text for opcode, text in payloads(data)]
    assert texts == [text for _, text in payloads(small + large + PING + small + large)]
    assert len(data) < 2_000


@pytest.mark.parametrize(("size", "opcode"), [(DEFLATE_FROM, 1), (DEFLATE_FROM + 1, 2), (70_000, 2)])
def test_a_message_above_the_limit_is_compressed(size: int, opcode: int) -> None:
    (data,) = deflated(text_frame(b"x" * size))
    assert [got for got, _ in payloads(data)] == [opcode]


def test_what_would_not_be_smaller_stays_text() -> None:
    noise = bytes(random.Random(7).choices(range(256), k=20_000))
    (data,) = deflated(text_frame(noise))
    assert payloads(data) == [(1, noise)]


def test_an_object_is_encoded_once_for_all_who_take_it() -> None:
    wires, data = Wires(), an_event(1, size=10_000).data
    first, second = [], []
    one, other = wires.deflated(first.append), wires.deflated(second.append)
    one(data)
    other(data)
    assert first[0] is second[0]
    one(an_event(2, size=10_000).data)
    other(data)
    assert second[1] == first[0]


def test_beyond_what_the_loop_can_spare_messages_stay_text() -> None:
    size = 500_000
    given = [text_frame(b"%d" % number + b"x" * size) for number in range(AT_ONCE // size + 4)]
    opcodes = [payloads(data)[0][0] for data in deflated(*given)]
    assert opcodes[0] == 2
    assert 1 in opcodes


def test_an_event_has_its_cursor_as_id() -> None:
    frame = event_frame(4711, "a.b", b'{"type": "test", "n": {"cursor": 1}}')
    assert event(frame.text) == b'id: 4711\ndata: {"type": "test", "n": {"cursor": 1},"cursor":4711}\n\n'


def test_an_event_that_overtakes_others_has_the_cursor_to_resume_from_as_id() -> None:
    text = payloads(overtaking(an_event(20), 7))[0][1]
    assert event(text).startswith(b"id: 7\ndata: {")
    assert event(payloads(overtaking(an_event(20), -1))[0][1]).startswith(b"id: -1\n")


@pytest.mark.parametrize(
    "text",
    [
        payloads(gap(1, 2, "epoch"))[0][1],
        b'{"type":"connected","cursor":5,"resume_token":"x","heartbeat_s":30}',
        b'{"type":"pong"}',
    ],
)
def test_what_is_no_event_has_no_id(text: bytes) -> None:
    assert event(text).startswith(b"data: {")


def test_the_answer_to_the_subscription_has_the_cursor_it_begins_at_as_id() -> None:
    text = payloads(message("subscribed", recovered=True, cursor=12, topics=["a"], mode="everything"))[0][1]
    assert event(text).startswith(b"id: 12\ndata: {")


def test_what_is_of_use_to_sockets_only_is_left_out() -> None:
    text = payloads(message("connected", agent_id="ana", resume_token="secret", heartbeat_s=30))[0][1]
    assert event(text) == b'data: {"type":"connected","agent_id":"ana"}\n\n'


def test_text_of_several_lines_stays_one_event() -> None:
    lines = event(b'{"type":\r\n"test",\r"a":\n1}').decode().splitlines()
    assert lines == ['data: {"type":', 'data: "test",', 'data: "a":', "data: 1}", ""]
    read = "\n".join(line.removeprefix("data: ") for line in lines)
    assert json.loads(read) == {"type": "test", "a": 1}


def test_frames_become_one_chunk_and_control_frames_nothing() -> None:
    first, second = an_event(1), an_event(2)
    body = event(first.text) + event(second.text)
    assert streamed(first.data + PING + second.data) == b"%x\r\n%b\r\n" % (len(body), body)
    assert streamed(PING) == b""
    assert chunk(b"") == b""


def test_frames_of_every_length_are_found() -> None:
    sizes = [0, 1, 125, 126, 65_535, 65_536]
    data = b"".join(text_frame(b"x" * size) for size in sizes)
    found = list(frames(data))
    assert [end - start for _, _, start, end in found] == sizes
    assert [*[begin for _, begin, _, _ in found][1:], len(data)] == [end for _, _, _, end in found]
