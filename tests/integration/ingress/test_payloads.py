"""Real payloads arrive on the queue exactly as they were sent."""

import json

import orjson
import pytest

from shared.bus.bodies import unpacked
from shared.messages import decode_command
from tests.integration.ingress.conftest import GITHUB, Ingress, take, take_raw

pytestmark = pytest.mark.anyio
MANIFEST = json.loads((GITHUB / "MANIFEST.json").read_text())["files"]


async def test_all_payloads_of_github_arrive_byte_for_byte(ingress: Ingress, amqp_url: str) -> None:
    sent = {}
    for entry in MANIFEST:
        body = (GITHUB / entry["file"]).read_bytes()
        assert ingress.github(body, entry["file"], entry["event"]).status_code == 202
        sent[entry["file"]] = (entry, body)
    assert len(sent) == 45
    arrived = {each.data.delivery_id: each for each in await take(amqp_url, "webhook.commands", at_least=45)}
    assert arrived.keys() == sent.keys()
    for name, (entry, body) in sent.items():
        command = arrived[name]
        assert command.data.payload.text == body.strip()  # the space around it is not a part of the document
        assert (command.data.event, command.data.action) == (entry["event"], entry["action"])
        assert orjson.loads(command.data.payload.text) == json.loads(body)


async def test_a_large_payload_travels_compressed_and_arrives_whole(ingress: Ingress, amqp_url: str) -> None:
    body = b'{"text":"' + b"0123456789" * 2_000_000 + b'"}'
    assert ingress.github(body, "large").status_code == 202
    (delivery,) = await take_raw(amqp_url, "webhook.commands", 1)
    assert delivery.content_encoding == "gzip"
    assert len(delivery.body) < len(body) / 50
    assert decode_command(unpacked(delivery)).data.payload.text == body


async def test_the_trace_travels_in_the_headers_of_the_message(ingress: Ingress, amqp_url: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ingress.github(b"{}", "traced", traceparent=trace)
    (delivery,) = await take_raw(amqp_url, "webhook.commands", 1)
    assert delivery.headers["traceparent"] == trace


async def test_the_same_delivery_a_hundred_times_has_one_id(ingress: Ingress, amqp_url: str) -> None:
    ids = {ingress.github(b"{}", "again").json()["message_id"] for _ in range(100)}
    assert len(ids) == 1
    assert {each.message_id for each in await take(amqp_url, "webhook.commands", at_least=100)} == ids
