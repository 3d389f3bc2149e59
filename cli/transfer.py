"""`switchyard export` and `switchyard import`: sessions out of one Switchyard, or a store of files, into another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.calling import calling
from cli.options import AsJson, SessionId
from cli.screen import EXIT_CODES, err, fail, progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.records import Record

app = typer.Typer()
PANEL = "What it keeps"
MISSING = "`switchyard sessions ls` lists those there are."


@app.command("export", rich_help_panel=PANEL, epilog=EXIT_CODES)
def export_session(
    session_id: SessionId,
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file or folder; without it, lines go to standard output.")
    ] = None,
    form: Annotated[
        Literal["jsonl", "folder"],
        typer.Option("--format", "-f", help="One file of JSON Lines, or a folder of files as session stores keep it."),
    ] = "jsonl",
    json: AsJson = False,
) -> None:
    """Write down all that a session keeps, so that `switchyard import` brings it back as it was.

    Example: `switchyard export demo --out demo.jsonl`, `switchyard export demo --format folder --out sessions`
    """
    import sys
    from collections import Counter
    from urllib.parse import quote

    from cli.records import exported, line_of, write_lines
    from cli.session_folders import write_folder

    if to is None and (form == "folder" or json):
        fail(f"{'--json' if json else '--format folder'} needs --out: where to write the session.", 2)
    # As a file's name it may hold no slash, and not be `..`.
    name = quote(session_id, safe=" @+=,")
    name = name if name.strip(".") else name.replace(".", "%2E")
    counts: Counter[str] = Counter()

    def counted(records: "Iterable[Record]") -> "Iterator[Record]":
        for record in bar.count(records):
            counts[record.kind] += 1
            yield record

    try:
        with calling(as_json=json, missing=MISSING) as client, progress("records exported") as bar:
            records = counted(exported(client, session_id))
            if to is None:
                for record in records:
                    sys.stdout.buffer.write(line_of(record))
                sys.stdout.buffer.flush()
            elif form == "folder":
                to = to / name
                write_folder(records, to)
            else:
                to = to / f"{name}.jsonl" if to.is_dir() else to
                part = to.with_name(f"{to.name}.part")
                with part.open("wb") as file:
                    write_lines(records, file)
                part.replace(to)
    except BrokenPipeError:
        # Whoever read our lines has had enough.
        raise
    except OSError as error:
        fail(f"{error.filename or to}: {error.strerror or error}")
    if to is not None:
        _print(json, {"session_id": session_id, "path": str(to), "records": dict(counts)}, f"{to}: ", counts.total())


@app.command("import", rich_help_panel=PANEL, epilog=EXIT_CODES)
def import_sessions(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or folder of `export`, or a session store.")],
    session_id: Annotated[
        str | None, typer.Option("--session-id", help="The id the session is to have here; by default its own.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring back sessions that were exported, or that a file-based session storage has kept, as they were.

    Again it changes nothing, and an import that was cut off goes on where it was. A folder may hold many sessions.

    Example: `switchyard import demo.jsonl --session-id demo-2`, `switchyard import /var/claude-sessions`
    """
    from cli.importing import Importer
    from cli.records import read_lines
    from cli.session_folders import read_folder, session_folders

    if not path.exists():
        fail(f"{path} does not exist.", 2)
    try:
        folders = session_folders(path) if path.is_dir() else []
        files = [] if folders or path.is_file() else sorted(path.glob("*.jsonl"))
        sources = [read_folder(each) for each in folders] or [read_lines(each) for each in files or [path]]
        if path.is_dir() and not folders and not files:
            fail(f"{path} holds no session: neither metadata.json, state.json or actions.jsonl, nor *.jsonl files.", 2)
        if session_id is not None and len(sources) > 1:
            fail(f"{path} holds {len(sources)} sessions; --session-id can name only one.", 2)
        with calling(as_json=json) as client, progress("records imported") as bar:
            importer = Importer(client, session_id)
            for source in sources:
                importer.take(bar.count(source))
    except (ValueError, OSError) as error:
        fail(str(error), 2)
    for done in importer.done:
        _print(json, done, f"session {done['session_id']}: ", done["imported"], of=sum(done["records"].values()))


def _print(as_json: bool, document: dict[str, Any], title: str, count: int, of: int | None = None) -> None:
    from json import dumps

    if as_json:
        typer.echo(dumps(document, ensure_ascii=False))
    else:
        err.print(f"{title}{count} records" if of is None else f"{title}{count} of {of} records were new", markup=False)
