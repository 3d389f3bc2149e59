"""The stand-in for Campfire: what its webhooks send, what it makes of answers, and what bots may do."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from standins.campfire import Campfire, Person, Room
from tests.waiting import eventually

HTTP = httpx.Client(timeout=5, trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "campfire"


class Receiver:
    """A webhook that answers as it is told to."""

    def __init__(self) -> None:
        self.answer: tuple[int, str | None, bytes] = (204, None, b"")
        self.silent = False
        self.released = Event()
        self.got: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.got.append(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.silent:
                    receiver.released.wait(30)
                status, content_type, body = receiver.answer
                self.send_response(status)
                if content_type:
                    self.send_header("Content-Type", content_type)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook/bender"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    Thread(target=running.server.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.released.set()
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def campfire(receiver: Receiver) -> Iterator[Campfire]:
    with Campfire(limit_s=0.3) as server:
        server.add_bot("Bender Bot", receiver.url, person_id=9, token="AbCdEf123456", sgid="BAh7CEkiCGdpZAY6BkVU--sig")
        server.add_person("Jason", person_id=1)
        server.add_room("Watercooler", *server.people.values(), room_id=4)
        yield server


@pytest.fixture
def room(campfire: Campfire) -> Room:
    return campfire.rooms[4]


@pytest.fixture
def bot(campfire: Campfire) -> Person:
    return campfire.people[9]


@pytest.fixture
def jason(campfire: Campfire) -> Person:
    return campfire.people[1]


def path(campfire: Campfire, room: Room, bot: Person, more: str = "") -> str:
    return f"{campfire.url}/rooms/{room.id}/{bot.key}/messages{more}"


@pytest.mark.parametrize("name", ["mention", "multiline-code", "unicode-emoji", "slash-command-injection"])
def test_a_webhook_reads_as_a_real_one_does(campfire: Campfire, bot: Person, receiver: Receiver, name: str) -> None:
    if not FIXTURES.is_dir():
        pytest.skip("Campfire's real payloads are not beside this checkout (../shared/fixtures/campfire)")
    real = (FIXTURES / f"{name}.json").read_bytes()
    told = json.loads(real)
    room = campfire.add_room(told["room"]["name"], bot, room_id=100)
    room.id = told["room"]["id"]
    by = campfire.people.get(told["user"]["id"]) or campfire.add_person(
        told["user"]["name"], person_id=told["user"]["id"]
    )
    room.members.append(by)
    html = told["message"]["body"]["html"]

    campfire.say(room, by, html=html, message_id=told["message"]["id"])
    if "mention" not in html:
        # Only a direct room would have sent it; the body is what matters here.
        assert not receiver.got
        room.name, real_name = None, room.name
        campfire.say(room, by, html=html, message_id=told["message"]["id"])
        real = real.replace(json.dumps(real_name, ensure_ascii=False).encode(), b"null")

    assert eventually(lambda: receiver.got) == [real]


def test_an_attachment_alone_has_its_file_name_for_text(
    campfire: Campfire, bot: Person, jason: Person, receiver: Receiver
) -> None:
    campfire.say(campfire.add_room(None, bot, jason), jason, attachment="moon.jpg")
    sent = json.loads(eventually(lambda: receiver.got)[0])
    assert sent["room"]["name"] is None
    assert sent["message"]["body"] == {"html": None, "plain": "moon.jpg"}


def test_what_is_typed_to_a_bot_reaches_it_without_its_mention(
    campfire: Campfire, room: Room, bot: Person, jason: Person, receiver: Receiver
) -> None:
    campfire.say(room, jason, "nobody is meant")
    campfire.say(room, jason, "run:\n```x < 1\n  & y```", to=bot)

    [sent] = eventually(lambda: receiver.got)
    assert json.loads(sent)["message"]["body"]["plain"] == "run:\nx < 1\n  & y"
    assert room.texts[1].startswith("@Bender Bot run:")


@pytest.mark.parametrize(
    ("answer", "becomes"),
    [
        ((204, None, b""), []),
        ((200, "text/plain; charset=utf-8", b"hi"), ["hi"]),
        ((200, "text/html", b"<b>hi</b>"), ["hi"]),
        ((200, "application/json", b"{}"), ["attachment.json"]),
        ((500, "text/plain", b"oh no"), ["attachment.text"]),
        ((401, "application/problem+json", b"{}"), ["attachment."]),
    ],
)
def test_whatever_a_webhook_answers_stands_in_the_room(
    campfire: Campfire,
    room: Room,
    bot: Person,
    jason: Person,
    receiver: Receiver,
    answer: tuple[int, str | None, bytes],
    becomes: list[str],
) -> None:
    receiver.answer = answer
    campfire.say(room, jason, "hello", to=bot)
    eventually(lambda: campfire.deliveries[0].seconds is not None)
    assert [message.plain for message in room.by(bot)] == becomes


def test_a_webhook_that_takes_too_long_is_complained_of_in_the_room(
    campfire: Campfire, room: Room, bot: Person, jason: Person, receiver: Receiver
) -> None:
    receiver.silent = True
    campfire.say(room, jason, "hello", to=bot)
    eventually(lambda: room.by(bot))
    assert room.texts[1:] == ["Failed to respond within 0.3 seconds"]


def test_a_bot_answers_with_its_key(campfire: Campfire, room: Room, bot: Person) -> None:
    made = HTTP.post(path(campfire, room, bot), content="Grüße, *alle*".encode())

    assert (made.status_code, made.content) == (201, b"")
    assert made.headers["location"] == f"{campfire.url}/messages/{room.messages[0].id}"
    assert room.texts == ["Grüße, *alle*"]
    assert HTTP.post(path(campfire, room, bot), content=b" \n").status_code == 422
    assert HTTP.post(path(campfire, room, bot).replace("AbC", "xxx"), content=b"hi").status_code == 302
    elsewhere = campfire.add_room("Designers")
    assert HTTP.post(path(campfire, elsewhere, bot), content=b"hi").status_code == 404
    assert HTTP.post(path(campfire, room, bot), files={"attachment": ("a.txt", b"x")}).status_code == 201
    assert room.texts == ["Grüße, *alle*", "a.txt"]
    assert [each.status for each in campfire.posted] == [201, 422, 302, 404, 201]


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("one\ntwo  three", "one two three"),
        ("one<br>two<div>three</div>four", "one\ntwo\nthree\nfour"),
        ("use <pre>  a\n  b</pre> now", "use\n  a\n  b\nnow"),
        ("a list[<T>] of x < y &lt;b&gt;", "a list["),
        ("a <script>x</script><b>bold</b>", "a bold"),
    ],
)
def test_a_body_is_html_and_is_seen_as_such(campfire: Campfire, room: Room, bot: Person, body: str, seen: str) -> None:
    HTTP.post(path(campfire, room, bot), content=body.encode())
    assert room.messages[0].shown == seen


def test_a_bot_edits_and_takes_back_its_own_messages_alone(
    campfire: Campfire, room: Room, bot: Person, jason: Person
) -> None:
    HTTP.post(path(campfire, room, bot), content=b"Thinking")
    own, other = room.messages[0].id, campfire.say(room, jason, "hello").id

    edited = HTTP.patch(path(campfire, room, bot, f"/{own}"), content=b"Done")
    assert (edited.status_code, edited.json()["body"]["plain_text"]) == (200, "Done")
    assert room.messages[0].edits == ["Thinking"]
    assert HTTP.patch(path(campfire, room, bot, f"/{other}"), content=b"x").status_code == 403
    assert HTTP.delete(path(campfire, room, bot, f"/{own}")).status_code == 204
    assert [each["id"] for each in HTTP.get(path(campfire, room, bot)).json()] == [other]

    campfire.edits = False
    assert HTTP.patch(path(campfire, room, bot, f"/{other}"), content=b"x").status_code == 404


def test_no_webhook_tells_of_a_boost(
    campfire: Campfire, room: Room, bot: Person, jason: Person, receiver: Receiver
) -> None:
    HTTP.post(path(campfire, room, bot), content=b"Done")
    campfire.boost(room.messages[0], jason, "👍")
    boosted = HTTP.post(path(campfire, room, bot, f"/{room.messages[0].id}/boosts"), content="👀".encode())

    assert boosted.status_code == 201
    assert [each.content for each in room.messages[0].boosts] == ["👍", "👀"]
    assert not campfire.deliveries


def test_bots_hear_each_other_in_a_direct_room_but_never_themselves(
    campfire: Campfire, bot: Person, receiver: Receiver
) -> None:
    other = campfire.add_bot("Flexo", receiver.url)
    room = campfire.add_room(None, bot, other)
    HTTP.post(path(campfire, room, bot), content=b"hello")
    eventually(lambda: campfire.deliveries)
    assert [each.bot for each in campfire.deliveries] == [other]


def test_people_can_be_spoken_for_from_outside(campfire: Campfire, room: Room, receiver: Receiver) -> None:
    said = {"room": 4, "by": "Jason", "text": "hello", "to": "Bender Bot"}
    assert HTTP.post(f"{campfire.url}/_standin/say", json=said).status_code == 201
    eventually(lambda: receiver.got)
    assert HTTP.post(f"{campfire.url}/_standin/say", json={**said, "by": "Nobody"}).status_code == 422

    assert HTTP.post(f"{campfire.url}/rooms/4", data={"text": "<b>again</b>"}).status_code == 303
    assert len(HTTP.get(f"{campfire.url}/_standin/rooms/4").json()) == 2
    assert "&lt;b&gt;again" in HTTP.get(f"{campfire.url}/rooms/4").text
