"""The demonstration's chats: a bot asked by command, with its answer piece by piece, and asked again."""

import time
from typing import Any
from urllib.parse import quote

from cli.client import CallFailed, Client, Feed
from cli.demo_case import Case, awaited, since
from cli.local.bots import INSTALL

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
        return frame["type"] in ENDS and frame["turn"]["turn_id"] == turn["turn_id"]

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
