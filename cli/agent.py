"""`switchyard agent`: processes on this machine that do tasks, or run by themselves, under control.

What does it is the Python client package, which also works without us; here are its options and our settings.
"""

import sys

import typer
from typer.core import TyperCommand

from cli.local.environment import ENV_FILE, ROOT, Environment
from cli.screen import EXIT_CODES, plain_errors

app = typer.Typer(
    name="agent",
    help="Have a command do an agent's tasks.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
_CLIENT = ROOT / "clients" / "python"


class _AsTyped(TyperCommand):
    """A command whose words, `--` and `--help` among them, are read by the package that knows them."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        ctx.args = list(args)
        return []


@app.command(cls=_AsTyped, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(ctx: typer.Context) -> None:
    """Claim an agent's tasks and run a command for each; with --once, run one by itself as a session.

    Example: `switchyard agent run reviewer -- ./review.sh`
    """
    if _CLIENT.is_dir() and str(_CLIENT) not in sys.path:
        sys.path.insert(0, str(_CLIENT))
    from cli.local.run_file import present
    from switchyard_client.agents.command_line import run

    with plain_errors():
        environment = present(Environment.load(ENV_FILE))
        here = {"SWITCHYARD_GATEWAY_URL": environment.gateway_url, "SWITCHYARD_API_URL": environment.api_url}
    given = {name: value for name, value in environment.values.items() if value}
    raise typer.Exit(run(ctx.args, environ={**here, **given}))
