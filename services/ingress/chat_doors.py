"""What chat servers' webhooks say to bots: Campfire's, and those of any other in our own form.

Where the answer goes is sealed here (shared/sealing.py), and opened again only by who posts it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints, ValidationError

from services.ingress.outgoing import Spoken
from services.ingress.sources import ANY_BOT, Source
from shared.errors import invalid
from shared.logs import get_logger
from shared.messages import encode
from shared.messages.chat import ChatMessage, Name, Said
from shared.messages.envelope import MAX_HOPS, Id, Label, Model, delivery_message_id, invalid_fields
from shared.sealing import CALLBACK, REPLY_TO, Seal, reply_about
from shared.targets import Allowed, target_of

# A bot that answers a bot has come a way that nobody has counted.
BOT_HOPS = MAX_HOPS - 1
# Of the bots of this Campfire so many are known by their ids.
_MAX_KNOWN = 10_000
# Where a Campfire bot posts, with the key that is its id and a token.
_ROOM_PATH = re.compile(
    r"(?:/[A-Za-z0-9_-]+){0,4}/rooms/[0-9A-Za-z_-]{1,64}/(?P<bot>[0-9]{1,20})-[0-9A-Za-z_-]{1,200}/messages"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
log = get_logger()


class ChatForm(Model):
    """The body of a chat webhook in our own form."""

    room_id: Id
    user_name: Name
    text: Said
    bot_id: Id | None = None
    user_id: Id | None = None
    room_name: Label | None = None
    message_id: Id | None = None
    callback_url: Annotated[str, StringConstraints(max_length=2_000)] | None = None


class ChatDoors:
    """Makes messages to bots of what chat servers send."""

    def __init__(self, bots: Mapping[str, str], secret: str, allowed: Allowed) -> None:
        """`bots`: the names of those that are declared, by their ids; `allowed`: callbacks that need not be public."""
        self._bots = bots
        self._names = {each.casefold() for pair in bots.items() for each in pair}
        self._seal = Seal(secret, REPLY_TO)
        self._allowed = allowed
        # The ids that our bots have in their Campfires, with what those are called here.
        self._known: set[tuple[str, str]] = set()

    def warn(self, sources: Mapping[str, Source]) -> None:
        """Tell the log of sources of Campfire that nobody is going to answer."""
        for source in sources.values():
            if source.scheme == "campfire" and source.bot not in self._bots:
                hint = f"its messages are events only: there is no [bots.{source.bot}]"
                log.warning("source_without_bot", source=source.name, hint=hint)
            elif source.scheme == "campfire" and not source.url:
                hint = "bots answer on the bus alone: neither the source's `url` nor CAMPFIRE_URL says where it is"
                log.warning("source_without_url", source=source.name, hint=hint)

    def of_campfire(self, source: Source, document: Any) -> Spoken | None:
        """What a message of Campfire, whose JSON was checked, says to the source's bot; None: nothing."""
        if source.bot not in self._bots or not isinstance(document, dict):
            return None
        user, room, message = (_object(document, name) for name in ("user", "room", "message"))
        body = _object(message, "body")
        room_id, user_id = _id(room.get("id")), _id(user.get("id"))
        if room_id is None or _id(message.get("id")) is None or "body" not in message:
            return None
        room_id = source.room_prefix + room_id
        user_name = _name(user.get("name")) or f"user {user_id}"
        said = {
            "room_id": room_id,
            "bot_id": source.bot,
            "user_name": user_name,
            "user_id": user_id,
            "room_name": _name(room.get("name")),
            "text": self._text(source.bot, body),
            "reply_to": self._reply_to_campfire(source, room_id, room.get("path"), _id(message["id"])),
        }
        by_bot = self._is_bot(source, user_id, user_name)
        try:
            return Spoken(encode(ChatMessage.model_validate(said)), BOT_HOPS if by_bot else 0)
        except ValidationError as error:
            log.warning("message_not_understood", source=source.name, fault=invalid_fields(error, "it").message)
            return None

    def of_form(self, source: Source, form: ChatForm, delivery_id: str) -> Spoken:
        """What a chat webhook in our own form says. Raises `Rejected("invalid")` that names its fields."""
        bot_id = form.bot_id or (source.bot if source.bot != ANY_BOT else "")
        if bot_id not in self._bots or source.bot not in (ANY_BOT, bot_id):
            fault = "is needed" if not bot_id else f"{bot_id!r} is no bot that this source may speak to"
            raise invalid(f"the message is not valid: bot_id {fault}", fields=[_fault("bot_id", fault)])
        if not form.text.strip():
            raise invalid("the message is not valid: text is blank", fields=[_fault("text", "is blank")])
        room_id = source.room_prefix + form.room_id
        reply_to = None
        if form.callback_url is not None:
            target_of(form.callback_url, self._allowed)
            note = {
                "to": "callback",
                "url": form.callback_url,
                "message_id": delivery_message_id(source.name, delivery_id),
            }
            reply_to = CALLBACK + self._seal.close(encode(note).decode(), reply_about(room_id, bot_id))
        said = form.model_dump(include={"user_name", "user_id", "room_name", "text"})
        said |= {"room_id": room_id, "bot_id": bot_id, "reply_to": reply_to}
        try:
            checked = ChatMessage.model_validate(said)
        except ValidationError as error:
            raise invalid_fields(error, "the message") from None
        is_bot = form.user_name.casefold() in self._names
        return Spoken(encode(checked), BOT_HOPS if is_bot else 0)

    def _text(self, bot_id: str, body: dict[str, Any]) -> str:
        plain = body.get("plain")
        plain = plain if isinstance(plain, str) else ""
        if not plain.strip():
            # Somebody has called the bot by its name and said no more.
            return f"@{self._bots[bot_id]}"
        # A file alone has no HTML, and its name for a text.
        return plain if body.get("html") is not None else f"[a file: {plain}]"

    def _reply_to_campfire(self, source: Source, room_id: str, path: Any, after: str | None) -> str | None:
        found = _ROOM_PATH.fullmatch(path) if isinstance(path, str) else None
        if found is None:
            log.warning("answer_has_no_way", source=source.name, reason="room.path is none that a bot can post to")
            return None
        if len(self._known) < _MAX_KNOWN:
            self._known.add((_place(source), found["bot"]))
        if not source.url:
            return None
        note = {"to": "campfire", "url": source.url + found[0], "after": after}
        return self._seal.close(encode(note).decode(), reply_about(room_id, source.bot))

    def _is_bot(self, source: Source, user_id: str | None, user_name: str) -> bool:
        """Whether one of our own bots says it: by an id of which messages to it have told, or by its name."""
        return (_place(source), user_id) in self._known or user_name.casefold() in self._names


def read_form(document: Any) -> ChatForm:
    """A chat webhook in our own form. Raises `Rejected("invalid")` that names its fields."""
    try:
        return ChatForm.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error, "the message") from None


def shown_form(form: ChatForm) -> bytes:
    """The form as everybody may see it: of a callback's URL, which may be somebody's secret, scheme and host."""
    shown = form.model_dump(exclude_none=True)
    if form.callback_url is not None:
        scheme, _, rest = form.callback_url.partition("://")
        shown["callback_url"] = f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}/…"
    return encode(shown)


def _place(source: Source) -> str:
    return source.url or source.name


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _id(value: Any) -> str | None:
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) and str(value) else None


def _name(value: Any) -> str | None:
    return (_CONTROL.sub(" ", value).strip()[:255] or None) if isinstance(value, str) else None


def _fault(field: str, fault: str) -> dict[str, str]:
    return {"field": field, "fault": fault, "kind": "chat"}
