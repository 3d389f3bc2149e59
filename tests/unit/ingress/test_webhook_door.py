"""The webhook door: who gets in, what is kept, what is answered."""

import asyncio
import base64
import gzip
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import structlog
from standardwebhooks import Webhook

from shared.messages import decode_command
from tests.unit.ingress.conftest import GITHUB_SECRET, KEY, Doors

pytestmark = pytest.mark.anyio
PUSH = b'{"ref":"refs/heads/main","size":1e300,"action":null}'


def sign(body: bytes, secret: str = GITHUB_SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def github(body: bytes, *, event: str = "push", delivery: str = "d-1", **changed: str | None) -> dict[str, str]:
    headers = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": sign(body),
        "Content-Type": "application/json",
    }
    for name, value in changed.items():
        headers.pop(name.replace("_", "-"), None)
        if value is not None:
            headers[name.replace("_", "-")] = value
    return headers


async def test_a_signed_push_is_kept_with_its_payload_untouched(doors: Doors) -> None:
    got = await doors.post("/webhook", PUSH, github(PUSH))
    assert got.status == 202
    assert got.headers["content-type"] == "application/json"
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert got.json() == {"message_id": command.message_id, "status": "accepted"}
    assert command.spec.name == "receive_webhook"
    assert command.data.payload.text == PUSH
    assert (command.data.source, command.data.event, command.data.action) == ("github", "push", None)
    assert command.trust == "untrusted"


async def test_a_redelivery_has_the_same_message_id(doors: Doors) -> None:
    first = await doors.post("/webhook", PUSH, github(PUSH))
    again = await doors.post("/webhook/github", PUSH, github(PUSH))
    other = await doors.post("/webhook", PUSH, github(PUSH, delivery="d-2"))
    assert first.json() == again.json() != other.json()


async def test_the_action_is_taken_from_the_payload(doors: Doors) -> None:
    body = b'{"action":"opened"}'
    await doors.post("/webhook", body, github(body, event="issues"))
    assert (await doors.kept())[0]["data"]["action"] == "opened"


@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40, sign(PUSH).upper(), sign(PUSH) + "," + sign(PUSH)],
)
async def test_a_missing_malformed_or_wrong_signature_is_401(doors: Doors, signature: str | None) -> None:
    got = await doors.post("/webhook", PUSH, github(PUSH, X_Hub_Signature_256=signature))
    assert got.status == 401
    assert got.headers["content-type"] == "application/problem+json"
    assert got.json()["code"] == "unauthorized"
    assert len(got.json()["trace_id"]) == 32
    assert await doors.kept() == []


async def test_a_doubled_signature_is_401_even_when_both_are_right(doors: Doors) -> None:
    headers = [*github(PUSH).items(), ("X-Hub-Signature-256", sign(PUSH))]
    assert (await doors.post("/webhook", PUSH, headers)).status == 401


async def test_one_byte_changed_or_another_body_is_401(doors: Doors) -> None:
    assert (await doors.post("/webhook", PUSH[:-1] + b" ", github(PUSH))).status == 401
    assert (await doors.post("/webhook", b"{}", github(PUSH))).status == 401
    assert (await doors.post("/webhook", b"", github(PUSH))).status == 401
    assert await doors.kept() == []


async def test_a_bad_signature_never_falls_back_to_a_key(doors: Doors) -> None:
    headers = {**github(PUSH, X_Hub_Signature_256="sha256=" + "0" * 64), "X-API-Key": KEY}
    assert (await doors.post("/webhook", PUSH, headers)).status == 401
    only_event = {"X-GitHub-Event": "push", "X-API-Key": KEY}
    assert (await doors.post("/webhook", PUSH, only_event)).status == 401


@pytest.mark.parametrize("name", ["X_GitHub_Event", "X_GitHub_Delivery"])
@pytest.mark.parametrize("value", [None, "", "a b", "x" * 256])
async def test_a_signed_delivery_without_its_event_or_id_is_422(doors: Doors, name: str, value: str | None) -> None:
    got = await doors.post("/webhook", PUSH, github(PUSH, **{name: value}))
    assert got.status == 422
    assert name.replace("_", "-").lower() in got.json()["detail"]


async def test_a_form_from_github_is_the_payload_in_it(doors: Doors) -> None:
    body = urlencode({"payload": '{"a": "ö + 1"}'}).encode()
    headers = github(body, Content_Type="application/x-www-form-urlencoded")
    assert (await doors.post("/webhook", body, headers)).status == 202
    (text,) = await doors.kept_texts()
    assert decode_command(text).data.payload.text == '{"a": "ö + 1"}'.encode()


