"""The demonstration's chats: a bot asked by command, piece by piece and once more, and one asked in Campfire."""

import time
from typing import Any
from urllib.parse import quote

import httpx

from cli.client import CallFailed, Client, Feed
from cli.demo_case import Case, awaited, polled, since
from cli.local.bots import INSTALL
from cli.local.standins import ROOM_PREFIX

# A client that is started on a busy machine, and a model that thinks.
PATIENCE = 90.0
ENDS = ("chat_answered", "chat_failed", "chat_dropped", "chat_merged")
FIRST = "My favourite colour is teal. Say in one short sentence that you have noted it."
SECOND = "Which colour did I name? Answer in a few words."
MEND = {
    "no_credential": "set ANTHROPIC_API_KEY in .env for real answers, or `make up DEMO=1` for those of a stand-in",
    "not_installed": f"install the Claude Agent SDK: {INSTALL}",
}


def by_command(client: Client, feed: Feed, room: str, stand_in: bool) -> Case:
    """Ask a bot by command, then ask on."""
    case = Case("A bot, asked by command")
    with case.missing():
        bot_id = _bot(client, case)
        if bot_id is None:
            return case
        case.title += f" ({bot_id} in the room {room}{', a stand-in for the Messages API answers' if stand_in else ''})"
        frames = _ask(client, feed, case, room, bot_id, FIRST)
        if frames[-1]["type"] != "chat_answered":
            return case
        frames = _ask(client, feed, case, room, bot_id, SECOND)
        if frames[-1]["type"] == "chat_answered":
            turn = frames[-1]["turn"]
            case.step(
                turn["path"] == "hot" and "teal" in turn["answer"],
                f"it remembered, on the same client ({turn['path']})",
            )
            began = time.monotonic()
            kept = client.ask("list_turns", {"room_id": room, "bot_id": bot_id}, "turns")
            text = f"PostgreSQL ← list_turns: {len(kept)} messages with their answers"
            case.step([each["status"] for each in kept] == ["answered", "answered"], text, since(began))
            case.note(f"{client.api_url}/?view=chat&room={quote(room)}&bot={quote(bot_id)}")
    return case


def _bot(client: Client, case: Case) -> str | None:
    """The first bot that is switched on; else the case says why there is none."""
    stats = client.command("chat_stats", {})
    bots = stats.get("bots")
    if bots is None:
        raise CallFailed("chat_stats was not answered: is claude_worker ready? `switchyard status` shows it")
    if not bots:
        case.note("no bot is declared in switchyard.toml, so there is nothing to show; docs/chat.md says how")
        return None
    on: str | None = next((bot["bot_id"] for bot in bots if bot["on"]), None)
    if on is None:
        case.note("every bot is switched off; `switchyard bots on NAME` switches one on")
    return on


def _ask(client: Client, feed: Feed, case: Case, room: str, bot_id: str, text: str) -> list[dict[str, Any]]:
    """Say something; the frames up to the end of its turn, noted in the case."""
    began = time.monotonic()
    said = {"room_id": room, "bot_id": bot_id, "user_name": "Ada", "text": text}
    turn = client.ask("chat_message", said, "turn")
    case.step(
        True, f"POST /api/commands/chat_message → message {turn['number']}, {turn['status']}: “{text}”", since(began)
    )
    frames: list[dict[str, Any]] = []
    pieces, first = 0, None

    def ends(frame: dict[str, Any]) -> bool:
        nonlocal pieces, first
        if frame.get("turn_id") == turn["turn_id"] and frame["type"] == "chat_delta":
            pieces += 1
            first = first if first is not None else since(began)
        return _ends(frame, turn["turn_id"])

    end = awaited(feed, ends, PATIENCE)
    frames.append(end)
    done = end["turn"]
    if pieces:
        case.step(True, f"WebSocket ← chat_delta, {pieces} piece(s) of the answer", first)
    if end["type"] == "chat_answered":
        used = f"{done['input_tokens']:,} + {done['output_tokens']:,} tokens, ${done['cost_usd']:.4f}"
        case.step(True, f"WebSocket ← chat_answered, {done['path']}, {used}: “{done['answer']}”", since(began))
    elif done.get("reason") in MEND:
        # An honest answer of a bot that can't give another.
        case.step(
            True, f"WebSocket ← chat_failed, {done['reason']}, and the room is told: “{done['answer']}”", since(began)
        )
        case.note(f"not shown: an answer, its pieces, and that the bot remembers. For that, {MEND[done['reason']]}")
    else:
        told = done.get("answer") or ""
        case.step(False, f"WebSocket ← {end['type']}, {done.get('reason')}: {told}", since(began))
    return frames


def in_campfire(feed: Feed, url: str, name: str) -> Case:
    """Write to the bot of this name in a room of the Campfire that is at `url`, and see its answer there."""
    case = Case(f"A message to {name} in a room of a stand-in for Campfire")
    with case.missing(), httpx.Client(base_url=url, timeout=10, trust_env=False) as campfire:
        try:
            known = {message["id"] for message in campfire.get("/_standin/rooms/1").json()}
            said = {"room": 1, "by": "Ada", "text": "Is the release on Friday?", "to": name}
            began = time.monotonic()
            campfire.post("/_standin/say", json=said).raise_for_status()
            case.step(True, f"Ada writes in the room: “@{name} {said['text']}”", since(began))
            queued = awaited(feed, lambda frame: frame["type"] == "chat_queued" and _is_of_campfire(frame))
            turn = queued["turn"]
            text = f"Campfire's webhook → WebSocket ← chat_queued in the room {turn['room_id']}, {turn['trust']}"
            case.step(True, text, since(began))
            end = awaited(feed, lambda frame: _ends(frame, turn["turn_id"]), PATIENCE)
            case.step(end["type"] == "chat_answered", f"WebSocket ← {end['type']}", since(began))
            answer = polled(lambda: _answer_in(campfire.get("/_standin/rooms/1").json(), known))
            case.step(True, f"in the room ← “{answer['body']['plain_text']}”", since(began))
            case.note(f"{url}/rooms/1 is the room: write there yourself")
        except httpx.HTTPError as error:
            raise CallFailed(f"the stand-in for Campfire at {url}: {error or type(error).__name__}") from None
    return case


def _is_of_campfire(frame: dict[str, Any]) -> bool:
    return bool(frame["room_id"].startswith(ROOM_PREFIX))


def _ends(frame: dict[str, Any], turn_id: str) -> bool:
    return frame["type"] in ENDS and frame["turn"]["turn_id"] == turn_id


def _answer_in(messages: list[dict[str, Any]], known: set[int]) -> dict[str, Any] | None:
    """The first message of a bot that was not there before."""
    return next((each for each in messages if each["id"] not in known and each["creator"]["role"] == "bot"), None)
