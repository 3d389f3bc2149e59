"""Who and what there is in a Campfire: people, bots, rooms, messages, boosts."""

import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from standins.campfire import text

_TOKEN = string.ascii_letters + string.digits


@dataclass
class Person:
    """Somebody; a bot when there is a token, and then with the webhook where its messages go."""

    id: int
    name: str
    sgid: str
    token: str = ""
    webhook_url: str = ""

    @property
    def is_bot(self) -> bool:
        """Whether it is a bot."""
        return bool(self.token)

    @property
    def key(self) -> str:
        """What a bot shows: a part of the path it posts to."""
        return f"{self.id}-{self.token}"


@dataclass
class Boost:
    """A small word or emoji somebody gave a message. Bots hear nothing of it."""

    id: int
    by: Person
    content: str


@dataclass
class Message:
    """A message as it stands in its room."""

    id: int
    room: "Room"
    by: Person
    html: str | None
    attachment: str | None = None  # its file name
    boosts: list[Boost] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)  # the earlier bodies
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def plain(self) -> str:
        """The text, mentions as `@Name`; of an attachment alone its file name."""
        names = {person.sgid: person.name for person in self.room.members}
        return (text.plain(self.html, names) if self.html else "") or self.attachment or ""

    @property
    def shown(self) -> str:
        """What a reader sees of it: unlike in the plain text, a newline that is not a `<br>` is a space."""
        names = {person.sgid: person.name for person in self.room.members}
        return (text.shown(self.html, names) if self.html else "") or self.attachment or ""

    @property
    def mentions(self) -> list[Person]:
        """The members of the room it mentions."""
        found = text.mentioned(self.html or "")
        return [person for person in self.room.members if person.sgid in found]


@dataclass
class Room:
    """A room and its members; one without a name is a direct conversation."""

    id: int
    name: str | None
    members: list[Person]
    messages: list[Message] = field(default_factory=list)

    @property
    def is_direct(self) -> bool:
        """Whether every message goes to every bot in it; elsewhere bots get what mentions them."""
        return self.name is None

    @property
    def texts(self) -> list[str]:
        """The plain texts, oldest first."""
        return [message.plain for message in list(self.messages)]

    def by(self, person: Person) -> list[Message]:
        """The messages of one member, oldest first."""
        return [message for message in list(self.messages) if message.by is person]

    def bots_for(self, message: Message) -> list[Person]:
        """The bots a new message is sent to: never the one that wrote it."""
        heard = self.members if self.is_direct else message.mentions
        return [person for person in heard if person.is_bot and person.webhook_url and person is not message.by]


def new_token() -> str:
    """Twelve letters and digits, as Campfire makes a bot's."""
    return "".join(secrets.choice(_TOKEN) for _ in range(12))


def payload(message: Message, bot: Person) -> bytes:
    """What a bot's webhook is sent for a message."""
    room = message.room
    return text.rails_json(
        {
            "user": {"id": message.by.id, "name": message.by.name},
            "room": {"id": room.id, "name": room.name, "path": f"/rooms/{room.id}/{bot.key}/messages"},
            "message": {
                "id": message.id,
                "body": {"html": message.html, "plain": text.without_mentions_of(bot.name, message.plain)},
                "path": f"/rooms/{room.id}/@{message.id}",
            },
        }
    )


def described(message: Message, url: str) -> dict[str, Any]:
    """A message as the API shows it to bots."""
    return {
        "id": message.id,
        "created_at": message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "body": {"plain_text": message.plain, "html": message.html or ""},
        "creator": {
            "id": message.by.id,
            "name": message.by.name,
            "role": "bot" if message.by.is_bot else "member",
        },
        "room": {"id": message.room.id},
        "url": f"{url}/rooms/{message.room.id}/messages/{message.id}",
    }
