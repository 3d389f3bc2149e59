"""Other people's services, stood in for beside a demonstration: the Messages API where there is no key."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.local import ports
from cli.local.environment import ROOT, Environment
from cli.local.supervisor import Child

# What the stand-in is shown, which takes any.
KEY = "sk-stand-in"
MESSAGES_API = "messages_api"


@dataclass(frozen=True)
class StandIns:
    """The processes, the settings with which services find them, and what the run file says of them."""

    children: list[Child] = field(default_factory=list)
    values: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)


def stand_ins(environment: Environment) -> StandIns:
    """Those a demonstration needs with these settings: with a key, bots ask the real Messages API."""
    if environment.get("ANTHROPIC_API_KEY"):
        return StandIns()
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}"
    return StandIns(
        [_child(MESSAGES_API, port)],
        {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY},
        {MESSAGES_API: url},
    )


def _child(name: str, port: int, *more: str) -> Child:
    command = [sys.executable, "-m", "standins", name, "--port", str(port), *more]
    return Child(name, command, env=dict(os.environ), cwd=ROOT)
