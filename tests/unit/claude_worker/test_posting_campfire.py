"""What Campfire answers to a bot, and what that means; against the stand-in, over real connections."""

from collections.abc import AsyncIterator, Iterator

import pytest

from cli.local.ports import free_port
from services.claude_worker.posting.campfire import Campfire as Client
from services.claude_worker.posting.campfire import Posted
from standins.campfire import Campfire, Person, Room
from standins.server import Exchange, Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def campfire() -> Iterator[Campfire]:
    with Campfire() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.close()


@pytest.fixture
def bot(campfire: Campfire) -> Person:
    return campfire.add_bot("Bender")


@pytest.fixture
def room(campfire: Campfire, bot: Person) -> Room:
    return campfire.add_room("Lobby", bot, campfire.add_person("Jason"))


def address(campfire: Campfire, room: Room, bot: Person) -> str:
    return f"{campfire.url}/rooms/{room.id}/{bot.key}/messages"


async def test_what_is_posted_is_known_by_its_number_and_can_be_changed(
    client: Client, campfire: Campfire, room: Room, bot: Person
) -> None:
    url = address(campfire, room, bot)
    posted = await client.post(url, "<div>héllo</div>")
    assert posted.what == "sent" and posted.ref == str(room.messages[-1].id)
    assert room.messages[-1].shown == "héllo"
    assert (await client.edit(url, posted.ref, "<div>more</div>")).what == "sent"
    assert room.messages[-1].shown == "more"


async def test_a_message_is_found_again_by_what_it_says_after_another(
    client: Client, campfire: Campfire, room: Room, bot: Person
) -> None:
    url = address(campfire, room, bot)
    first = (await client.post(url, "<div>yes</div>")).ref
    campfire.say(room, room.members[1], "yes")
    for number in range(60):
        campfire.say(room, room.members[1], f"line {number}")
    assert await client.find(url, None, "<div>never said</div>") is None
    assert await client.find(url, first, "<div>yes</div>") is None
    second = (await client.post(url, "<div>yes</div>")).ref
    assert await client.find(url, first, "<div> yes</div>") == second
    assert await client.find(url, first, None) == second


async def test_a_key_that_is_not_accepted_goes_nowhere_else(
    client: Client, campfire: Campfire, room: Room, bot: Person
) -> None:
    before = len(campfire.posted)
    posted = await client.post(address(campfire, room, bot).replace(bot.token, "AnOldToken12"), "<div>hi</div>")
    assert posted.what == "refused" and "redirects" in str(posted.reason) and "AnOldToken12" not in repr(posted)
    assert len(campfire.posted) == before + 1


async def test_what_can_never_be_posted_is_refused_with_the_reason(
    client: Client, campfire: Campfire, room: Room, bot: Person
) -> None:
    assert "blank" in str((await client.post(address(campfire, room, bot), " ")).reason)
    room.members.remove(bot)
    posted = await client.post(address(campfire, room, bot), "<div>hi</div>")
    assert posted.what == "refused" and "no member" in str(posted.reason)


async def test_a_server_that_lets_bots_change_nothing_says_so(
    client: Client, campfire: Campfire, room: Room, bot: Person
) -> None:
    posted = await client.post(address(campfire, room, bot), "<div>hi</div>")
    campfire.edits = False
    try:
        edited = await client.edit(address(campfire, room, bot), posted.ref or "", "<div>ho</div>")
    finally:
        campfire.edits = True
    assert (edited.what, edited.status) == ("refused", 404)


class Strange(Server):
    """Answers as its path says."""

    async def answer(self, exchange: Exchange) -> None:
        match exchange.path.rsplit("/", 1)[-1]:
            case "busy":
                await exchange.reply(429, retry_after="7")
            case "broken":
                await exchange.reply(500, "x" * 200_000)
            case "cut":
                exchange.cut()
            case "endless":
                await exchange.begin(200)
                while True:
                    await exchange.send(b"[" * 100_000)
            case "cookies":
                sent = exchange.headers.get("cookie", "")
                await exchange.reply(201, set_cookie="session=1; Path=/", location=f"/messages/{1 if not sent else 2}")


@pytest.mark.parametrize(
    ("path", "what", "unsure", "wait"),
    [
        ("busy", "again", False, 7.0),
        ("broken", "again", True, 0.0),
        ("cut", "again", True, 0.0),
        ("endless", "sent", False, 0.0),
    ],
)
async def test_an_answer_means_what_its_status_says(
    client: Client, path: str, what: str, unsure: bool, wait: float
) -> None:
    with Strange() as server:
        posted = await client.post(f"{server.url}/rooms/1/9-AbCdEf/{path}", "hi")
    assert (posted.what, posted.unsure, posted.wait) == (what, unsure, wait)
    assert "AbCdEf" not in repr(posted)


async def test_who_can_not_be_reached_has_surely_not_got_it(client: Client) -> None:
    posted = await client.post(f"http://127.0.0.1:{free_port()}/rooms/1/9-AbCdEf/messages", "hi")
    assert (posted.what, posted.unsure) == ("again", False)
    assert "AbCdEf" not in repr(posted)


async def test_cookies_are_not_kept_and_what_is_endless_is_not_read(client: Client) -> None:
    with Strange() as server:
        for _ in range(2):
            assert await client.post(f"{server.url}/cookies", "hi") == Posted("sent", "1", status=201)
        assert await client.find(f"{server.url}/rooms/1/9-AbCdEf/messages/endless", None, "hi") is None
