"""`switchyard hooks`: Claude Code's hooks as actions of its sessions: the settings it needs, and a try."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling
from cli.options import AsJson
from cli.screen import EXIT_CODES, err, fail, harmless, out

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer(
    name="hooks",
    help="Send Claude Code's hooks here: its settings, their installation, and a try.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
Url = Annotated[str | None, typer.Option(help="Where Claude Code finds this Switchyard; else this checkout's own.")]
KeyVariable = Annotated[
    str, typer.Option(help="The variable of Claude Code's environment that holds the key.", metavar="NAME")
]


@app.command("print", epilog=EXIT_CODES)
def print_settings(url: Url = None, key_variable: KeyVariable = "SWITCHYARD_HOOKS_KEY") -> None:
    """Print what a settings.json of Claude Code needs; the key itself is not in it.

    Example: `switchyard hooks print`
    """
    from json import dumps

    typer.echo(dumps({"hooks": _section(url, key_variable)}, indent=2))


@app.command(epilog=EXIT_CODES)
def install(
    project: Annotated[
        Path | None, typer.Option(help="The project whose .claude/settings.json is meant; else this folder.")
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="Your own ~/.claude/settings.json, for every project.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file as it would be; write nothing.")] = False,
    url: Url = None,
    key_variable: KeyVariable = "SWITCHYARD_HOOKS_KEY",
) -> None:
    """Put the hooks into a settings.json of Claude Code; a copy of the file is kept, and its other hooks stay.

    Example: `switchyard hooks install --project . --dry-run`
    """
    import os
    from json import dumps

    from cli.hook_settings import SettingsUnusable, merged, read_settings, write_settings

    if user and project is not None:
        fail("Either --user or --project.", 2)
    section = _section(url, key_variable)
    if user:
        folder = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    else:
        folder = (project or Path()) / ".claude"
        if not folder.parent.is_dir():
            fail(f"There is no folder {folder.parent}.", 2)
    file = folder / "settings.json"
    try:
        before = read_settings(file)
        after = merged(before, section)
        if dry_run:
            typer.echo(dumps(after, indent=2, ensure_ascii=False))
            return
        backup = write_settings(file, after) if after != before else None
    except SettingsUnusable as error:
        fail(f"{file} is left as it is: {error}", 1)
    except OSError as error:
        fail(f"{file} can't be written: {error}", 1)
    if after == before:
        out.print(harmless(f"{file} has these hooks already."), markup=False)
    else:
        kept = f" The one before is {backup}." if backup else ""
        out.print(harmless(f"{file} is written.{kept}"), markup=False)
    if not os.environ.get(key_variable):
        err.print(
            f"{key_variable} is not set here: Claude Code needs it in its environment, a key with the scope publish"
            " (`switchyard keys create claude-hooks --scope publish`).",
            markup=False,
        )


@app.command(epilog=EXIT_CODES)
def test(json: AsJson = False) -> None:
    """Send one hook as Claude Code does, with this checkout's key, and show the action it becomes.

    Example: `switchyard hooks test`
    """
    import secrets
    from json import dumps

    from cli.hook_settings import PATH
    from cli.pages import print_json, print_pretty

    session_id = f"hooks-test-{secrets.token_hex(4)}"
    hook = {
        "session_id": session_id,
        "hook_event_name": "Notification",
        "cwd": str(Path.cwd()),
        "message": "a try by `switchyard hooks test`",
    }
    with calling(as_json=json) as client:
        said = client.text("POST", PATH, content=dumps(hook).encode(), headers={"Content-Type": "application/json"})
        if said != b"{}":
            fail(f"{client.api_url}{PATH} answered {said[:200]!r} where {{}} was expected.", 1)
        action = _action(client, session_id)
    if out.is_terminal and not json:
        print_pretty(action)
    else:
        print_json(action)


def _section(url: str | None, key_variable: str) -> dict[str, Any]:
    import re

    from cli.hook_settings import hooks_section
    from cli.local.environment import ENV_FILE, Environment
    from cli.local.run_file import present

    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_variable):
        fail(f"{key_variable} is no name of a variable.", 2)
    if url is None:
        url = present(Environment.load(ENV_FILE)).api_url
    elif not re.fullmatch(r"https?://[A-Za-z0-9._:/\[\]-]+", url):
        # It stands in a shell command.
        fail(f"{url} is no URL such as https://switchyard.example.com.", 2)
    return hooks_section(url.rstrip("/"), key_variable)


def _action(client: "Client", session_id: str) -> bytes:
    """The session's first action as text, once it is there; a failed call when it takes longer than 10 s."""
    import json
    import time

    from cli.client import CallFailed

    until = time.monotonic() + 10
    while True:
        try:
            actions = json.loads(client.result("get_actions", {"session_id": session_id}))["actions"]
        except CallFailed as error:
            # The hook is on its way: nobody has opened its session yet.
            if error.status != 404:
                raise
            actions = []
        if actions:
            return json.dumps(actions[0], ensure_ascii=False).encode()
        if time.monotonic() > until:
            raise CallFailed("the hook was taken, but no worker has noted it down yet (`switchyard status`)")
        time.sleep(0.05)
