"""`switchyard keys`: API keys, made, listed and revoked."""

import json as jsons
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit
from cli.screen import EXIT_CODES, err, out

if TYPE_CHECKING:
    from cli.tables import Row

app = typer.Typer(
    name="keys",
    help="Make API keys, list them, and revoke them.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard keys list` lists those there are."

Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name: letters, digits and . _ @ -")]


@app.command(epilog=EXIT_CODES)
def create(
    name: Name,
    scope: Annotated[list[str], typer.Option(help="publish, read, agent or admin; may be given again.")],
    session: Annotated[
        list[str] | None,
        typer.Option(help="Only for this session, or, with a trailing *, ids that begin so; may be given again."),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="What its WebSocket tokens may hear besides; may be given again.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=0, help="Requests a minute at each door; 0: no limit. Else what the settings say.")
    ] = None,
    message_id: Annotated[
        str | None, typer.Option(help="The same id again gives the same key, should its answer have been lost.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Make an API key and print its secret, which nobody can show again.

    Example: `switchyard keys create ci --scope publish --scope read --session 'ci-*' --rate 600`
    """
    from uuid import uuid4

    from cli.client import CallFailed
    from cli.pages import print_json

    message_id = message_id or str(uuid4())
    data = given(name=name, scopes=scope, sessions=session or None, topics=topic or None, rate_per_minute=rate)
    with calling(as_json=json) as client:
        text = client.run("create_key", data, message_id=message_id)
        made = jsons.loads(text)
        if "secret" not in made:
            hint = f"The same command with --message-id {message_id} prints the secret as soon as one has."
            raise CallFailed("the key is about to be made, but no worker has answered in 10 s", hint=hint)
    if json:
        print_json(text)
        return
    err.print(
        f"The key {name}, for {', '.join(made['key']['scopes'])}. This is the only time it is shown:", style="dim"
    )
    out.print(made["secret"], markup=False)


@app.command("list", epilog=EXIT_CODES)
def list_(limit: Limit = 50, cursor: Cursor = None, all: All = False, json: AsJson = False) -> None:
    """List API keys by name, without their secrets.

    Example: `switchyard keys list`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("KEY", "name", whole=True),
        Column("SCOPES", "scopes", whole=True),
        Column("SESSIONS", _bound("sessions")),
        Column("TOPICS", _bound("topics"), spare=2),
        Column("A MINUTE", _rate, whole=True, right=True, spare=1),
        Column("MADE", "created", whole=True, spare=3),
        Column("REVOKED", "revoked", whole=True),
    ]
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("list_keys", given(limit=size, cursor=after)),
            "keys",
            columns,
            Paging(limit, cursor, all, json),
            empty="There is no key but the one in the environment (SWITCHYARD_API_KEY).",
        )


@app.command(epilog=EXIT_CODES)
def revoke(name: Name, json: AsJson = False) -> None:
    """Put an API key out of force within a second, with its tokens and their open connections; for good.

    Example: `switchyard keys revoke ci`
    """
    from cli.pages import print_json

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("revoke_key", {"name": name})
    if json:
        print_json(text)
        return
    out.print(f"The key {name} is revoked.", markup=False)


def _bound(member: str) -> Any:
    def shown(row: "Row") -> Any:
        return "any" if row[member] is None else row[member]

    return shown


def _rate(row: "Row") -> str:
    rate = row["rate_per_minute"]
    return "default" if rate is None else str(rate) if rate else "any"
