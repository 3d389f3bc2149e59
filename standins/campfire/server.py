"""A Campfire server: it posts to bots' webhooks, and bots read, post, edit, delete and boost by their key."""

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from itertools import count
from typing import Any

import httpx

from standins.campfire import pages, text
from standins.campfire.rooms import Boost, Message, Person, Room, described, new_token, payload
from standins.server import Exchange, Server

LIMIT_S = 7.0
PAGE_SIZE = 40
KEPT = 10_000
_BOT_PATH = re.compile(
    r"/rooms/(?P<room>\d+)/(?P<key>[^/@]+)/messages(?:/(?P<message>\d+)(?P<boosts>/boosts(?:/(?P<boost>\d+))?)?)?"
)
# The names Rails gives to types of content, which are the endings of the files it makes.
_SYMBOLS = {
    "text/html": "html",
    "text/plain": "text",
    "application/json": "json",
    "text/css": "css",
    "image/png": "png",
}


@dataclass
class Delivery:
    """One post to a bot's webhook, and what came back."""

    bot: Person
    body: bytes
    at: float  # of time.monotonic()
    seconds: float | None = None  # None: under way
    status: int | None = None
    content_type: str | None = None
    answer: bytes = b""
    error: str | None = None
    made: Message | None = None  # what the answer, or its absence, became in the room


@dataclass
class Posted:
    """One request of a bot."""

    method: str
    path: str
    body: bytes
    status: int
    at: float


