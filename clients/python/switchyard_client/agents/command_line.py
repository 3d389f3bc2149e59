"""The options of `switchyard agent run`, and what is done with them."""

import argparse
import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from switchyard_client.agents.options import GRACE_SECONDS, SPOOL_BYTES, Options
from switchyard_client.agents.recipes import RECIPES
from switchyard_client.agents.runner import Runner
from switchyard_client.agents.surroundings import repository_fault
from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused, SwitchyardError
from switchyard_client.tokens import TokenSource, token_by_key, token_from_file, token_given

GATEWAY_URL = "ws://127.0.0.1:8001/ws"

_EPILOG = """\
Each task of the agent NAME is claimed, and COMMAND is started for it: with the task as JSON on its standard input and
in SWITCHYARD_TASK (also SWITCHYARD_TASK_FILE, _TASK_ID, _SESSION_ID). Its result is what it writes into the file that
SWITCHYARD_RESULT names, else the last line of its standard output if that is JSON. Exit code 0: the task is completed;
another: it has failed, and is tried again.

Where: SWITCHYARD_GATEWAY_URL (ws://… or wss://…). Who: a token in SWITCHYARD_TOKEN, or in the file that
SWITCHYARD_TOKEN_FILE names; or SWITCHYARD_API_KEY and SWITCHYARD_API_URL, with which tokens are asked for as needed.
A token: curl -X POST $API/api/tokens -H "X-API-Key: $KEY" -d '{"agent_id": "laptop", "permission": "active"}'

Example: switchyard agent run reviewer -- ./review.sh
         switchyard agent run claude_code --recipe claude --concurrency 2 --workdir work --git-worktree
         switchyard agent run codex --recipe codex -- --model gpt-5-codex
         switchyard agent run nightly --once -- make test
         switchyard agent run repl --once --pty -- python3

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not let in, or told to stop while the gateway was away and
something could not be told, 4 not found; with --once else that of the command.
"""


