"""The `switchyard` command."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.local.environment import ROOT
from cli.screen import fail, out, plain_errors

app = typer.Typer(
    name="switchyard",
    help="An event bus for AI agents: webhooks and commands in, a live WebSocket out.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    demo: Annotated[bool, typer.Option(help="Run the demonstration once everything is ready.")] = False,
    supervise: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start PostgreSQL, RabbitMQ and every service, and print the dashboard's link.

    Example: `switchyard up --detach`
    """
    from cli.up import up

    with plain_errors():
        up(detach=detach, demo=demo, supervise=supervise)


@app.command()
def down() -> None:
    """Stop what `switchyard up` started. The data stays.

    Example: `switchyard down`
    """
    from cli.up import down

    with plain_errors():
        down()


@app.command()
def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what runs and whether it is ready, with a fresh sign-in link; exit code 1 when something is not ready.

    Example: `switchyard status --json`
    """
    from cli.up import status

    with plain_errors():
        raise typer.Exit(0 if status(as_json=json) else 1)


@app.command()
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


@app.command()
def doctor() -> None:
    """Try each dependency and each door with a test event, and say what to mend.

    Example: `switchyard doctor`
    """
    from cli.doctor import doctor

    with plain_errors():
        raise typer.Exit(0 if doctor() else 1)


@app.command()
def demo() -> None:
    """Send real cases through a running Switchyard and show what came out, with the time each took.

    Example: `switchyard demo`
    """
    from cli.demo import demo

    with plain_errors():
        raise typer.Exit(0 if demo() else 1)


@app.command()
def run(service: Annotated[str, typer.Argument(help="Such as ingress, ws_gateway or memory_worker.")]) -> None:
    """Run one service in the foreground, with the settings of the environment and `.env`.

    Example: `switchyard run memory_worker`
    """
    known = sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))
    if service not in known:
        fail(f"There is no service {service}. There are: {', '.join(known)}", 2)
    sys.argv = [f"services.{service}"]
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


@app.command()
def config(reveal: Annotated[bool, typer.Option(help="Show secrets as they are.")] = False) -> None:
    """Print the settings in force and where each comes from.

    Example: `switchyard config`
    """
    from cli.config import config

    with plain_errors():
        config(reveal=reveal)


@app.command()
def send(
    command: Annotated[str, typer.Argument(help="Such as store_memory; /docs of the API lists them all.")],
    fields: Annotated[list[str] | None, typer.Argument(help="key=text or key:=JSON.")] = None,
    data: Annotated[
        str | None, typer.Option(help="The data as one JSON object; - reads it from standard input.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the reply; 0 returns at once.")] = 10,
    message_id: Annotated[str | None, typer.Option(help="The same id again gives the same reply.")] = None,
) -> None:
    """Send a command and print its result.

    Example: `switchyard send store_memory session_id=s1 type=fact content='Tests pass' tags:='["ci"]'`
    """
    from cli.send import send

    send(command, fields or [], data=data, wait_s=wait, message_id=message_id)


@app.command()
def tail(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Patterns of routing keys; * is one word, # any number.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Begin after this cursor, or with the `last` event.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", help="End after so many events.")] = None,
) -> None:
    """Print events as they happen.

    Example: `switchyard tail 'memory.#' --since last --json`
    """
    from cli.client import CallFailed
    from cli.tail import tail

    try:
        tail(topics or ["#"], since=since, as_json=json, count=count)
    except CallFailed as error:
        fail(str(error))


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


def main() -> None:
    """Run the command line; the checkout is importable from wherever it is called."""
    if (root := str(ROOT)) not in [str(Path(path).resolve()) for path in sys.path if path]:
        sys.path.insert(0, root)
    app()


if __name__ == "__main__":
    main()
