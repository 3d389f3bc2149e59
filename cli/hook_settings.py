"""The hooks section of Claude Code's settings that sends every hook to this Switchyard, and merging it into a file."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATH = "/hooks/claude"
# The variable of Claude Code's environment that holds the key; its value is never written anywhere.
KEY_VARIABLE = "SWITCHYARD_HOOKS_KEY"
# Not PostToolBatch, which repeats what PostToolUse has said of each call.
HTTP_EVENTS = (
    "UserPromptSubmit", "PreToolUse", "PermissionRequest", "PostToolUse", "PostToolUseFailure", "Notification",
    "SubagentStart", "SubagentStop", "Stop", "StopFailure", "PreCompact", "PostCompact", "SessionEnd",
)  # fmt: skip
# Claude Code takes no HTTP hooks for these.
COMMAND_EVENTS = ("SessionStart", "Setup")
# Claude Code waits for a hook; ours answers in milliseconds, and no answer does no harm.
SECONDS = 5
# What every command of ours has, by which it is known again.
_MARK = f"{PATH} 3<<SWITCHYARD"


class SettingsUnusable(Exception):
    """A settings file that can't be merged into; the text says why."""


def hooks_section(api_url: str, variable: str = KEY_VARIABLE) -> dict[str, Any]:
    """The `hooks` of Claude Code's settings."""
    http = {
        "type": "http",
        "url": api_url + PATH,
        "headers": {"X-API-Key": f"${variable}"},
        "allowedEnvVars": [variable],
        "timeout": SECONDS,
    }
    command = {"type": "command", "command": curl_command(api_url, variable), "timeout": SECONDS}
    return {
        **{event: [{"hooks": [command]}] for event in COMMAND_EVENTS},
        **{event: [{"hooks": [http]}] for event in HTTP_EVENTS},
    }


def curl_command(api_url: str, variable: str = KEY_VARIABLE) -> str:
    """A shell command that sends its standard input to the door, and never fails nor says anything.

    The key goes by a here-document: an argument would show it to every user of the machine. Standard input stays where
    it is: Claude Code gives a socket, which can't be opened a second time. The Idempotency-Key tells two starts of one
    session apart, which may look the same.
    """
    return (
        f"curl -s -m {SECONDS - 1} -o /dev/null -H @/dev/fd/3 -H 'Content-Type: application/json'"
        f' -H "Idempotency-Key: $$-$(date +%s)" --data-binary @- {api_url}{_MARK} 2>/dev/null || true\n'
        f"X-API-Key: ${variable}\nSWITCHYARD\n"
    )


def merged(settings: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """The settings with the section's hooks, in place of those that an earlier one put there; all else stays.

    Raises SettingsUnusable.
    """
    before = settings.get("hooks", {})
    if not isinstance(before, dict) or not all(isinstance(groups, list) for groups in before.values()):
        raise SettingsUnusable("its `hooks` is not an object of lists")
    kept = {event: [left for group in groups if (left := _without_ours(group))] for event, groups in before.items()}
    events = [*kept, *(event for event in section if event not in kept)]
    hooks = {event: [*kept.get(event, []), *section.get(event, [])] for event in events}
    return {**settings, "hooks": {event: groups for event, groups in hooks.items() if groups}}


def read_settings(file: Path) -> dict[str, Any]:
    """A settings file; empty when there is none. Raises SettingsUnusable."""
    try:
        settings = json.loads(file.read_text() or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsUnusable(str(error)) from None
    if not isinstance(settings, dict):
        raise SettingsUnusable("it is not a JSON object")
    return settings


def write_settings(file: Path, settings: dict[str, Any]) -> Path | None:
    """Write a settings file whole or not at all; the one there before is kept beside it, and returned. Raises OSError.

    An earlier copy is never written over.
    """
    # A link leads to the file that is meant.
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    backup, mode = None, 0o600
    if file.exists():
        mode = file.stat().st_mode & 0o777
        backup = _save(file)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w") as written:
            written.write(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink()
        raise
    return backup


def _save(file: Path) -> Path:
    number = 0
    while True:
        backup = file.with_name(f"{file.name}.before-switchyard" + (f".{number}" if number else ""))
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(handle, "wb") as written:
            written.write(file.read_bytes())
        return backup


def _without_ours(group: Any) -> Any:
    """A group of hooks without those that go to a Switchyard; None when nothing is left of it."""
    if not isinstance(group, dict) or not isinstance(group.get("hooks"), list):
        return group
    left = [hook for hook in group["hooks"] if not _is_ours(hook)]
    return {**group, "hooks": left} if left or not group["hooks"] else None


def _is_ours(hook: Any) -> bool:
    if not isinstance(hook, dict):
        return False
    if hook.get("type") == "http":
        return urlsplit(str(hook.get("url"))).path.endswith(PATH)
    return _MARK in str(hook.get("command"))
