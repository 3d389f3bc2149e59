"""Claude Code's own process: started so that it dies with the worker, with an environment and a home of its own."""

import atexit
import os
import re
import shutil
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import psutil

from services.claude_worker.settings import ClaudeWorkerSettings
from shared.logs import get_logger

# The same on every replica: a conversation is kept under its working directory's name.
WORKING_DIRECTORY = Path("/tmp/switchyard-chat")  # noqa: S108 (empty, and nothing is ever written there)
# What the folder of a worker is called, before its process id.
PREFIX = "switchyard-claude-"
# What of our own environment is no business of a bot's.
_OURS = ("DATABASE_URL", "AMQP_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|_KEY$")
log = get_logger()


class Cli:
    """Where clients of this worker find Claude Code, and what it is started with."""

    def __init__(self, settings: ClaudeWorkerSettings, executable: Path) -> None:
        """Make a folder for this worker's clients; those of workers that died are removed."""
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            pid = left.name.removeprefix(PREFIX).split("-")[0]
            if not (pid.isdigit() and psutil.pid_exists(int(pid))):
                shutil.rmtree(left, ignore_errors=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        # What the SDK writes to take a conversation up again goes with the rest.
        tempfile.tempdir = str(self._folder)
        WORKING_DIRECTORY.mkdir(exist_ok=True)
        self._settings = settings
        self.path = bound_to_us(self._folder, executable)

    @property
    def has_credential(self) -> bool:
        """Whether there is anything to show to the Messages API."""
        return bool(self._settings.anthropic_api_key.get_secret_value())

    def make_home(self) -> Path:
        """A folder for one client's own files; whoever asks for it removes it."""
        return Path(tempfile.mkdtemp(prefix="home-", dir=self._folder))

    def environment(self, home: Path) -> dict[str, str]:
        """What a client's process is told beside what this process is."""
        told = {
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "TMPDIR": str(home),
            "ANTHROPIC_API_KEY": self._settings.anthropic_api_key.get_secret_value(),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            # More would take minutes, in which the room hears nothing; we try again ourselves.
            "CLAUDE_CODE_MAX_RETRIES": "2",
        }
        if self._settings.anthropic_base_url:
            told["ANTHROPIC_BASE_URL"] = self._settings.anthropic_base_url
        return told


def forget_secrets(config: Path) -> None:
    """Take secrets out of this process's environment, which its children inherit; settings are read by now.

    They are our own, those of the sources that `config` declares, and whatever is called like one.
    """
    document = tomllib.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    tables = document.get("sources")
    named = {each for table in (tables.values() if isinstance(tables, dict) else ()) for each in _variables(table)}
    for name in list(os.environ):
        is_claudes = name.startswith(("ANTHROPIC_", "CLAUDE_"))
        is_secret = name in named or name in _OURS or (_SECRET.search(name) is not None and not is_claudes)
        if is_secret or name.startswith("SWITCHYARD_"):
            del os.environ[name]


def _variables(source: Any) -> list[str]:
    """The variables that hold a source's secrets; whether it is declared well is the ingress's affair."""
    named = source.get("secret_env", []) if isinstance(source, dict) else []
    listed = named if isinstance(named, list) else [named]
    return [each for each in listed if isinstance(each, str)]


def bound_to_us(folder: Path, executable: Path) -> Path:
    """Something that runs Claude Code and has it killed when this process dies, however it dies."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        log.warning("cli_not_bound", hint="without setpriv (util-linux) a client may outlive a worker that is killed")
        return executable
    script = folder / "claude"
    script.write_text(f'#!/bin/sh\nexec "{setpriv}" --pdeathsig KILL -- "{executable}" "$@"\n')
    script.chmod(stat.S_IRWXU)
    return script