async def test_json_that_curl_calls_a_form_is_json_all_the_same(doors: Doors) -> None:
    got = await doors.post("/webhook", PUSH, github(PUSH, Content_Type="application/x-www-form-urlencoded"))
    assert got.status == 202
    assert decode_command((await doors.kept_texts())[0]).data.payload.text == PUSH


async def test_a_form_without_a_payload_is_422(doors: Doors) -> None:
    headers = github(b"a=1", Content_Type="application/x-www-form-urlencoded")
    assert (await doors.post("/webhook", b"a=1", headers)).status == 422


async def test_a_compressed_delivery_may_be_signed_before_or_after_compressing(doors: Doors) -> None:
    sent = gzip.compress(PUSH)
    for signature in (sign(PUSH), sign(sent)):
        headers = {**github(PUSH, X_Hub_Signature_256=signature), "Content-Encoding": "gzip"}
        assert (await doors.post("/webhook", sent, headers)).status == 202
    assert {decode_command(text).data.payload.text for text in await doors.kept_texts()} == {PUSH}


async def test_github_may_send_25_mb_and_no_more(doors: Doors) -> None:
    body = b'["' + b"x" * (24_999_996) + b'"]'
    assert (await doors.post("/webhook", body, github(body))).status == 202
    over = body + b" " * 1_000_000
    assert (await doors.post("/webhook", over, github(over))).status == 413
    pieces = [over[at : at + 65536] for at in range(0, len(over), 65536)]
    assert (await doors.post("/webhook", over, github(over), pieces=pieces)).status == 413


async def test_a_gzip_bomb_is_413(doors: Doors) -> None:
    bomb = gzip.compress(b"0" * 300_000_000, 1)
    headers = {**github(b"", X_Hub_Signature_256=sign(bomb)), "Content-Encoding": "gzip"}
    assert (await doors.post("/webhook", bomb, headers)).status == 413


async def test_a_large_delivery_is_compressed_on_its_way(doors: Doors) -> None:
    body = b'{"a":"' + b"x" * 300_000 + b'"}'
    await doors.post("/webhook", body, github(body))
    (row,) = await doors.spool.head(0, rows=1, size=1)
    assert row.message.content_encoding == "gzip"
    assert len(row.message.body) < 10_000
    assert decode_command(gzip.decompress(row.message.body)).data.payload.text == body


POISON = {
    "bad utf-8": b'{"a":"\xff\xfe"}',
    "a NUL": b'{"a":"\\u0000"}',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "too deep": b"[" * 65 + b"]" * 65,
    "far too deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 70 + b"1" + b"}" * 70,
    "not JSON": b"hello",
    "nothing": b"",
    "two documents": b"{}{}",
    "cut off": b'{"a":',
    "a comma too many": b'{"a":1,}',
}


@pytest.mark.parametrize("body", POISON.values(), ids=POISON.keys())
async def test_poison_is_422_at_every_door_with_its_fault_named(doors: Doors, body: bytes) -> None:
    key = {"X-API-Key": KEY}
    for got in (
        await doors.post("/webhook", body, github(body)),
        await doors.post("/webhook", body, key),
        await doors.post("/webhook/builds", body, {"X-Signature": sign(body, "builds-secret")}),
        await doors.post("/api/commands", body, key),
        await doors.post(
            "/api/commands/store_memory", b'{"session_id":"s","type":"fact","content":' + body + b"}", key
        ),
        # A session needs no field, so nothing at all is enough.
        await doors.post("/api/sessions", body or b"[]", key),
        await doors.post("/api/tokens", body, key),
        await doors.post("/api/login", body),
    ):
        assert got.status == 422, got
        assert got.json()["code"] == "invalid"
        assert got.json()["detail"]
    assert await doors.kept() == []


async def test_huge_numbers_and_key_order_pass_unchanged(doors: Doors) -> None:
    body = b'{"z":1180591620717411303424,"a":0.1000,"m":-0,"b":1E5}'
    assert (await doors.post("/webhook", body, github(body))).status == 202
    assert b'"payload":' + body in (await doors.kept_texts())[0]


async def test_any_json_with_a_key_is_a_webhook_of_the_source_api(doors: Doors) -> None:
    body = b'{"type":"build.finished","n":[1,2]}'
    got = await doors.post("/webhook", body, {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "b-7"})
    assert got.status == 202
    (data,) = [each["data"] for each in await doors.kept()]
    assert (data["source"], data["event"], data["delivery_id"]) == ("api", "build.finished", "b-7")
    await doors.post("/webhook", b"[1]", {"X-API-Key": KEY, "X-Event": "list"})
    assert (await doors.kept())[1]["data"]["event"] == "list"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": ""}, {"X-API-Key": "wrong"}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"},
     {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}],
)  # fmt: skip
async def test_no_key_or_a_wrong_one_is_401(doors: Doors, headers: dict[str, str]) -> None:
    for path in ("/webhook", "/webhook/api", "/api/commands", "/api/commands/create_session"):
        got = await doors.post(path, b"{}", headers)
        assert got.status == 401
        assert got.headers["www-authenticate"].startswith("Bearer")


