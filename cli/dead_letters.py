"""`switchyard dead-letters`: messages that no worker could take, and sending them again."""

import json as jsons
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from cli.calling import calling
from cli.options import All, AsJson, Cursor, Limit, Yes
from cli.screen import EXIT_CODES, confirm, err, fail, out, progress

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer(
    name="dead-letters",
    help="Look at messages no worker could take, and send them again.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard dead-letters ls` lists those there are."
# Letters asked for at a time: their ids go into one URL.
_CHUNK = 200
_POLL_SECONDS = 0.2
# So long nothing may happen before we stop watching.
_PATIENCE_SECONDS = 60.0


@app.command(epilog=EXIT_CODES)
def ls(limit: Limit = 50, cursor: Cursor = None, all: All = False, json: AsJson = False) -> None:
    """List dead letters, the newest first.

    Example: `switchyard dead-letters ls --limit 10`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("ID", "dead_letter_id", whole=True, right=True),
        Column("DIED", "created", whole=True),
        Column("STATE", lambda letter: "sent again" if letter["redriven"] else "kept", whole=True),
        Column("ROUTING KEY", "routing_key"),
        Column("REASON", "reason", comfort=40),
        Column("TRIES", "attempts", whole=True, right=True, spare=1),
        Column("MESSAGE", "message_id", whole=True, spare=2),
    ]
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: _page(client, size, after),
            "dead_letters",
            columns,
            Paging(limit, cursor, all, json),
            empty="There is no dead letter.",
        )


@app.command(epilog=EXIT_CODES)
def show(
    letter: Annotated[int, typer.Argument(metavar="ID", min=1, help="The dead letter's number.")], json: AsJson = False
) -> None:
    """Show one dead letter: why it died, its headers and its body.

    Example: `switchyard dead-letters show 1`
    """
    from cli.pages import print_json
    from cli.tables import member, print_card

    with calling(as_json=json, missing=MISSING) as client:
        text = client.text("GET", f"/api/dead-letters/{letter}")
    if json:
        print_json(text)
        return
    print_card(
        _with_body(member(text, "dead_letter")),
        first=("dead_letter_id", "reason", "exchange", "routing_key", "message_id", "attempts"),
        blocks=("headers", "body"),
    )


@app.command(epilog=EXIT_CODES)
def redrive(
    letters: Annotated[list[int] | None, typer.Argument(metavar="[IDS]", min=1, help="Which ones.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every one that was not sent again yet.")] = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Send dead letters again, to the exchange and routing key they came by, and wait until all are out.

    With --json what became of them: the ids that were sent (`redriven`), can't be (`kept`), or are `missing`.

    Example: `switchyard dead-letters redrive 1 2`
    """
    if all == bool(letters):
        fail("Say which: switchyard dead-letters redrive 1 2, or --all.", 2)
    if all:
        confirm("send every dead letter again", yes=yes)
    with calling(as_json=json) as client:
        ids = _waiting_for_help(client) if all else list(dict.fromkeys(letters or []))
        became = _follow(client, ids)
    if json:
        out.print(jsons.dumps(became))
    else:
        _tell(became)
    if became["kept"]:
        raise typer.Exit(1)
    if became["missing"]:
        raise typer.Exit(4)


def _page(client: "Client", limit: int, cursor: str | None) -> bytes:
    return client.text("GET", "/api/dead-letters", params={"limit": limit, **({"cursor": cursor} if cursor else {})})


def _waiting_for_help(client: "Client") -> list[int]:
    """The letters that were not sent again yet."""
    found: list[int] = []
    cursor = None
    with progress("dead letters found") as bar:
        while True:
            page = jsons.loads(_page(client, 100, cursor))
            ids = [letter["dead_letter_id"] for letter in page["dead_letters"] if letter["redriven"] is None]
            found += ids
            bar.advance(len(ids))
            cursor = page["next"]
            if cursor is None:
                return found


def _follow(client: "Client", ids: list[int]) -> dict[str, list[int]]:
    """Have letters sent again, some at a time, and watch until none waits any more.

    Returns the ids by what became of them; CallFailed when nothing happens for a minute.
    """
    from cli.client import CallFailed

    became: dict[str, list[int]] = {"redriven": [], "kept": [], "missing": []}
    left = list(ids)
    asked: list[int] = []
    moved = time.monotonic()
    with progress("sent again", len(ids)) as bar:
        while left or asked:
            if left and len(asked) <= _CHUNK // 2:
                chunk, left = left[:_CHUNK], left[_CHUNK:]
                client.post("/api/dead-letters/redrive", {"dead_letter_ids": chunk})
                asked += chunk
            states = jsons.loads(client.text("GET", "/api/dead-letters/redrive", params={"dead_letter_id": asked}))
            settled = _settled(asked, states)
            for state, of_state in settled.items():
                became[state] += of_state
            done = {letter for of_state in settled.values() for letter in of_state}
            bar.advance(len(done))
            asked = [letter for letter in asked if letter not in done]
            if done:
                moved = time.monotonic()
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                raise CallFailed(
                    f"{len(asked)} dead letters have waited for {_PATIENCE_SECONDS:g} s to be sent; they will go out "
                    f"when the session worker and the broker are back. {len(left)} more were not asked for.",
                    hint="`switchyard status` shows what is away.",
                )
            if asked:
                time.sleep(_POLL_SECONDS)
    return became


def _settled(asked: Iterable[int], states: dict[str, list[int]]) -> dict[str, list[int]]:
    """Those that wait no longer."""
    known = {letter for of_state in states.values() for letter in of_state}
    return {
        "redriven": states["redriven"],
        "kept": states["kept"],
        "missing": [letter for letter in asked if letter not in known],
    }


def _tell(became: dict[str, list[int]]) -> None:
    sent = len(became["redriven"])
    if sent or not (became["kept"] or became["missing"]):
        out.print(f"{sent:,} {'dead letter was' if sent == 1 else 'dead letters were'} sent again.")
    if kept := became["kept"]:
        err.print(f"Could not be sent, for the session worker's log to tell why: {_ids(kept)}", style="red")
    if missing := became["missing"]:
        err.print(f"No such dead letter: {_ids(missing)}. {MISSING}", style="red", markup=False)


def _ids(letters: list[int]) -> str:
    return ", ".join(map(str, letters[:20])) + (f" and {len(letters) - 20} more" if len(letters) > 20 else "")


def _with_body(letter: bytes) -> bytes:
    """A dead letter whose body, given as text, is what the text holds where that is JSON."""
    import msgspec

    from cli.verbatim import json_value

    members = msgspec.json.decode(letter, type=dict[str, msgspec.Raw])
    with suppress(ValueError):
        members["body"] = json_value(msgspec.json.decode(members["body"], type=str), "body")
    return msgspec.json.encode(members)
