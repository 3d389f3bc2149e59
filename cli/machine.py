"""The commands for the stack on this machine: start it, stop it, look at it, try it."""

import os
import runpy
import sys
from typing import Annotated

import typer

from cli.local.environment import ROOT
from cli.screen import fail, out, plain_errors

app = typer.Typer()
_PANEL = "On this machine"


@app.command(rich_help_panel=_PANEL)
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    demo: Annotated[
        bool,
        typer.Option(help="Run the demonstration once everything is ready; without a key bots ask a stand-in."),
    ] = False,
    supervise: Annotated[bool, typer.Option(hidden=True)] = False,
    stand_ins: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start PostgreSQL, RabbitMQ and every service, and print the dashboard's link.

    Example: `switchyard up --detach`
    """
    from cli.up import up

    with plain_errors():
        up(detach=detach, demo=demo, supervise=supervise, stand_ins=stand_ins)


@app.command(rich_help_panel=_PANEL)
def down() -> None:
    """Stop what `switchyard up` started. The data stays.

    Example: `switchyard down`
    """
    from cli.up import down

    with plain_errors():
        down()


@app.command(rich_help_panel=_PANEL)
def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what runs and whether it is ready, with a fresh sign-in link; exit code 1 when something is not ready.

    Example: `switchyard status --json`
    """
    from cli.up import status

    with plain_errors():
        raise typer.Exit(0 if status(as_json=json) else 1)


@app.command(rich_help_panel=_PANEL)
def link(
    url: Annotated[
        str | None, typer.Option(help="Where browsers find the dashboard; else what the settings say.")
    ] = None,
) -> None:
    """Print a link that signs in to the dashboard, once, within 15 minutes.

    Example: `switchyard link --url https://switchyard.example.com`
    """
    from cli.up import sign_in_link

    with plain_errors():
        out.print(sign_in_link(url), soft_wrap=True, highlight=False)


@app.command(rich_help_panel=_PANEL)
def doctor() -> None:
    """Try each dependency and each door with a test event, and say what to mend.

    Example: `switchyard doctor`
    """
    from cli.doctor import doctor

    with plain_errors():
        raise typer.Exit(0 if doctor() else 1)


@app.command(rich_help_panel=_PANEL)
def demo() -> None:
    """Send real cases through a running Switchyard and show what came out, with the time each took.

    Example: `switchyard demo`
    """
    from cli.demo import demo

    with plain_errors():
        raise typer.Exit(0 if demo() else 1)


@app.command(rich_help_panel=_PANEL)
def run(service: Annotated[str, typer.Argument(help="Such as ingress, ws_gateway or memory_worker.")]) -> None:
    """Run one service in the foreground, with the settings of the environment and `.env`.

    Where these name no servers, with those of the stack that runs here: one more gateway beside it wants a port of its
    own, by SWITCHYARD_GATEWAY_PORT.

    Example: `switchyard run memory_worker`
    """
    from cli.local.environment import ENV_FILE, Environment
    from cli.local.run_file import servers

    known = sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))
    if service not in known:
        fail(f"There is no service {service}. There are: {', '.join(known)}", 2)
    with plain_errors():
        os.environ.update(servers(Environment.load(ENV_FILE)))
    sys.argv = [f"services.{service}"]
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


@app.command(rich_help_panel=_PANEL)
def config(reveal: Annotated[bool, typer.Option(help="Show secrets as they are.")] = False) -> None:
    """Print the settings in force and where each comes from.

    Example: `switchyard config`
    """
    from cli.config import config

    with plain_errors():
        config(reveal=reveal)


@app.command("provide-broker", hidden=True)
def provide_broker() -> None:
    """Make sure this machine has a rabbitmq-server, for the tests and the benchmarks."""
    from cli.local.rabbitmq import find_server
    from cli.local.rabbitmq_install import HELP, install

    with plain_errors():
        if not (find_server() or install(out.print)):
            fail(HELP)


@app.command("check-migrations", hidden=True)
def check_migrations() -> None:
    """Migrate an empty PostgreSQL of our own, and check that the tables are those the code declares."""
    from cli.migrations import check

    with plain_errors():
        check()


@app.command("clean-data", hidden=True)
def clean_data() -> None:
    """Remove the data folder."""
    from cli.up import clean_data

    with plain_errors():
        clean_data()