def parser(program: str) -> argparse.ArgumentParser:
    """The options there are."""
    found = argparse.ArgumentParser(
        program,
        usage=f"{program} NAME [options] -- COMMAND…",
        description="Have a command do an agent's tasks, under the control of whoever may control it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = found.add_argument
    add("name", metavar="NAME", help="the agent whose tasks are done")
    add("command", metavar="COMMAND", nargs="*", help="the command and its arguments; for a recipe, further arguments")
    add("--once", action="store_true", help="no tasks: run COMMAND by itself, as a session of its own")
    add("--recipe", choices=sorted(RECIPES), default="shell", help="an agent that is known here")
    add("--concurrency", "-c", type=_count, default=1, metavar="N", help="tasks at once (1)")
    add("--count", type=_count, metavar="N", help="end after so many tasks")
    add("--capability", action="append", default=[], metavar="WORD", help="what it can do; may be given again")
    add("--pty", action="store_true", help="a terminal instead of pipes: the task is in the environment only")
    add("--interactive", "-i", action="store_true", help="keep the input open behind the task, for send_input")
    add("--workdir", type=Path, metavar="DIR", help="each task has a folder of its own in DIR")
    add(
        *("--git-worktree",),
        nargs="?",
        const=Path(),
        type=Path,
        metavar="REPOSITORY",
        help="the folder is a worktree of this repository (the one here), removed unless there is something new in it",
    )
    add("--env", action="append", default=[], metavar="NAME", help="pass a variable on; NAME=value sets it")
    add("--timeout", type=_seconds, metavar="SECONDS", help="end a command that takes longer; it has failed then")
    add("--grace", type=_seconds, default=GRACE_SECONDS, metavar="SECONDS", help="for what is in hand at SIGTERM (30)")
    add("--restart", choices=("never", "on-failure", "always"), default="never", help="with --once: start it again")
    add("--title", metavar="TEXT", help="with --once: the title of its session")
    add("--worker-id", metavar="ID", help="who claims (host name and process id)")
    add(
        "--spool-mb",
        type=_count,
        default=SPOOL_BYTES >> 20,
        metavar="N",
        help="disk for output while disconnected (64)",
    )
    add("--url", metavar="URL", help="the gateway, instead of SWITCHYARD_GATEWAY_URL")
    add("--token-file", type=Path, metavar="FILE", help="where the token stands, instead of SWITCHYARD_TOKEN_FILE")
    return found


def run(
    words: Sequence[str], *, program: str = "switchyard agent run", environ: Mapping[str, str] | None = None
) -> int:
    """Do what the words say; returns the exit code. `environ`: settings, instead of those of the environment."""
    settings = os.environ if environ is None else environ
    found = parser(program)
    words, command = _parted(words)
    given = found.parse_intermixed_args(words)
    command = [*given.command, *command]
    recipe = RECIPES[given.recipe]
    if not command and not recipe.command:
        found.error("there is no COMMAND; it comes behind --")
    if len(command) == 1 and re.search(r"\s", command[0]):
        command = ["sh", "-c", command[0]]
    if given.restart != "never" and not given.once:
        found.error("--restart is for --once: tasks are tried again by the server")
    if given.once and recipe.prompted:
        found.error(f"--once has no task to tell {recipe.name}: give the command itself, without a recipe")
    options = Options(
        agent_name=given.name,
        command=command,
        recipe=recipe,
        terminal=given.pty,
        interactive=given.interactive,
        concurrency=given.concurrency,
        capabilities=given.capability,
        workdir=given.workdir,
        repository=given.git_worktree and given.git_worktree.resolve(),
        allowed=given.env,
        timeout_s=given.timeout,
        grace_s=given.grace,
        restart=given.restart,
        count=given.count,
        spool_bytes=given.spool_mb << 20,
        worker_id=given.worker_id or "",
        title=given.title,
    )
    # Each task that comes would be spent on it.
    if options.repository and (fault := asyncio.run(repository_fault(options.repository))):
        found.error(f"argument --git-worktree: {fault}")
    url = given.url or settings.get("SWITCHYARD_GATEWAY_URL") or GATEWAY_URL
    if fault := _url_fault(url):
        found.error(f"{'argument --url' if given.url else 'SWITCHYARD_GATEWAY_URL'}: {fault}")
    source = token_source(given.name, settings, given.token_file)
    if source is None:
        found.error("no token: set SWITCHYARD_TOKEN, SWITCHYARD_TOKEN_FILE or SWITCHYARD_API_KEY (--help says how)")
    logging.basicConfig(level=logging.WARNING, format="switchyard: %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_run(Connection(url, source), options, once=given.once))
    except CommandRefused as refused:
        _say(str(refused))
        if refused.code == "not_found" and not given.once:
            _say(f"make it known: switchyard send register_agent name={given.name} type={given.recipe}")
        return 4 if refused.code == "not_found" else 1
    except SwitchyardError as error:
        _say(str(error))
        return 3


def token_source(name: str, settings: Mapping[str, str], file: Path | None) -> TokenSource | None:
    """Where tokens come from, as the settings have it."""
    if file or settings.get("SWITCHYARD_TOKEN_FILE"):
        return token_from_file(file or Path(settings["SWITCHYARD_TOKEN_FILE"]))
    if token := settings.get("SWITCHYARD_TOKEN"):
        return token_given(token)
    if key := settings.get("SWITCHYARD_API_KEY"):
        api_url = settings.get("SWITCHYARD_API_URL") or "http://127.0.0.1:8000"
        # An agent has one active connection, and there may be several runners of a name.
        return token_by_key(api_url, key, f"{name}@{socket.gethostname()}-{os.getpid()}")
    return None


async def _run(bus: Connection, options: Options, *, once: bool) -> int:
    runner = Runner(bus, options, _say)
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def on_signal() -> None:
        told.append(1)
        if len(told) > 1:
            os._exit(130)  # the warden ends what is left
        runner.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    try:
        if not once:
            await runner.work()
            return 0
        ending = await runner.once()
        _say(ending.told)
        return min(255, ending.exit_code if ending.exit_code is not None else 1)
    finally:
        await bus.close()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _url_fault(url: str) -> str | None:
    """Why this can't be the URL of a gateway; it is not shown, as it may hold a password."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss"):
            return None if parts.hostname and parts.port != 0 else "it names no host"
    except ValueError as error:
        return str(error)
    other = "wss" if parts.scheme == "https" else "ws"
    begins = f"not with {parts.scheme}://" if "://" in url else "this names no scheme"
    return f"a gateway's URL begins with ws:// or wss://, {begins}: write {other}://HOST:PORT/ws"


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return list(words), []
    at = list(words).index("--")
    return list(words[:at]), list(words[at + 1 :])


def _say(text: str) -> None:
    print(f"switchyard: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 10000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 10**9:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value
