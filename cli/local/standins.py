"""Other people's services, stood in for beside a demonstration: the Messages API where there is no key, a Campfire."""

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.local import ports
from cli.local.bots import config_file, declared
from cli.local.environment import ROOT, Environment
from cli.local.processes import write_private
from cli.local.supervisor import Child

# What the stand-in is shown, which takes any.
KEY = "sk-stand-in"
MESSAGES_API = "messages_api"
CAMPFIRE = "campfire"
BOT_NAME = "campfire_bot"
# The source that the stand-in of Campfire is, and what its rooms' ids begin with.
SOURCE = "demo-campfire"
ROOM_PREFIX = "demo-campfire-"
_SOURCE = """

# Added by `switchyard up --demo`.
[sources.{source}]
scheme = "campfire"
url = "{url}"
bot = "{bot}"
secret = "{token}"
room_prefix = "{prefix}"
"""


@dataclass(frozen=True)
class StandIns:
    """The processes, the settings with which services find them, and what the run file says: where each is, by name.

    Beside a Campfire stands the name of the bot in its room, under `BOT_NAME`.
    """

    children: list[Child] = field(default_factory=list)
    values: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def stand_ins(environment: Environment) -> StandIns:
    """Those a demonstration needs with these settings: with a key, bots ask the real Messages API."""
    if environment.get("ANTHROPIC_API_KEY"):
        return _with_campfire(environment, StandIns())
    url = _address(port := ports.free_port())
    values = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
    return _with_campfire(environment, StandIns([_child(MESSAGES_API, port)], values, {MESSAGES_API: url}))


def _with_campfire(environment: Environment, found: StandIns) -> StandIns:
    """The same with a Campfire, whose room has the first bot that is declared in it; without bots there is none."""
    try:
        document = declared(environment)
    except (OSError, ValueError):
        return found  # whoever reads the file next says what is wrong with it
    bots: dict[str, Any] = document.get("bots", {})
    if not bots or SOURCE in document.get("sources", {}):
        return found
    bot_id = next(iter(bots))
    name = bots[bot_id].get("name") or bot_id
    url, token = _address(port := ports.free_port()), secrets.token_urlsafe(24)
    config = environment.data / "demo.toml"
    source = _SOURCE.format(source=SOURCE, url=url, bot=bot_id, token=token, prefix=ROOM_PREFIX)
    _write_config(config_file(environment), config, source)
    webhook = f"{name}={environment.api_url}/webhook/{SOURCE}?token={token}"
    return StandIns(
        [*found.children, _child(CAMPFIRE, port, "--bot", webhook)],
        {**found.values, "SWITCHYARD_CONFIG": str(config)},
        {**found.facts, CAMPFIRE: url, BOT_NAME: name},
    )


def _write_config(given: Path, to: Path, more: str) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    write_private(to, given.read_text(encoding="utf-8").rstrip("\n") + more)


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _child(name: str, port: int, *more: str) -> Child:
    command = [sys.executable, "-m", "standins", name, "--port", str(port), *more]
    return Child(name, command, env=dict(os.environ), cwd=ROOT)
