"""`switchyard chat`: talk to a bot in a room, and see its answer as it is given."""

import getpass
import json as jsons
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling
from cli.options import Yes
from cli.screen import EXIT_CODES, confirm, err, fail, harmless, somebody_there

if TYPE_CHECKING:
    from cli.client import Client, Feed

app = typer.Typer()
ENDS = ("chat_answered", "chat_failed", "chat_dropped", "chat_merged")
_WHY_DROPPED = {
    "busy": "the bot was busy. Say it again when it has answered",
    "interrupted": "a later message took its place",
    "reset": "the conversation was begun anew",
    "budget": "what the bot may use today is used up (`switchyard bots ls --json` says of what)",
    "switched_off": "the bot is switched off (`switchyard bots ls` says by whom)",
    "loop": "too many bots have answered each other",
    "own_message": "that is the bot's own name. Say it under another, with --as",
    "unknown_bot": "the bot is not declared any more",
    "expired": "it waited too long",
}
MISSING = "`switchyard bots ls` lists those there are."


@app.command(rich_help_panel="Doors", epilog=EXIT_CODES)
def chat(
    room: Annotated[str, typer.Argument(help="The room; one nobody has named yet is a new one.")],
    bot: Annotated[str, typer.Argument(help="The bot's id.")],
    text: Annotated[
        str | None, typer.Argument(help="What to say; `-`: standard input. Without it, a line after the other.")
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who says it; by default your user.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Let it forget what was said before, first.")] = False,
    yes: Yes = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 600,
    json: Annotated[
        bool, typer.Option("--json", help="Print each turn, when it has ended, as one line of JSON.")
    ] = False,
) -> None:
    """Talk to a bot; its answer shows as it is given. Ctrl-C leaves: what was said is answered all the same.

    Example: `switchyard chat watercooler assistant 'What is a switchyard?'`
    """
    if reset:
        confirm(f"let {bot} forget what was said in {room}", yes=yes)
    who = name or _user()
    topic = f"chat.{_word(room)}.{_word(bot)}.#"
    with calling(as_json=json, missing=MISSING) as client, suppress(KeyboardInterrupt):
        if reset:
            client.command("reset_chat", {"room_id": room, "bot_id": bot})
        with client.socket([topic]) as feed:
            talk = _Talk(client, feed, room, bot, who, wait, json)
            good = True
            for said in _texts(text, bot):
                good = talk.say(said)
        if not good:
            raise typer.Exit(1)


class _Talk:
    """One person's talk with a bot."""

    def __init__(
        self, client: "Client", feed: "Feed", room: str, bot: str, who: str, wait: float, as_json: bool
    ) -> None:
        self._client = client
        self._feed = feed
        self._asked = {"room_id": room, "bot_id": bot, "user_name": who}
        self._bot = bot
        self._wait = wait
        self._as_json = as_json
        # To a file or a pipe goes the answer that counts, and not what came of an attempt that was given up.
        self._streams = sys.stdout.isatty() and not as_json

    def say(self, text: str) -> bool:
        """Say something and print what becomes of it; whether that was an answer."""
        turn: dict[str, Any] = self._client.ask("chat_message", {**self._asked, "text": text}, "turn")
        if turn["status"] == "dropped":
            return self._end("chat_dropped", turn, "")
        shown, attempt = "", 0
        while True:
            frame = self._feed.next(self._wait)
            if frame["type"] == "chat_delta" and frame["turn_id"] == turn["turn_id"] and self._streams:
                if frame["attempt"] != attempt:
                    if shown:
                        typer.echo("\n… once more:")
                    shown, attempt = "", frame["attempt"]
                shown += frame["text"]
                typer.echo(harmless(frame["text"]), nl=False)
            elif frame["type"] in ENDS and frame["turn"]["turn_id"] == turn["turn_id"]:
                return self._end(frame["type"], frame["turn"], shown)

    def _end(self, kind: str, turn: dict[str, Any], shown: str) -> bool:
        if self._as_json:
            typer.echo(jsons.dumps(turn, ensure_ascii=False))
            return kind == "chat_answered"
        answer = turn["answer"] or ""
        if kind == "chat_answered":
            left = answer.removeprefix(shown)
            # What was shown is not how it ends: the whole again.
            typer.echo(harmless(left if left != answer or not shown else f"\n{answer}"))
            if self._streams:
                err.print(harmless(_took(turn)), style="dim", markup=False)
            return True
        if shown:
            typer.echo("")
        said = {
            "chat_failed": answer,
            "chat_dropped": f"Not answered: {_WHY_DROPPED.get(turn['reason'], turn['reason'])}.",
            "chat_merged": "Answered together with what was said before.",
        }[kind]
        err.print(harmless(said), style="red", markup=False)
        return False


def _took(turn: dict[str, Any]) -> str:
    seconds = sum(turn[name] or 0 for name in ("waited_ms", "connect_ms", "answer_ms")) / 1000
    tokens = turn["input_tokens"] + turn["output_tokens"]
    return f"({turn['path']}, {seconds:.1f} s, {tokens:,} tokens, ${turn['cost_usd']:.4f})"


def _texts(text: str | None, bot: str) -> Iterator[str]:
    """What is to be said: the argument, standard input, or lines as they are typed."""
    if text is not None and text != "-":
        yield text
    elif text == "-" or not somebody_there():
        if not (whole := sys.stdin.read()).strip():
            fail("There is nothing to say: standard input is empty.", 2)
        yield whole
    else:
        err.print(f"Talking to {harmless(bot)}; an empty line or Ctrl-D ends.", style="dim", markup=False)
        with suppress(EOFError):
            while line := input("> "):
                yield line


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "somebody"


def _word(text: str) -> str:
    """An id as it stands in a routing key."""
    return re.sub(r"[.*# ]", "_", text)
