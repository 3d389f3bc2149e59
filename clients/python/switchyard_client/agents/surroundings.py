"""What a command finds around it: its environment, its working directory, and files of its run."""

import asyncio
import fnmatch
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchyard_client.agents.process import CannotStart
from switchyard_client.agents.tree import MARK, RUNNER_MARK

# What programs need to work at all. Everything else is named by whoever starts the runner.
USUAL = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "TERM")
# The kernel takes no longer variable than 128 KiB.
_MAX_VARIABLE = 100_000


@dataclass(frozen=True)
class Folders:
    """The folder of a run's files, and where its command works."""

    private: Path
    working: Path
    # The git worktree that `working` is, and the repository it was made from.
    repository: Path | None = None

    @property
    def result(self) -> Path:
        """Where the command may put its result."""
        return self.private / "result.json"

    @property
    def task(self) -> Path:
        """Where the command finds its task."""
        return self.private / "task.json"


async def make_folders(run_name: str, workdir: Path | None, repository: Path | None, piece: str | None) -> Folders:
    """Make the folders of a run; `piece` is the name of its own within `workdir`. Raises `CannotStart`."""
    private = Path(tempfile.mkdtemp(prefix="switchyard-run-"))
    try:
        if workdir is None and repository is None:
            return Folders(private, Path.cwd())
        working = (workdir or Path(tempfile.gettempdir()) / "switchyard-work").resolve() / (piece or run_name)
        if repository is None:
            working.mkdir(parents=True, exist_ok=True)
            return Folders(private, working)
        working.parent.mkdir(parents=True, exist_ok=True)
        if not working.exists():
            await _git(repository, "worktree", "add", "--detach", str(working), "HEAD")
        return Folders(private, working, repository)
    except (OSError, CannotStart) as error:
        shutil.rmtree(private, ignore_errors=True)
        raise CannotStart(str(error)) from error


async def remove_folders(folders: Folders) -> None:
    """Remove a run's own files, and its worktree unless there is something in it that is nowhere else."""
    shutil.rmtree(folders.private, ignore_errors=True)
    if folders.repository is None:
        return
    try:
        if await _git(folders.working, "status", "--porcelain"):
            return
        head = await _git(folders.working, "rev-parse", "HEAD")
        if await _git(folders.repository, "for-each-ref", "--count=1", "--contains", head):
            await _git(folders.repository, "worktree", "remove", str(folders.working))
    except CannotStart:
        return  # then it stays


def environment(
    allowed: Sequence[str],
    *,
    run_id: str,
    runner_id: str,
    session_id: str,
    agent_name: str,
    folders: Folders,
    task: Mapping[str, Any] | None,
    further: Mapping[str, str],
) -> dict[str, str]:
    """What a command's process finds in its environment: the usual, what is allowed, and what it is there for.

    `allowed`: names of variables to pass on, with `*` for any end, or `NAME=value`.
    """
    patterns = [*USUAL, *(each for each in allowed if "=" not in each)]
    found = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    found |= further
    found |= dict(each.split("=", 1) for each in allowed if "=" in each)
    found |= {
        MARK: run_id,
        RUNNER_MARK: runner_id,
        "SWITCHYARD_SESSION_ID": session_id,
        "SWITCHYARD_AGENT": agent_name,
        "SWITCHYARD_RESULT": str(folders.result),
    }
    if task is None:
        return found
    text = json.dumps(task, ensure_ascii=False)
    folders.task.write_text(text)
    found |= {
        "SWITCHYARD_TASK_ID": task["task_id"],
        "SWITCHYARD_TASK_TYPE": task["task_type"],
        "SWITCHYARD_ATTEMPT": str(task["attempt"]),
        "SWITCHYARD_TASK_FILE": str(folders.task),
    }
    # No variable can hold a NUL, and none so much.
    if "\x00" not in text and len(text.encode()) <= _MAX_VARIABLE:
        found["SWITCHYARD_TASK"] = text
    return found


async def repository_fault(repository: Path) -> str | None:
    """Why no worktree can be made of a repository; None if one can."""
    try:
        await _git(repository, "rev-parse", "--verify", "HEAD")
    except CannotStart as fault:
        return str(fault)
    return None


async def _git(where: Path, *words: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "-C", str(where), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise CannotStart(f"git could not be started: {error}") from error
    said, errors = await process.communicate()
    if process.returncode:
        raise CannotStart(f"git {words[0]}: {errors.decode(errors='replace').strip()}")
    return said.decode().strip()