class Campfire(Server):
    """Rooms whose bots are told by webhook.

    A webhook has `limit_s` seconds (7) to be answered. Anything with a Content-Type that comes back becomes a message
    or an attachment in the room, errors too. Nothing is delivered twice. `edits` False: as versions before August
    2026, where bots can only read and post.
    """

    def __init__(self, port: int = 0, *, limit_s: float = LIMIT_S, edits: bool = True) -> None:
        super().__init__(port)
        self.limit_s = limit_s
        self.edits = edits
        self.people: dict[int, Person] = {}
        self.rooms: dict[int, Room] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=KEPT)
        self.posted: deque[Posted] = deque(maxlen=KEPT)
        self._ids = count(1)
        self._message_ids = count(1)
        self._under_way: set[asyncio.Task[None]] = set()
        # Each post opens a connection of its own, as Campfire's do. Reading certificates would take long.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=limit_s, limits=limits, trust_env=False, verify=False)  # noqa: S501

    def number_messages(self, first: int) -> None:
        """Begin with this number: one that takes the place of another must not use its numbers again."""
        self._message_ids = count(first)

    def add_person(self, name: str, *, person_id: int | None = None) -> Person:
        """A new member."""
        number = self._id(person_id)
        return self.people.setdefault(number, Person(number, name, f"sgid--{number}"))

    def add_bot(
        self, name: str, webhook_url: str = "", *, person_id: int | None = None, token: str = "", sgid: str = ""
    ) -> Person:
        """A new bot; with a webhook it hears what mentions it, and everything in direct rooms."""
        number = self._id(person_id)
        bot = Person(number, name, sgid or f"sgid--{number}", token or new_token(), webhook_url)
        return self.people.setdefault(number, bot)

    def add_room(self, name: str | None, *members: Person, room_id: int | None = None) -> Room:
        """A new room; a direct one without a name."""
        number = room_id or max(self.rooms, default=0) + 1
        return self.rooms.setdefault(number, Room(number, name, list(members)))

    def say(
        self,
        room: Room,
        by: Person,
        words: str = "",
        *,
        to: Person | None = None,
        html: str | None = None,
        attachment: str | None = None,
        message_id: int | None = None,
    ) -> Message:
        """Somebody writes `words`, to a bot or to nobody, or posts a body of HTML, or a file alone; bots hear of it."""
        if html is None and attachment is None:
            html = text.rich(words, text.mention(to.name, to.sgid) if to else "")
        return self._run(self._say(Message(self._next_message(message_id), room, by, html, attachment)))

    def boost(self, message: Message, by: Person, content: str) -> Boost:
        """Somebody boosts a message. No bot hears of it."""
        message.boosts.append(boost := Boost(next(self._ids), by, content))
        return boost

    def post_to(self, bot: Person, body: bytes, room: Room) -> Delivery:
        """Send a bot's webhook these very bytes, as if about a message of that room."""
        return self._run(self._posted_to(bot, body, room))

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        if found := _BOT_PATH.fullmatch(exchange.path):
            status, content, headers = self._bot_request(exchange, found)
            self.posted.append(Posted(exchange.method, exchange.path, exchange.body, status, time.monotonic()))
            if content is None:
                await exchange.reply(status, **headers)
            else:
                await exchange.reply_json(status, content, **headers)
        elif not await pages.answer(self, exchange):
            await exchange.reply(404)

    async def say_as(self, room: Room, by: Person, words: str, to: Person | None) -> Message:
        """`say`, from within the server."""
        html = text.rich(words, text.mention(to.name, to.sgid) if to else "")
        return await self._say(Message(self._next_message(None), room, by, html))

    def _id(self, wanted: int | None) -> int:
        return wanted or next(each for each in self._ids if each not in self.people)

    def _next_message(self, wanted: int | None) -> int:
        return wanted or next(self._message_ids)

    async def _say(self, message: Message) -> Message:
        message.room.messages.append(message)
        for bot in message.room.bots_for(message):
            self._deliver(bot, payload(message, bot), message.room)
        return message

    async def _posted_to(self, bot: Person, body: bytes, room: Room) -> Delivery:
        return self._deliver(bot, body, room)

    def _deliver(self, bot: Person, body: bytes, room: Room) -> Delivery:
        delivery = Delivery(bot, body, time.monotonic())
        self.deliveries.append(delivery)
        task = asyncio.get_running_loop().create_task(self._post(delivery, room))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return delivery

    async def _post(self, delivery: Delivery, room: Room) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "Ruby", "Accept": "*/*"}
        try:
            response = await self._client.post(delivery.bot.webhook_url, content=delivery.body, headers=headers)
        except (httpx.ConnectTimeout, httpx.ReadTimeout) as error:
            delivery.error = repr(error)
            said = f"Failed to respond within {self.limit_s:g} seconds"
            delivery.made = self._made(room, delivery.bot, html=said)
        except httpx.HTTPError as error:
            delivery.error = repr(error)
        else:
            delivery.status, delivery.answer = response.status_code, response.content
            delivery.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower() or None
            delivery.made = self._answered(delivery, room)
        delivery.seconds = time.monotonic() - delivery.at

    def _answered(self, delivery: Delivery, room: Room) -> Message | None:
        """What Campfire makes of a webhook's answer."""
        if delivery.content_type is None:
            return None
        if delivery.status == 200 and delivery.content_type in ("text/html", "text/plain"):
            return self._made(room, delivery.bot, html=delivery.answer.decode(errors="replace"))
        return self._made(room, delivery.bot, attachment=f"attachment.{_SYMBOLS.get(delivery.content_type, '')}")

    def _made(self, room: Room, by: Person, html: str | None = None, attachment: str | None = None) -> Message:
        """A message of which no bot hears."""
        room.messages.append(message := Message(self._next_message(None), room, by, html, attachment))
        return message

    def _bot_request(self, exchange: Exchange, found: re.Match[str]) -> tuple[int, Any, dict[str, str]]:
        bot = next((each for each in self.people.values() if each.is_bot and each.key == found["key"].strip()), None)
        if bot is None:
            return 302, None, {"location": f"{self.url}/session/new"}
        room = self.rooms.get(int(found["room"]))
        if room is None or bot not in room.members:
            return 404, None, {}
        if found["message"] is None:
            return self._messages(exchange, bot, room)
        message = next((each for each in room.messages if each.id == int(found["message"])), None)
        if message is None or not self.edits:
            return 404, None, {}
        return self._boosts(exchange, bot, message, found) if found["boosts"] else self._message(exchange, bot, message)

    def _messages(self, exchange: Exchange, bot: Person, room: Room) -> tuple[int, Any, dict[str, str]]:
        if exchange.method == "GET":
            return 200, [described(each, self.url) for each in _page(room, exchange.query)], {}
        if exchange.method != "POST":
            return 404, None, {}
        attachment = _attachment(exchange)
        body = exchange.body.decode(errors="replace")
        if attachment is None and not body.strip():
            return 422, None, {}
        message = Message(self._next_message(None), room, bot, None if attachment else body, attachment)
        room.messages.append(message)
        for each in room.bots_for(message):
            self._deliver(each, payload(message, each), room)
        return 201, None, {"location": f"{self.url}/messages/{message.id}"}

    def _message(self, exchange: Exchange, bot: Person, message: Message) -> tuple[int, Any, dict[str, str]]:
        if exchange.method not in ("PATCH", "PUT", "DELETE"):
            return 404, None, {}
        if message.by is not bot:
            return 403, None, {}
        if exchange.method == "DELETE":
            message.room.messages.remove(message)
            return 204, None, {}
        # An edit is told to no bot, and may be blank.
        message.edits.append(message.html or "")
        message.html = exchange.body.decode(errors="replace")
        return 200, described(message, self.url), {}

    def _boosts(
        self, exchange: Exchange, bot: Person, message: Message, found: re.Match[str]
    ) -> tuple[int, Any, dict[str, str]]:
        if exchange.method == "POST" and found["boost"] is None:
            content = exchange.body.decode(errors="replace")
            if not content.strip():
                return 422, None, {}
            boost = self.boost(message, bot, content)
            about = {"id": message.id, "url": described(message, self.url)["url"]}
            booster = {"id": bot.id, "name": bot.name, "role": "bot"}
            return 201, {"id": boost.id, "content": content, "booster": booster, "message": about}, {}
        own = next((each for each in message.boosts if found["boost"] == str(each.id) and each.by is bot), None)
        if exchange.method != "DELETE" or own is None:
            return 404, None, {}
        message.boosts.remove(own)
        return 204, None, {}

    async def _close(self) -> None:
        for task in (under_way := list(self._under_way)):
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._client.aclose()
        await super()._close()


def _page(room: Room, query: dict[str, str]) -> list[Message]:
    """A page of a room's messages, oldest first: the latest, or those before or after a message."""
    if "before" in query:
        return [each for each in room.messages if each.id < int(query["before"])][-PAGE_SIZE:]
    if "after" in query:
        return [each for each in room.messages if each.id > int(query["after"])][:PAGE_SIZE]
    return room.messages[-PAGE_SIZE:]


def _attachment(exchange: Exchange) -> str | None:
    """The name of the file in a form's field `attachment`; None when there is none."""
    content_type = exchange.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return None
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + exchange.body, policy=HTTP)
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "attachment":
            return part.get_filename() or "attachment"
    return None