async def test_a_command_form_runs_the_command(doors: Doors) -> None:
    body = {
        "type": "collaborative_session_command",
        "command": "append_conversation",
        "data": {"session_id": "s1", "content": "hi"},
        "message_id": "m-1",
    }
    got = await doors.post("/webhook", orjson.dumps(body), {"X-API-Key": KEY})
    assert got.status == 202
    assert got.headers["location"] == "/api/commands/m-1"
    (kept,) = await doors.kept()
    assert (kept["command"], kept["message_id"], kept["trust"]) == ("conversation_chunk", "m-1", "trusted")


async def test_an_insight_becomes_a_command_with_the_whole_body(doors: Doors) -> None:
    body = b'{"type":"llm_conversation_insight","session_id":"s1","insight":{"x":1.50}}'
    got = await doors.post("/webhook", body, {"X-API-Key": KEY})
    assert got.status == 202
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert command.spec.name == "record_insight"
    assert command.data.session_id == "s1"
    assert command.data.insight.text == body


def standard(body: bytes, secret: str = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3", **changed: str) -> dict[str, str]:
    moment = datetime.fromtimestamp(time.time(), UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


async def test_a_standard_webhook_is_kept_under_its_type(doors: Doors) -> None:
    body = b'{"type":"invoice.paid","data":{}}'
    for secret in ("whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3", "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xk"):
        assert (await doors.post("/webhook/billing", body, standard(body, secret))).status == 202
    kept = await doors.kept()
    assert kept[0]["data"]["event"] == "invoice.paid"
    assert kept[0]["data"]["delivery_id"] == "msg_1"
    assert kept[0]["message_id"] == kept[1]["message_id"]


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_signature": "v1,%%%"},
        {"webhook_signature": "nonsense"},
        {"webhook_timestamp": "0"},
        {"webhook_timestamp": "NaN"},
        {"webhook_id": ""},
        {"webhook_id": "other"},
    ],
)
async def test_a_standard_webhook_that_is_wrong_in_any_way_is_401(doors: Doors, changed: dict[str, str]) -> None:
    body = b'{"type":"x"}'
    assert (await doors.post("/webhook/billing", body, standard(body, **changed))).status == 401
    assert (await doors.post("/webhook/billing", b"\xff", standard(b""))).status == 401
    unsigned = await doors.post("/webhook/billing", body, {"X-API-Key": KEY})
    assert unsigned.status == 401
    assert unsigned.json()["detail"] == "missing: webhook-id, webhook-timestamp, webhook-signature"


async def test_a_plain_hmac_source_names_event_and_delivery_in_headers(doors: Doors) -> None:
    body = b'{"ok":true}'
    headers = {"X-Signature": sign(body, "builds-secret"), "X-Event": "done", "X-Delivery-Id": "7"}
    assert (await doors.post("/webhook/builds", body, headers)).status == 202
    (kept,) = await doors.kept()
    assert (kept["data"]["source"], kept["data"]["event"], kept["data"]["delivery_id"]) == ("builds", "done", "7")
    assert (await doors.post("/webhook/builds", body, {"X-API-Key": KEY})).status == 401
    assert (await doors.post("/webhook/builds", body + b" ", headers)).status == 401
    assert (await doors.post("/webhook/builds", body, {"X-Signature": base64.b64encode(b"x").decode()})).status == 401


async def test_events_nobody_wants_are_ignored_and_said_to_be(doors: Doors) -> None:
    async def deliver(event: str, body: bytes) -> tuple[int, str]:
        headers = github(body, event=event, X_Hub_Signature_256=sign(body, "few-secret"))
        got = await doors.post("/webhook/few", body, headers)
        return got.status, got.json().get("status")

    assert await deliver("push", b"{}") == (202, "accepted")
    assert await deliver("issues", b'{"action":"opened"}') == (202, "accepted")
    assert await deliver("issues", b'{"action":"closed"}') == (200, "ignored")
    assert await deliver("star", b"{}") == (200, "ignored")
    assert len(await doors.kept()) == 2


