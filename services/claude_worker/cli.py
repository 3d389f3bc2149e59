"""Claude Code's own process: started so that it dies with the worker, with an environment and a home of its own."""

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

import psutil

from services.claude_worker.settings import ClaudeWorkerSettings
from shared.logs import get_logger

# The same on every replica: a conversation is kept under its working directory's name.
WORKING_DIRECTORY = Path("/tmp/switchyard-chat")  # noqa: S108 (empty, and nothing is ever written there)
# What the folder of a worker is called, before its process id.
PREFIX = "switchyard-claude-"
# What of our own environment is no business of a bot's.
_OURS = ("DATABASE_URL", "AMQP_URL", "GITHUB_WEBHOOK_SECRET", "OTEL_EXPORTER_OTLP_ENDPOINT")
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


def forget_secrets() -> None:
    """Take our own secrets out of this process's environment, which its children inherit; settings are read by now."""
    for name in [name for name in os.environ if name.startswith("SWITCHYARD_") or name in _OURS]:
        del os.environ[name]


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
