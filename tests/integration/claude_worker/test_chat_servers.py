"""Campfire and other chat servers: what is said there is answered there, once, in its order, and nobody learns how."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from standins.campfire import Person, Room
from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.chat_servers import CALLBACK_SECRET, TAKEN_OVER, ChatServers, MoodyCampfire


@pytest.fixture(scope="module")
def campfire() -> Iterator[MoodyCampfire]:
    with MoodyCampfire() as running:
        yield running


@pytest.fixture(scope="module")
def chats(
    amqp_url: str,
    module_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    api: MessagesAPI,
    campfire: MoodyCampfire,
) -> Iterator[ChatServers]:
    """Everything that a message passes, one process of each."""
    made = ChatServers(amqp_url, module_database_url, tmp_path_factory.mktemp("chats"), api, campfire)
    try:
        for service in ("ingress", "session_worker", "task_worker"):
            made.start_service(service)
        made.worker = made.start_service("claude_worker")  # type: ignore[attr-defined]
        made.until(made.is_ready, 120)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def jason(campfire: MoodyCampfire) -> Person:
    return campfire.add_person("Jason")


@pytest.fixture(scope="module")
def bender(chats: ChatServers) -> Person:
    return chats.bot("Bender Bot", "bender")


@pytest.fixture
def room(campfire: MoodyCampfire, jason: Person, bender: Person) -> Room:
    return campfire.add_room("Watercooler", jason, bender)


def turns(chats: ChatServers, room: Room) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = chats.command("list_turns", room_id=str(room.id))["turns"]
    return list(reversed(listed))


def webhooks(chats: ChatServers, room: Room) -> list[dict[str, Any]]:
    """What is told of the messages of a room of Campfire."""
    told = [event for event in chats.events("webhook") if event["source"] != "our_chat"]
    # A copy of an event has its id.
    return list({event["message_id"]: event for event in told if event["payload"]["room"]["id"] == room.id}.values())


def test_a_mention_in_campfire_is_answered_in_its_room(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.say(room, jason, "[[say hello < you]]", to=bender)
    assert chats.said_by(room, bender, 1) == ["hello < you"]
    (delivery,) = [each for each in campfire.deliveries if f"/rooms/{room.id}/".encode() in each.body]
    assert (delivery.status, delivery.answer, delivery.content_type, delivery.made) == (204, b"", None, None)
    assert delivery.seconds is not None and delivery.seconds < 1
    (turn,) = turns(chats, room)
    assert (turn["bot_id"], turn["user_name"], turn["text"], turn["trust"]) == (
        "bender", "Jason", "[[say hello < you]]", "untrusted",
    )  # fmt: skip
    (event,) = chats.until(lambda: webhooks(chats, room))
    assert event["payload"]["room"]["path"] == f"/rooms/{room.id}/bot-key/messages"


def test_a_message_that_comes_again_and_again_is_answered_once(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.say(room, jason, "[[say once]]", to=bender)
    body = campfire.deliveries[-1].body
    for _ in range(3):
        campfire.post_to(bender, body, room)
    chats.said_by(room, bender, 1)
    campfire.say(room, jason, "[[say twice]]", to=bender)
    assert chats.said_by(room, bender, 2) == ["once", "twice"]
    assert len(chats.until(lambda: len(webhooks(chats, room)) >= 2 and webhooks(chats, room))) == 2


def test_a_direct_conversation_has_no_name_and_files_are_named(
    chats: ChatServers, campfire: MoodyCampfire, jason: Person, bender: Person
) -> None:
    direct = campfire.add_room(None, jason, bender)
    campfire.say(direct, jason, "[[say directly]]")
    assert chats.said_by(direct, bender, 1) == ["directly"]
    campfire.say(direct, jason, attachment="moon.jpg")
    chats.said_by(direct, bender, 2)
    assert [turn["text"] for turn in turns(chats, direct)] == ["[[say directly]]", "[a file: moon.jpg]"]


def test_what_a_bot_says_is_shown_as_it_is_and_mentions_nobody(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    tag = f'<action-text-attachment sgid="{jason.sgid}" content-type="application/vnd.campfire.mention">'
    campfire.say(
        room, jason, f"[[say {tag}</action-text-attachment> <script>alert(1)</script> @Jason &amp;]]", to=bender
    )
    (shown,) = chats.said_by(room, bender, 1)
    assert shown == f"{tag}</action-text-attachment> <script>alert(1)</script> @Jason &amp;"
    assert room.by(bender)[0].mentions == []


def test_a_long_answer_comes_in_pieces_in_its_order(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.say(room, jason, "[[long 9000]]", to=bender)
    shown = chats.said_by(room, bender, 3)
    (turn,) = turns(chats, room)
    assert len(shown) == 3 and "".join("".join(shown).split()) == "".join(turn["answer"].split())
    assert all(len(piece) <= 4_000 for piece in shown)


def test_an_answer_grows_in_the_room_of_a_bot_that_wants_it(
    chats: ChatServers, campfire: MoodyCampfire, jason: Person
) -> None:
    grower = chats.bot("Grower", "grower")
    room = campfire.add_room("Growing", jason, grower)
    campfire.say(room, jason, "[[long 480]] [[pace 0.15]]", to=grower)
    (turn,) = chats.until(lambda: [turn for turn in turns(chats, room) if turn["status"] == "answered"], 40)
    chats.until(lambda: [message.shown for message in room.by(grower)] == [turn["answer"]])
    (message,) = room.by(grower)
    assert message.edits and all(len(earlier) < len(turn["answer"]) + 20 for earlier in message.edits)
    assert chats.sql(f"select status from chat_posts where room_id = '{room.id}'") == [("sent",)]


def test_where_bots_can_change_nothing_the_answer_is_posted_whole(
    chats: ChatServers, campfire: MoodyCampfire, jason: Person
) -> None:
    campfire.edits = False
    try:
        grower = next(person for person in campfire.people.values() if person.name == "Grower")
        room = campfire.add_room("Not growing", jason, grower)
        campfire.say(room, jason, "[[long 480]] [[pace 0.15]]", to=grower)
        (turn,) = chats.until(lambda: [turn for turn in turns(chats, room) if turn["status"] == "answered"], 40)
        # The server was not known for it yet.
        first, whole = chats.said_by(room, grower, 2)
        assert (whole, turn["answer"].startswith(first[:20])) == (turn["answer"], True)
        campfire.say(room, jason, "[[long 300]] [[pace 0.1]]", to=grower)
        last = chats.said_by(room, grower, 3, 40)[2]
        assert len(last) == 300 and len(room.by(grower)) == 3
    finally:
        campfire.edits = True


def test_while_campfire_is_away_answers_wait_in_their_order(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.moods.extend(["away", "away"])
    campfire.say(room, jason, "[[say one]]", to=bender)
    campfire.say(room, jason, "[[say two]]", to=bender)
    assert chats.said_by(room, bender, 2) == ["one", "two"]
    campfire.say(room, jason, "[[say three]] [[wait 0.5]]", to=bender)
    chats.until(lambda: len(turns(chats, room)) == 3)
    campfire.refuse()
    chats.until(lambda: turns(chats, room)[-1]["status"] == "answered")
    chats.until(lambda: chats.sql("select 1 from chat_posts where last_error like '%can''t be reached%'"))
    campfire.listen()
    assert chats.said_by(room, bender, 3) == ["one", "two", "three"]


def test_a_post_whose_answer_was_lost_is_found_in_the_room_and_not_made_again(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.say(room, jason, "[[say yes]]", to=bender)
    chats.said_by(room, bender, 1)
    campfire.moods.append("lost")
    campfire.say(room, jason, "[[say yes]]", to=bender)
    chats.said_by(room, bender, 2)
    campfire.say(room, jason, "[[say no]]", to=bender)
    assert chats.said_by(room, bender, 3) == ["yes", "yes", "no"]


def test_a_key_that_campfire_does_not_accept_ends_a_post_at_once_and_goes_nowhere_else(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    path = f"/rooms/{room.id}/{bender.key}/messages"
    room.members.remove(bender)
    campfire.post_to(bender, webhook(room, jason, bender, 900_001, "[[say gone]]"), room)
    ended = "select last_error from chat_posts where status = 'given_up' and room_id = '{}'"
    ((error,),) = chats.until(lambda: chats.sql(ended.format(room.id)))
    assert "no member" in error

    other = campfire.add_room("Other", jason, bender)
    body = webhook(other, jason, bender, 900_002, "[[say hi]]").replace(bender.token.encode(), b"AnOldToken12")
    campfire.post_to(bender, body, other)
    ((error,),) = chats.until(lambda: chats.sql(ended.format(other.id)))
    assert "redirects (302)" in error and "AnOldToken12" not in error
    assert not any("session" in each.path for each in campfire.posted)
    assert [each.path for each in campfire.posted].count(path) == 1


def test_two_bots_in_one_conversation_do_not_answer_each_other(
    chats: ChatServers, campfire: MoodyCampfire, jason: Person, bender: Person
) -> None:
    # Named otherwise than it is declared: known by its id, once anything was said to it.
    ada = chats.bot("The Countess", "ada")
    both = campfire.add_room(None, jason, bender, ada)
    campfire.say(both, jason, "[[say hello all]]")
    chats.said_by(both, ada, 1)
    chats.said_by(both, bender, 1)

    def dropped() -> bool:
        loops = [turn for turn in turns(chats, both) if turn["reason"] == "loop"]
        return {turn["bot_id"] for turn in loops} == {"ada", "bender"}

    chats.until(dropped)
    assert len(both.by(ada)) == len(both.by(bender)) == 1
    campfire.say(both, jason, "[[say still here]]")
    assert chats.said_by(both, bender, 2)[-1] == "still here"


def test_another_chat_server_is_called_back_with_the_answer_signed(chats: ChatServers) -> None:
    body = {"room_id": "general", "user_name": "Grace", "text": "[[say hi Grace]]", "message_id": "g-1"}
    body["callback_url"] = chats.receiver.url
    answers = [
        chats.http.post("/webhook/our_chat", json=body, headers={"X-API-Key": "our-chat-secret"}) for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {202}
    (message_id,) = {answer.json()["message_id"] for answer in answers}
    chats.until(lambda: chats.receiver.received, 20)
    told = chats.receiver.received[0].verified(CALLBACK_SECRET)
    assert told["type"] == "chat_answered"
    assert (told["data"]["message_id"], told["data"]["text"]) == (message_id, "hi Grace")
    assert told["data"]["turn"]["user_name"] == "Grace" and told["data"]["turn"]["trust"] == "untrusted"
    chats.http.post(
        "/webhook/our_chat",
        json={**body, "text": "[[say again]]", "message_id": "g-2"},
        headers={"X-API-Key": "our-chat-secret"},
    )
    chats.until(lambda: len(chats.receiver.received) == 2, 20)
    assert json.loads(chats.receiver.received[1].body)["data"]["text"] == "again"
    chats.http.post(
        "/webhook/our_chat",
        json={**body, "user_name": "Ada Counts", "message_id": "g-3"},
        headers={"X-API-Key": "our-chat-secret"},
    )
    chats.until(lambda: len(chats.receiver.received) == 3, 20)
    dropped = json.loads(chats.receiver.received[2].body)
    assert (dropped["type"], dropped["data"]["turn"]["reason"]) == ("chat_dropped", "loop")
    hidden = chats.receiver.url.partition("/hook")[1]
    assert hidden and hidden not in chats.everything_told() and hidden not in chats.logs()


def test_a_way_back_that_somebody_has_made_up_leads_nowhere_and_stops_nobody(chats: ChatServers) -> None:
    turn = chats.talk("[[say hi]]", "made-up", bot="bender", reply_to="s1.bm90IHNlYWxlZCBieSB1cw")
    assert turn["answer"] == "hi"
    ((error,),) = chats.until(
        lambda: chats.sql(
            f"select last_error from chat_posts where status = 'given_up' and turn_id = '{turn['turn_id']}'"
        )
    )
    assert "nobody knows where it goes" in error


def test_a_worker_killed_between_its_post_and_the_note_of_it_does_not_have_it_made_twice(
    chats: ChatServers, campfire: MoodyCampfire, room: Room, jason: Person, bender: Person
) -> None:
    campfire.moods.append("held")
    campfire.say(room, jason, "[[say only once]]", to=bender)
    chats.said_by(room, bender, 1)
    worker: subprocess.Popen[bytes] = chats.worker  # type: ignore[attr-defined]
    chats.stop(worker, signal.SIGKILL)
    chats.worker = chats.start_service("claude_worker")  # type: ignore[attr-defined]
    done = f"select 1 from chat_posts where room_id = '{room.id}' and status = 'sent'"
    chats.until(lambda: chats.sql(done), TAKEN_OVER)
    campfire.say(room, jason, "[[say and more]]", to=bender)
    assert chats.said_by(room, bender, 2) == ["only once", "and more"]


def test_the_bots_keys_stand_nowhere(chats: ChatServers, campfire: MoodyCampfire) -> None:
    tokens = [person.token for person in campfire.people.values() if person.is_bot]
    assert tokens
    asked = ("/api/deliveries", "/session/stats", "/queue/stats", "/metrics", "/api/dead-letters", "/api/query/recent")
    shown = "\n".join(chats.http.get(path).text for path in asked)
    shown += json.dumps([chats.command(name) for name in ("list_turns", "list_callbacks", "chat_stats")])
    everywhere = {
        "logs": chats.logs(),
        "database": chats.everything_kept(),
        "events": chats.everything_told(),
        "doors": shown,
        "files": "".join(path.read_text(errors="replace") for path in chats.folder.rglob("*") if path.is_file()),
    }
    assert "http_request" in everywhere["logs"] and "post_attempt" in everywhere["logs"]
    for place, text in everywhere.items():
        assert len(text) > 100, place
        assert not [token for token in [*tokens, "AnOldToken12", "campfire-token"] if token in hide(text, place)], place


def hide(text: str, place: str) -> str:
    """The files hold the one that declares the sources."""
    return text.replace("campfire-token", "") if place == "files" else text


def webhook(room: Room, by: Person, bot: Person, number: int, text: str) -> bytes:
    return json.dumps(
        {
            "user": {"id": by.id, "name": by.name},
            "room": {"id": room.id, "name": room.name, "path": f"/rooms/{room.id}/{bot.key}/messages"},
            "message": {"id": number, "body": {"html": text, "plain": text}, "path": f"/rooms/{room.id}/@{number}"},
        }
    ).encode()
