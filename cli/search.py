"""`switchyard search`: full text over everything that sessions keep."""

from typing import Annotated

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, OfSession
from cli.screen import EXIT_CODES

app = typer.Typer()


@app.command(rich_help_panel="Doors", epilog=EXIT_CODES)
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='What to look for; "a phrase", or, -not.')],
    session: OfSession = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only a chunk, memory or artifact; may be given again.")
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """Find conversation, memories and artifacts by what they say, the best first.

    Example: `switchyard search postgresql queue --kind memory --kind artifact`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column, marked

    columns = [
        Column("KIND", "kind", whole=True),
        Column("SESSION", "session_id", whole=True),
        Column("ID", "id", whole=True, spare=1),
        Column("TITLE", "title", spare=2),
        Column("FOUND", lambda hit: marked(hit["highlight"]), comfort=40),
        Column("WHEN", "created", whole=True, spare=3),
    ]
    wanted = given(q=" ".join(words), session_id=session, kinds=kind)
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("search", given(**wanted, limit=size, cursor=after)),
            "hits",
            columns,
            Paging(limit, cursor, all, json),
            empty=f"Nothing says {' '.join(words)}.",
        )
