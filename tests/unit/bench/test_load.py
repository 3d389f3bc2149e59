"""What the benchmarks send, and how they read what arrives."""

import asyncio
import hashlib
import hmac
import json

from bench.load.events import DIGITS, MARK, event
from bench.load.memories import numbered
from bench.load.offer import offer
from bench.load.webhooks import SECRET, SIZE, push, wrk_environment
from bench.load.ws_sink import frames, masked


def test_an_event_has_the_size_asked_for_and_carries_its_stamp() -> None:
    text = event(123, size=300)
    at = text.index(MARK) + len(MARK)
    assert (len(text), int(text[at : at + DIGITS])) == (300, 123)
    assert json.loads(text)["type"] == "memory_update"


def test_no_two_events_share_an_id() -> None:
    assert json.loads(event(1))["message_id"] != json.loads(event(1))["message_id"]


def test_the_webhook_is_json_of_exactly_ten_kilobytes() -> None:
    assert len(push()) == SIZE
    assert json.loads(push())["commits"]


def test_the_signature_is_that_of_the_body(tmp_path) -> None:  # type: ignore[no-untyped-def]
    environment = wrk_environment(tmp_path)
    body = (tmp_path / "push.json").read_bytes()
    assert environment["BENCH_SIGNATURE"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def test_every_memory_has_a_key_of_its_own() -> None:
    make = numbered("p")
    assert {json.loads(make(0))["key"] for _ in range(3)} == {"p-00000001", "p-00000002", "p-00000003"}


def test_a_steady_offer_sends_as_many_as_the_rate_asks_and_stamps_when_each_was_due() -> None:
    sent: list[bytes] = []

    async def publish(events: list[bytes]) -> None:
        sent.extend(events)

    offered = asyncio.run(offer(publish, 2, 400, 0.05, make=lambda due: b"%d" % due))
    assert offered.events == len(sent) == 20
    steps = {round((int(b) - int(a)) / 1e6, 3) for a, b in zip(sent[::2], sent[2::2], strict=False)}
    assert steps == {5.0}


def test_the_python_sink_takes_whole_frames_and_leaves_the_rest() -> None:
    long = b"x" * 300
    data = bytearray(b"\x81\x02hi" + b"\x81\x7e\x01\x2c" + long + b"\x81\x05hel")
    assert frames(data) == [(1, b"hi"), (1, long)]
    assert bytes(data) == b"\x81\x05hel"


def test_a_client_frame_is_masked_with_zeros() -> None:
    assert masked(1, b"hi") == b"\x81\x82\x00\x00\x00\x00hi"
    assert masked(10, b"x" * 200)[:4] == b"\x8a\xfe\x00\xc8"
