"""The command line in this process, against the module's stack."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.local.stack import Stack
from cli.main import app


class Shell:
    """Runs `switchyard …` as a person or a script would."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def run(self, *words: str, input: str | None = None, width: int | None = None, **changed: str) -> Result:
        """A command and what it printed; in a pipe, or on a screen of some columns."""
        env = {**self.stack.environment.values, **changed, "COLUMNS": str(width) if width else None}
        before = Path.cwd()
        os.chdir(self.stack.data)
        try:
            return CliRunner().invoke(app, [*words], input=input, env=env, prog_name="switchyard")
        finally:
            os.chdir(before)

    def line(self, line: str) -> Result:
        """A whole line, as it is typed."""
        name, *words = shlex.split(line)
        assert name == "switchyard"
        return self.run(*words)

    def do(self, *words: str, **options: Any) -> str:
        """What a command printed that must go well."""
        done = self.run(*words, **options)
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.stdout

    def json(self, *words: str) -> Any:
        """The one JSON document a command prints."""
        [line] = self.do(*words, "--json").splitlines()
        return json.loads(line)

    def rows(self, *words: str, width: int | None = None) -> list[list[str]]:
        """The words of each line of a table, without its titles."""
        return [line.split() for line in self.do(*words, width=width).splitlines()[1:]]


@pytest.fixture
def shell(stack: Stack) -> Shell:
    return Shell(stack)


@pytest.fixture
def new_session(shell: Shell) -> Callable[[str], str]:
    """Opens a session."""

    def make(session: str) -> str:
        shell.do("send", "create_session", f"session_id={session}", f"title=About {session}")
        return session

    return make
