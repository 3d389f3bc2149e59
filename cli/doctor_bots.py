"""What the doctor tries of bots: the SDK, Claude Code, the credential, their workers, and their Campfires."""

import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import httpx

from cli.client import Client
from cli.doctor_finding import Finding, tried
from cli.local.bots import INSTALL, claude_code, config_file, declared, sdk_version
from cli.local.environment import Environment
from cli.local.processes import LocalError

API = "https://api.anthropic.com"
PARTITIONS = 16
_SECONDS = 10.0


def bots(environment: Environment) -> Iterator[Finding]:
    """Try what the declared bots need; `environment` is what the services were started with."""
    file = config_file(environment)
    try:
        document = declared(environment)
    except (OSError, ValueError) as error:
        yield Finding(False, "Bots", f"{file}: {error}", "mend the file; docs/chat.md says what it may hold")
        return
    found: dict[str, Any] = document.get("bots", {})
    yield Finding(True, "Bots", ", ".join(found) or f"none are declared in {file}")
    if found:
        yield from _sdk()
        yield _credential(environment)
        yield from _workers(environment)
    for name, source in document.get("sources", {}).items():
        if source.get("scheme") == "campfire":
            yield _campfire(name, source, found, environment)


def _sdk() -> Iterator[Finding]:
    version, executable = sdk_version(), claude_code()
    yield Finding(version is not None, "Claude Agent SDK", version or "not installed", INSTALL)
    if version is None:
        return
    if executable is None:
        yield Finding(False, "Claude Code", "the SDK came without it", f"install the SDK anew: {INSTALL}")
        return

    def start() -> str:
        with tempfile.TemporaryDirectory() as home:
            told = {"HOME": home, "PATH": "/usr/bin:/bin", "DISABLE_AUTOUPDATER": "1"}
            done = subprocess.run(
                [executable, "--version"], env=told, capture_output=True, text=True, timeout=30, check=False
            )
        if done.returncode:
            raise LocalError(f"it ends with {done.returncode}: {(done.stderr or done.stdout).strip()[:200]}")
        return done.stdout.strip()

    yield tried("Claude Code", start, f"{executable} --version says more; install the SDK anew: {INSTALL}")


def _credential(environment: Environment) -> Finding:
    """Whether there is one and it is accepted; to list the models costs nothing."""
    key, base = environment.get("ANTHROPIC_API_KEY"), environment.get("ANTHROPIC_BASE_URL", API).rstrip("/")
    what = "Credential for Claude"
    if not key:
        mend = "set ANTHROPIC_API_KEY in .env; `make up DEMO=1` shows bots without one"
        seen = "ANTHROPIC_API_KEY is not set: bots say so in the room, and answer nothing"
        return Finding(True, what, seen, advice=mend)
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    try:
        status = httpx.get(f"{base}/v1/models?limit=1", headers=headers, timeout=_SECONDS).status_code
    except httpx.HTTPError as error:
        seen = f"set, but {base} does not answer ({error or type(error).__name__})"
        return Finding(False, what, seen, "is this machine online, and ANTHROPIC_BASE_URL right?")
    except ValueError:
        # A header can't hold it.
        return Finding(False, what, "ANTHROPIC_API_KEY is no key: it holds letters no key has", "copy it again")
    if status in (401, 403):
        return Finding(False, what, f"{base} does not accept it ({status})", "put a valid key into ANTHROPIC_API_KEY")
    if status == 200:
        return Finding(True, what, f"accepted by {base}")
    return Finding(status < 500, what, f"set; {base} answers {status} when asked for its models", "try again later")


def _workers(environment: Environment) -> Iterator[Finding]:
    def ask() -> dict[str, Any]:
        with Client(environment) as client:
            stats = client.command("chat_stats", {})
        if "workers" not in stats:
            raise LocalError("no worker has answered chat_stats")
        return stats

    stats: dict[str, Any] = {}

    def alive() -> str:
        stats.update(ask())
        workers = stats["workers"]
        owned = {partition for worker in workers for partition in worker.get("partitions", [])}
        if not workers:
            raise LocalError("none says that it lives")
        # That there is no credential was said already.
        if obstacles := {worker.get("obstacle") for worker in workers} - {None, "no_credential"}:
            raise LocalError(f"they can't answer: {', '.join(sorted(obstacles))}")
        if len(owned) < PARTITIONS:
            raise LocalError(f"{len(owned)} of {PARTITIONS} partitions are owned by {len(workers)} worker(s)")
        return f"{len(workers)} of them, with all {PARTITIONS} partitions"

    mend = "start claude_worker (`make up`), or again if the SDK or the credential came since; its log says more"
    yield tried("Workers of bots", alive, mend)
    if not stats:
        return
    pool = stats["pool"]
    seen = f"{pool['clients']} of {pool['max_clients']} clients, {stats['queue']['queued']} message(s) waiting"
    yield Finding(True, "Pool of clients", seen)
    if off := [bot["bot_id"] for bot in stats.get("bots", []) if not bot["on"]]:
        yield Finding(True, "Switched off", f"{', '.join(off)} (`switchyard bots on NAME` switches one on)")


def _campfire(name: str, source: dict[str, Any], bots: dict[str, Any], environment: Environment) -> Finding:
    """Whether the bot of a source is there, and its Campfire answers."""
    what = f"Campfire source {name}"
    bot, url = source.get("bot") or name, source.get("url") or environment.get("CAMPFIRE_URL")
    if bot not in bots:
        mend = f"declare [bots.{bot}], or name another by `bot`"
        return Finding(False, what, f"there is no bot {bot}: what comes is an event, and nobody answers", mend)
    if not url:
        return Finding(False, what, "nothing says where it is", "set its `url`, or CAMPFIRE_URL in .env")
    try:
        status = httpx.get(url, timeout=_SECONDS).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            False, what, f"{url} does not answer ({error or type(error).__name__})", "is it up, and `url` right?"
        )
    return Finding(status < 500, what, f"{url} answers {status}, {bot} talks there", "look at Campfire's own log")
