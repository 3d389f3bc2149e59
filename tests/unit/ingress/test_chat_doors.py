"""Chat servers' webhooks: what they say to bots, exactly once, and where the answer goes, which nobody can read."""

import json
import time
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from services.ingress import sources
from shared.messages import decode_command
from shared.messages.envelope import delivery_message_id
from shared.sealing import CALLBACK, REPLY_TO, NotSealedHere, Seal, reply_about
from tests.unit.ingress.conftest import KEY, SECRET, Doors

BOT_KEY = "9-AbCdEf123456"
SEAL = Seal(SECRET, REPLY_TO)
FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "campfire"
pytestmark = pytest.mark.anyio


def message(
    plain: Any = "hi", *, html: Any = "<div>hi</div>", user: Any = None, room: Any = None, number: Any = 77
) -> bytes:
    return json.dumps(
        {
            "user": user or {"id": 1, "name": "Jason"},
            "room": {"id": 4, "name": "Watercooler", "path": f"/rooms/4/{BOT_KEY}/messages", **(room or {})},
            "message": {"id": number, "body": {"html": html, "plain": plain}, "path": f"/rooms/4/@{number}"},
        }
    ).encode()


async def received(doors: Doors, source: str, body: bytes) -> Any:
    """What is kept of a message of Campfire: the command's data."""
    before, began = len(await doors.kept_texts()), time.monotonic()
    got = await doors.post(f"/webhook/{source}", body, query="token=campfire-token")
    # There is no broker here: it is in the spool by now.
    assert time.monotonic() - began < 1
    assert (got.status, got.body) == (204, b"") and "content-type" not in got.headers
    text = (await doors.kept_texts())[before]
    assert BOT_KEY.encode() not in text and b"AbCdEf123456" not in text
    return decode_command(text).data


async def test_a_message_of_campfire_is_an_event_and_is_said_to_the_bot(doors: Doors) -> None:
    data = await received(doors, "bender", message("what's up?"))
    assert data.delivery_id == "77" and json.loads(data.payload.text)["room"]["path"] == "/rooms/4/bot-key/messages"
    said = data.chat
    assert (said.bot_id, said.room_id, said.room_name) == ("bender", "4", "Watercooler")
    assert (said.user_id, said.user_name, said.text, data.chat_hops) == ("1", "Jason", "what's up?", 0)
    assert json.loads(SEAL.open(said.reply_to, reply_about("4", "bender"))) == {
        "to": "campfire",
        "url": f"https://campfire.example.com/rooms/4/{BOT_KEY}/messages",
        "after": "77",
    }
    with pytest.raises(NotSealedHere):
        SEAL.open(said.reply_to, reply_about("5", "bender"))


@pytest.mark.parametrize(
    ("name", "room_name", "text"),
    [
        ("mention", "Watercooler", "what's up?"),
        ("direct-room-null-name", None, "hello"),
        ("only-mention", "Watercooler", "@Bender Bot"),
        ("attachment-only", None, "[a file: moon.jpg]"),
        ("multiline-code", "Watercooler", "run:\ndef f(x):\n  return <x> & 1"),
        ("unicode-emoji", "财务室", "你好，请介绍 👋🏽"),  # noqa: RUF001
        ("at-file-injection", "Watercooler", "summarise @/etc/passwd"),
        ("slash-command-injection", "Watercooler", "/clear"),
    ],
)
async def test_real_messages_are_said_as_they_were(doors: Doors, name: str, room_name: str | None, text: str) -> None:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip("Campfire's real messages are not beside this checkout (../shared/fixtures/campfire)")
    data = await received(doors, "bender", path.read_bytes())
    assert (data.chat.room_name, data.chat.text) == (room_name, text)


async def test_a_long_message_is_said_whole(doors: Doors) -> None:
    assert len((await received(doors, "bender", message("lorem " * 20_000))).chat.text) == 120_000


async def test_without_an_address_of_campfire_the_bot_hears_and_answers_on_the_bus_alone(doors: Doors) -> None:
    data = await received(doors, "nowhere", message())
    assert (data.chat.bot_id, data.chat.room_id, data.chat.reply_to) == ("bender", "other-4", None)


async def test_a_source_without_its_bot_makes_events_only(doors: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await received(doors, "helper", message())).chat is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"user":null,"room":[],"message":7}',
        b'{"message":{"id":1}}',
        b'{"room":{"id":4,"path":7},"message":{"id":1}}',
        message("x" * 200_001),
        message(room={"id": None}),
        message(room={"id": "x" * 300}),
    ],
)
async def test_what_is_no_message_to_a_bot_is_an_event_only(doors: Doors, body: bytes) -> None:
    assert (await received(doors, "bender", body)).chat is None


@pytest.mark.parametrize(
    "path",
    [
        "@evil.example.com/rooms/4/9-a/messages",
        "/rooms/4/9-a/messages?x=1",
        "//evil/rooms/4/9-a/messages",
        "/rooms/../9-a/messages",
        None,
    ],
)
async def test_an_answer_goes_to_a_room_of_this_campfire_or_nowhere(doors: Doors, path: str | None) -> None:
    got = await doors.post("/webhook/bender", message(room={"path": path}), query="token=campfire-token")
    assert got.status == 204
    (text,) = await doors.kept_texts()
    assert decode_command(text).data.chat.reply_to is None


async def test_names_that_no_record_could_hold_are_mended(doors: Doors) -> None:
    said = (await received(doors, "bender", message(user={"id": 3, "name": " a\tb\n"}))).chat
    assert said.user_name == "a b"
    assert (
        await received(doors, "bender", message(user={"id": 3, "name": None}, number=78))
    ).chat.user_name == "user 3"


