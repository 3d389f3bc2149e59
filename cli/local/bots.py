"""What bots need on this machine: the Claude Agent SDK with its Claude Code, a credential, and to be declared."""

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from cli.local.environment import ENV_FILE, ROOT, Environment

SDK = "claude-agent-sdk"
INSTALL = "deploy/bootstrap claude   (or, in the checkout: pip install '.[claude]')"


def sdk_version() -> str | None:
    """The version of the SDK that is installed; None when it is not."""
    try:
        return importlib.metadata.version(SDK)
    except importlib.metadata.PackageNotFoundError:
        return None


def claude_code() -> Path | None:
    """The Claude Code that comes with the SDK; None when there is none."""
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is None or found.origin is None:
        return None
    executable = Path(found.origin).parent / "_bundled" / "claude"
    return executable if executable.exists() else None


def config_file(environment: Environment) -> Path:
    """The file that declares bots and sources, as services find it, which run in the checkout."""
    return ROOT / Path(environment.get("SWITCHYARD_CONFIG", "switchyard.toml")).expanduser()


def declared(environment: Environment) -> dict[str, Any]:
    """What that file says, `{}` when there is none; raises OSError or ValueError when it can't be read."""
    file = config_file(environment)
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def declared_bots(environment: Environment) -> list[str]:
    """The ids of the bots that are declared; none as well when the file can't be read, which services complain of."""
    try:
        return list(declared(environment).get("bots", {}))
    except (OSError, ValueError):
        return []


def what_is_missing(environment: Environment) -> list[str]:
    """Sentences on why the declared bots can't answer, each with what mends it; empty when they can, or are none."""
    if not declared_bots(environment):
        return []
    missing = []
    if sdk_version() is None:
        missing.append(f"the Claude Agent SDK is not installed: {INSTALL}")
    if not environment.get("ANTHROPIC_API_KEY"):
        file = ENV_FILE.resolve()
        missing.append(f"no credential for Claude: set ANTHROPIC_API_KEY in {file}, or see them with `make up DEMO=1`")
    return missing
