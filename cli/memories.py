"""`switchyard memories`: what sessions remember, in all its versions."""

import json as jsons
from typing import Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, OfSession, SessionId, Yes
from cli.screen import EXIT_CODES, confirm, fail, out

app = typer.Typer(
    name="memories",
    help="List, find, read, store and forget what sessions remember.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard memories ls SESSION` lists those there are."
TYPES = "idea, decision, question, action_item, context, preference, fact or risk"

Key = Annotated[str, typer.Argument(metavar="KEY", help="The memory's key in its session.")]
Type = Annotated[str | None, typer.Option(help=f"Only of this type: {TYPES}.")]
Tag = Annotated[list[str] | None, typer.Option(help="Only with this tag; may be given again.")]
AsOf = Annotated[str | None, typer.Option(help="As it was at this moment: 2026-01-31T12:00:00Z.")]


@app.command(epilog=EXIT_CODES)
def ls(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="Only of the session with this id.")
    ] = None,
    type: Type = None,
    tag: Tag = None,
    as_of: AsOf = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List memories, the newest first.

    Example: `switchyard memories ls demo --type decision --tag queue`
    """
    from cli.pages import Paging
    from cli.tables import Column

    columns = [
        Column("KEY", "key", whole=True),
        Column("TYPE", "type", whole=True),
        Column("CONTENT", "content", comfort=32),
        Column("VER", "version", whole=True, right=True, spare=1),
        Column("TAGS", "tags", spare=3),
        Column("BY", "author", spare=2),
        Column("UPDATED", "updated", whole=True),
    ]
    if session is None:
        columns.insert(0, Column("SESSION", "session_id", whole=True))
    wanted = given(session_id=session, type=type, tags=tag, as_of=as_of)
    _list(wanted, columns, Paging(limit, cursor, all, json))


@app.command(epilog=EXIT_CODES)
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='What to look for; "a phrase", or, -not.')],
    meaning: Annotated[bool, typer.Option("--meaning", help="By sense; needs an embeddings endpoint.")] = False,
    session: OfSession = None,
    type: Type = None,
    tag: Tag = None,
    as_of: AsOf = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """Find memories by what they say, the best first.

    Example: `switchyard memories search postgresql queue --session demo`
    """
    from cli.pages import Paging
    from cli.tables import Column, marked

    columns = [
        Column("RANK", lambda memory: f"{memory['rank'] or 0:.2f}", whole=True, right=True, spare=1),
        Column("SESSION", "session_id", whole=True),
        Column("KEY", "key", whole=True),
        Column("TYPE", "type", whole=True, spare=2),
        Column(
            "FOUND",
            lambda memory: marked(memory["highlight"]) if memory.get("highlight") else memory["content"],
            comfort=40,
        ),
        Column("UPDATED", "updated", whole=True, spare=3),
    ]
    sought = {"meaning" if meaning else "text": " ".join(words)}
    wanted = given(session_id=session, type=type, tags=tag, as_of=as_of, **sought)
    _list(wanted, columns, Paging(limit, cursor, all, json))


@app.command(epilog=EXIT_CODES)
def show(session: SessionId, key: Key, as_of: AsOf = None, json: AsJson = False) -> None:
    """Show one memory whole.

    Example: `switchyard memories show demo plan`
    """
    from cli.pages import print_json
    from cli.tables import member, print_card

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("retrieve_memory", given(session_id=session, key=key, as_of=as_of))
    if json:
        print_json(text)
        return
    print_card(member(text, "memory"), first=("session_id", "key", "type", "tags", "version"), blocks=("content",))


@app.command(epilog=EXIT_CODES)
def history(
    session: SessionId,
    key: Key,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List the versions of a memory, the newest first: who said so, and in which message.

    Example: `switchyard memories history demo plan`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("VER", "version", whole=True, right=True),
        Column("WHEN", "updated", whole=True),
        Column("BY", "author"),
        Column("TYPE", "type", whole=True, spare=1),
        Column("CONTENT", lambda version: "(forgotten)" if version.get("forgotten") else version["content"]),
        Column("MESSAGE", "message_id", whole=True, spare=2),
    ]
    with calling(as_json=json, missing=MISSING) as client:
        print_list(
            lambda size, after: client.result(
                "memory_history", given(session_id=session, key=key, limit=size, cursor=after)
            ),
            "versions",
            columns,
            Paging(limit, cursor, all, json),
            empty=f"The memory {key} has no version after that.",
        )


@app.command(epilog=EXIT_CODES)
def store(
    session: SessionId,
    key: Key,
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="What to remember; - reads standard input.")],
    type: Annotated[str, typer.Option(help=f"One of {TYPES}.")] = "fact",
    tag: Annotated[list[str] | None, typer.Option(help="May be given again.")] = None,
    as_data: Annotated[bool, typer.Option("--data", help="The content is JSON, not text.")] = False,
    if_version: Annotated[int | None, typer.Option(min=0, help="Only while this is the version; 0: if new.")] = None,
    json: AsJson = False,
) -> None:
    """Remember something; an existing key gets a new version.

    Example: `switchyard memories store demo plan 'PostgreSQL first' --type decision --tag queue`
    """
    import sys

    from cli.pages import print_json
    from cli.verbatim import data_of, json_value

    text = sys.stdin.read() if content == "-" else content
    try:
        kept = json_value(text, "CONTENT") if as_data else text
        data = data_of(given(session_id=session, type=type, key=key, content=kept, tags=tag, if_version=if_version))
    except ValueError as error:
        fail(str(error), 2)
    with calling(as_json=json, missing="`switchyard sessions ls` lists the sessions there are.") as client:
        answer = client.result("store_memory", data)
    if json:
        print_json(answer)
        return
    memory = jsons.loads(answer)["memory"]
    out.print(f"Memory {memory['key']} of {memory['session_id']} is at version {memory['version']}.", markup=False)


@app.command(epilog=EXIT_CODES)
def forget(
    session: SessionId,
    key: Key,
    reason: Annotated[str | None, typer.Option(help="Why; kept when the content is not.")] = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Erase a memory's content in all its versions; that it was there is kept.

    Example: `switchyard memories forget demo plan --reason 'it named a customer' --yes`
    """
    from cli.pages import print_json

    confirm(f"erase the memory {key} of session {session} in all its versions", yes=yes)
    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("forget_memory", given(session_id=session, key=key, reason=reason))
    if json:
        print_json(text)
        return
    out.print(f"Memory {key} of {session} is forgotten.", markup=False)


def _list(wanted: dict[str, Any], columns: list[Any], paging: Any) -> None:
    from cli.pages import print_list

    with calling(as_json=paging.as_json) as client:
        print_list(
            lambda size, after: client.result("query_memories", given(**wanted, limit=size, cursor=after)),
            "memories",
            columns,
            paging,
            empty="There is no such memory." if wanted else "There is no memory yet.",
        )
