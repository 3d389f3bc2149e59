"""`switchyard approvals`: tools that bots have asked to be allowed."""

import json as jsons
from typing import Annotated

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit
from cli.screen import EXIT_CODES, out

app = typer.Typer(
    name="approvals",
    help="List the tools that bots have asked to be allowed, allow one or refuse it.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard approvals ls` lists those there are."

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]
Note = Annotated[str | None, typer.Option(help="Why; the bot hears it when it is refused.")]


@app.command(epilog=EXIT_CODES)
def ls(
    room: Annotated[str | None, typer.Option(help="Only those of this room.")] = None,
    bot: Annotated[str | None, typer.Option(help="Only those of this bot.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those that are pending, approved, denied or expired.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List approvals, the newest first.

    Example: `switchyard approvals ls --status pending`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("APPROVAL", "approval_id", whole=True),
        Column("STATUS", "status", whole=True),
        Column("TOOL", "tool", whole=True),
        Column("WITH", "input", comfort=24),
        Column("BOT", "bot_id", spare=2),
        Column("ROOM", "room_id", spare=3),
        Column("BY", "decided_by", spare=4),
        Column("UNTIL", "expires", whole=True, spare=1),
    ]
    wanted = given(room_id=room, bot_id=bot, status=status)
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("list_approvals", given(**wanted, limit=size, cursor=after)),
            "approvals",
            columns,
            Paging(limit, cursor, all, json),
            empty="There is no such approval." if wanted else "No bot has asked for anything yet.",
        )


@app.command(epilog=EXIT_CODES)
def approve(approval: ApprovalId, note: Note = None, json: AsJson = False) -> None:
    """Let a bot use the tool it has asked for, this once.

    Example: `switchyard approvals approve 0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50`
    """
    _decide("approve", approval, note, as_json=json)


@app.command(epilog=EXIT_CODES)
def deny(approval: ApprovalId, note: Note = None, json: AsJson = False) -> None:
    """Refuse a bot the tool it has asked for; it goes on without.

    Example: `switchyard approvals deny 0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50 --note 'not on a Friday'`
    """
    _decide("deny", approval, note, as_json=json)


def _decide(command: str, approval_id: str, note: str | None, *, as_json: bool) -> None:
    from cli.pages import print_json

    with calling(as_json=as_json, missing=MISSING) as client:
        text = client.result(command, given(approval_id=approval_id, note=note))
    if as_json:
        print_json(text)
        return
    decided = jsons.loads(text)["approval"]
    out.print(f"{decided['tool']} of bot {decided['bot_id']} is {decided['status']}.", markup=False)
