"""Options that many commands have."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask first.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="Entries on a page.")]
Cursor = Annotated[str | None, typer.Option(help="Begin where a page before this one ended: its `next`.")]
All = Annotated[bool, typer.Option("--all", help="Every page; with --json one entry on each line.")]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]
OfSession = Annotated[str | None, typer.Option("--session", "-s", help="Only of the session with this id.")]
