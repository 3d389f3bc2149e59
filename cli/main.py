"""The `switchyard` command: every area of it hangs in here.

A module of commands has a `typer.Typer` named `app`. `--help` imports them all, so they import at the top no more than
typer and `cli.screen`; what a command needs to do its work, it imports in its function.
"""

import sys
from pathlib import Path

import typer

from cli import (
    agent,
    approvals,
    audit,
    bots,
    chat,
    dead_letters,
    hooks,
    keys,
    machine,
    memories,
    search,
    send,
    sessions,
    sidebars,
    tail,
    tasks,
    transfer,
)
from cli.local.environment import ROOT
from cli.screen import EXIT_CODES

app = typer.Typer(
    name="switchyard",
    help="An event bus for AI agents: webhooks and commands in, a live WebSocket out.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)

# Commands at the top: `switchyard up`.
for module in (machine, send, tail, chat, search, audit, transfer):
    app.add_typer(module.app)
# Commands under the name of their area: `switchyard sessions ls`.
for area in (sessions, sidebars, tasks, agent, bots, approvals, memories, dead_letters, hooks, keys):
    app.add_typer(area.app, rich_help_panel="What it keeps")


def main() -> None:
    """Run the command line; the checkout is importable from wherever it is called."""
    if (root := str(ROOT)) not in [str(Path(path).resolve()) for path in sys.path if path]:
        sys.path.insert(0, root)
    app()


if __name__ == "__main__":
    main()