async def test_a_sources_own_secret_is_good_for_its_webhooks_and_for_nothing_else(doors: Doors) -> None:
    own = {"X-API-Key": "sensor-secret"}
    assert (await doors.post("/webhook/sensors", b'{"type":"reading"}', own)).status == 202
    assert (await doors.post("/webhook/sensors", b"{}", {"Authorization": "Bearer sensor-secret"})).status == 202
    assert (await doors.post("/webhook/sensors", b"{}", {"Authorization": "Bearer sensor"})).status == 401
    assert (await doors.post("/webhook/sensors", b"{}", {"Authorization": "Basic sensor-secret"})).status == 401
    assert (await doors.post("/webhook/sensors", b"{}", {"X-API-Key": KEY})).status == 202
    assert (await doors.post("/webhook/sensors", b"{}", {"X-API-Key": "wrong"})).status == 401
    assert (await doors.post("/webhook", b"{}", own)).status == 401
    command = b'{"type":"command","command":"create_session"}'
    assert (await doors.post("/webhook/sensors", command, own)).status == 202
    assert {each["command"] for each in await doors.kept()} == {"receive_webhook"}


async def test_a_source_nobody_declared_is_404_and_another_method_405(doors: Doors) -> None:
    assert (await doors.post("/webhook/nobody", b"{}", {"X-API-Key": KEY})).status == 404
    campfire = await doors.post("/webhook/nobody", campfire_message(), query="token=campfire-token")
    assert (campfire.status, campfire.body) == (204, b"")
    got = await doors.send("GET", "/webhook")
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert got.json()["code"] == "invalid"


def campfire_message(**message: Any) -> bytes:
    return json.dumps(
        {
            "user": {"id": 1, "name": "Jason"},
            "room": {"id": 4, "name": "Watercooler", "path": "/rooms/4/9-AbCdEf123456/messages"},
            "message": {"id": 77, "body": {"html": "<b>hi</b>", "plain": "hi"}, "path": "/rooms/4/@77", **message},
        }
    ).encode()


async def test_campfire_gets_204_and_its_bots_key_goes_nowhere(doors: Doors) -> None:
    got = await doors.post("/webhook/helper", campfire_message(), query="token=campfire-token")
    assert (got.status, got.body) == (204, b"")
    assert "content-type" not in got.headers
    (text,) = await doors.kept_texts()
    assert b"AbCdEf123456" not in text
    assert decode_command(text).data.delivery_id == "77"


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (campfire_message(), ""),
        (campfire_message(), "token="),
        (campfire_message(), "token=wrong"),
        (campfire_message(), "token=campfire-token&token=campfire-token"),
        (b"not json", "token=campfire-token"),
        (b'["a list"]', "token=campfire-token"),
        (b"", "token=campfire-token"),
        (b'{"a":"' + b"x" * 1_100_000 + b'"}', "token=campfire-token"),
        (b"{}", "&".join(f"a{n}=1" for n in range(100)) + "&token=campfire-token"),
        (campfire_message(), "token=%ff%00%C3%A9"),
    ],
)
async def test_campfire_gets_204_for_errors_too_and_nothing_is_kept(doors: Doors, body: bytes, query: str) -> None:
    got = await doors.post("/webhook/helper", body, query=query)
    assert (got.status, got.body) == (204, b"")
    assert "content-type" not in got.headers
    assert await doors.kept() == []


@pytest.mark.parametrize("query", ["token=%ff%00", "token=clé", "&".join("a=1" for _ in range(100))])
async def test_a_token_of_any_bytes_is_a_wrong_one_and_no_fault_of_ours(doors: Doors, query: str) -> None:
    with structlog.testing.capture_logs() as lines:
        await doors.post("/webhook/helper", campfire_message(), query=query)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == []


async def test_campfire_gets_204_within_a_second_though_its_body_never_ends(doors: Doors) -> None:
    began = time.monotonic()

    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await never.wait()
        return {"type": "http.disconnect"}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhook/helper",
        "query_string": b"token=campfire-token",
        "headers": [(b"content-length", b"100")],
        "state": {},
    }
    await doors.front(scope, receive, send)
    assert sent[0]["status"] == 204
    assert time.monotonic() - began < 1
    never.set()


async def test_the_log_never_shows_a_token_or_a_bots_key(doors: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    await doors.post("/webhook/helper", campfire_message(), query="token=campfire-tokem")
    await doors.post("/webhook/helper", campfire_message(id=None, body=7), query="token=campfire-token")
    await doors.post("/webhook", b"{}", {"X-API-Key": "a-wrong-key-0123456789"})
    said = capsys.readouterr()
    text = said.out + said.err
    assert "http_request" in text
    for secret in ("campfire-toke", "AbCdEf123456", "a-wrong-key-0123456789"):
        assert secret not in text


async def test_a_full_spool_is_503_with_retry_after(make_doors: Any) -> None:
    doors = await make_doors(max_bytes=0)
    got = await doors.post("/webhook", PUSH, github(PUSH))
    assert got.status == 503
    assert int(got.headers["retry-after"]) > 0
    assert (await doors.command("create_session")).status == 503