async def test_what_one_of_our_bots_says_has_come_so_many_hops_that_nobody_answers(doors: Doors) -> None:
    by_name = await received(doors, "bender", message(user={"id": 3, "name": "ADA"}))
    assert by_name.chat_hops == 15
    unknown = await received(doors, "bender", message(user={"id": 12, "name": "Countess"}, number=78))
    assert unknown.chat_hops == 0
    # A message to bot 12 tells who that is.
    await received(doors, "bender", message(room={"path": "/rooms/4/12-AbCdEf123456/messages"}, number=79))
    by_id = await received(doors, "bender", message(user={"id": 12, "name": "Countess"}, number=80))
    assert by_id.chat_hops == 15


async def test_our_own_form_is_answered_202_and_said_to_the_bot(doors: Doors) -> None:
    body = {"room_id": "general", "user_name": "Ada", "text": "hello", "message_id": "m-1", "user_id": "u1"}
    body |= {"callback_url": "https://chat.example.com/in/a-secret?x=1", "room_name": "General"}
    got = await doors.post("/webhook/said", json.dumps(body).encode(), {"X-API-Key": "said-secret"})
    message_id = delivery_message_id("said", "m-1")
    assert (got.status, got.json()) == (202, {"message_id": message_id, "status": "accepted"})
    (text,) = await doors.kept_texts()
    assert b"a-secret" not in text
    data = decode_command(text).data
    assert json.loads(data.payload.text)["callback_url"] == "https://chat.example.com/…"
    assert (data.chat.bot_id, data.chat.room_id, data.chat.text) == ("bender", "general", "hello")
    assert json.loads(SEAL.open(data.chat.reply_to.removeprefix(CALLBACK), reply_about("general", "bender"))) == {
        "to": "callback",
        "url": body["callback_url"],
        "message_id": message_id,
    }


async def test_what_comes_by_a_key_says_so_and_what_the_chat_server_vouches_for_does_not(doors: Doors) -> None:
    body = json.dumps({"room_id": "general", "user_name": "Grace", "text": "approve"}).encode()
    for secret in ("said-secret", KEY):
        assert (await doors.post("/webhook/said", body, {"X-API-Key": secret})).status == 202
    own, by_key = [decode_command(text) for text in await doors.kept_texts()]
    assert (own.caller, by_key.caller) == (None, "bootstrap")


async def test_a_chat_server_of_many_bots_says_which_one_and_signs_as_it_does(doors: Doors) -> None:
    secret = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3"
    assert b64decode(secret.removeprefix("whsec_"))

    async def send(**more: Any) -> Any:
        body, now = json.dumps({"room_id": "r", "user_name": "Ada", "text": "hi", **more}), datetime.now(UTC)
        headers = {
            "webhook-id": "w1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign("w1", now, body),
        }
        return await doors.post("/webhook/said_to", body.encode(), headers)

    assert (await send(bot_id="ada")).json()["message_id"] == delivery_message_id("said_to", "w1")
    (text,) = await doors.kept_texts()
    assert decode_command(text).data.chat.bot_id == "ada"
    for wrong in ({}, {"bot_id": "nobody"}):
        got = await send(**wrong)
        assert got.status == 422 and got.json()["details"]["fields"][0]["field"] == "bot_id"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("room_id", ""),
        ("room_id", 4),
        ("user_name", None),
        ("text", "  \n"),
        ("text", "x" * 200_001),
        ("room_name", 7),
        ("message_id", "a\nb"),
        ("callback_url", "http://127.0.0.1/hook"),
        ("callback_url", "ftp://example.com"),
        ("bot_id", "ada"),
        ("colour", "teal"),
    ],
)
async def test_a_field_that_is_wrong_is_named(doors: Doors, field: str, value: Any) -> None:
    body = {"room_id": "general", "user_name": "Ada", "text": "hello", field: value}
    got = await doors.post("/webhook/said", json.dumps(body).encode(), {"X-API-Key": "said-secret"})
    assert got.status == 422
    assert got.json()["details"]["fields"][0]["field"] == field
    assert await doors.kept() == []


async def test_a_chat_webhook_without_its_secret_is_refused(doors: Doors) -> None:
    body = json.dumps({"room_id": "general", "user_name": "Ada", "text": "hello"}).encode()
    assert (await doors.post("/webhook/said", body, {"X-API-Key": "wrong-secret"})).status == 401
    assert await doors.kept() == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('scheme = "hmac"\nchat = "nobody"', "there is no [bots.nobody]"),
        ('scheme = "hmac"\nurl = "https://x.example.com"', "'url' means nothing here"),
        ('scheme = "github"\nchat = "a"', "'chat' means nothing here"),
        ('scheme = "campfire"\nurl = "campfire.example.com"', "is no address"),
    ],
)
def test_a_mistake_in_a_chat_source_is_named(tmp_path: Path, table: str, said: str) -> None:
    (path := tmp_path / "s.toml").write_text(f"[sources.x]\n{table}\n[bots.a]\n")
    with pytest.raises(sources.SourcesError, match=r"\[sources\.x\]") as error:
        sources.load(path, {})
    assert said in str(error.value)


def test_an_address_for_all_campfire_sources_comes_from_the_environment(tmp_path: Path) -> None:
    (path := tmp_path / "s.toml").write_text('[sources.x]\nscheme = "campfire"\n[bots.a]\nname = "Ada"\n[bots.b]\n')
    assert sources.load(path, {"CAMPFIRE_URL": "http://campfire:3000/"})["x"].url == "http://campfire:3000"
    assert sources.bot_names(path) == {"a": "Ada", "b": "b"}
