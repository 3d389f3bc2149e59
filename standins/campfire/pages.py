"""A Campfire seen from outside: a page for each room, and doors through which a program speaks for people.

`POST /_standin/say {"room": 1, "by": "Ada", "text": "…", "to": "Helper"}`, `GET /_standin/rooms/1`.
"""

import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from standins.campfire.rooms import Person, Room, described

if TYPE_CHECKING:
    from standins.campfire.server import Campfire
    from standins.server import Exchange

_ROOM = re.compile(r"/(?:_standin/)?rooms/(\d+)")
_PAGE = """<!doctype html><meta charset="utf-8"><title>{name}</title>
<style>body{{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto}}pre,code{{background:#eee}}li{{margin:.5rem 0}}
ul{{list-style:none;padding:0}}textarea{{width:100%}}</style>
<h1>{name}</h1><p>A stand-in for Campfire. Write to {bots}; reload to see what came.</p>
<ul>{messages}</ul><form method="post"><textarea name="text" rows="3" autofocus></textarea><button>Send</button></form>
"""


async def answer(campfire: "Campfire", exchange: "Exchange") -> bool:
    """Answer a request that is not a bot's; False when it is for nothing there is."""
    found = _ROOM.fullmatch(exchange.path)
    room = campfire.rooms.get(int(found[1])) if found else None
    match exchange.method, exchange.path:
        case "GET", "/":
            await exchange.reply(302, location=f"/rooms/{min(campfire.rooms, default=0)}")
        case "POST", "/_standin/say":
            await _say(campfire, exchange)
        case "GET", path if room is not None and path.startswith("/_standin/"):
            await exchange.reply_json(200, [described(each, campfire.url) for each in room.messages])
        case "GET", _ if room is not None:
            await exchange.reply(200, _page(room), content_type="text/html; charset=utf-8")
        case "POST", _ if room is not None:
            words = parse_qs(exchange.body.decode()).get("text", [""])[0]
            by = next(each for each in room.members if not each.is_bot)
            if words.strip():
                await campfire.say_as(room, by, words, _first_bot(room))
            await exchange.reply(303, location=exchange.path)
        case _:
            return False
    return True


async def _say(campfire: "Campfire", exchange: "Exchange") -> None:
    asked = exchange.json()
    room = campfire.rooms.get(int(asked["room"]))
    by = _named(room, asked["by"])
    to = _named(room, asked["to"]) if asked.get("to") else None
    if room is None or by is None or (asked.get("to") and to is None):
        await exchange.reply_json(422, {"error": "room, by or to is nobody there"})
        return
    message = await campfire.say_as(room, by, asked["text"], to)
    await exchange.reply_json(201, described(message, campfire.url))


def _named(room: Room | None, name: str) -> Person | None:
    return next((each for each in room.members if each.name == name), None) if room else None


def _first_bot(room: Room) -> Person | None:
    return next((each for each in room.members if each.is_bot), None)


def _page(room: Room) -> str:
    bots = ", ".join(escape(each.name) for each in room.members if each.is_bot) or "nobody"
    messages = "".join(f"<li><b>{escape(each.by.name)}</b><br>{_text(each.shown)}" for each in room.messages)
    return _PAGE.format(name=escape(room.name or "A conversation"), bots=bots, messages=messages)


def _text(words: str) -> str:
    return escape(words).replace("\n", "<br>")
