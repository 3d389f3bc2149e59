"""What a command finds around it."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from switchyard_client.agents.command_line import run
from switchyard_client.agents.process import CannotStart
from switchyard_client.agents.surroundings import Folders, environment, make_folders, remove_folders, repository_fault

TASK = {"task_id": "t1", "task_type": "review", "attempt": 2, "input_data": {}}


def git(where: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", where, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--allow-empty", "-qm", "First")
    return folder


def surroundings(tmp_path: Path, task: dict[str, object] | None, *allowed: str) -> dict[str, str]:
    return environment(
        allowed,
        run_id="r1",
        runner_id="w1",
        session_id="s1",
        agent_name="reviewer",
        folders=Folders(tmp_path, tmp_path),
        task=task,
        further={},
    )


def test_only_the_usual_and_what_is_allowed_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "DATABASE_URL", "LC_TIME"):
        monkeypatch.setenv(name, "x")
    found = surroundings(tmp_path, None, "ANTHROPIC_*", "GREETING=a=b")
    assert {"ANTHROPIC_API_KEY", "LC_TIME", "PATH"} <= set(found) and found["GREETING"] == "a=b"
    assert "DATABASE_URL" not in found and "SWITCHYARD_TASK" not in found
    assert found["SWITCHYARD_RESULT"] == str(tmp_path / "result.json")


def test_a_task_too_large_for_a_variable_stands_in_its_file(tmp_path: Path) -> None:
    small, large = surroundings(tmp_path, TASK), surroundings(tmp_path, TASK | {"input_data": "x" * 200_000})
    assert '"task_id": "t1"' in small["SWITCHYARD_TASK"] and small["SWITCHYARD_ATTEMPT"] == "2"
    assert "SWITCHYARD_TASK" not in large and len(Path(large["SWITCHYARD_TASK_FILE"]).read_text()) > 200_000


def test_a_runner_does_not_begin_with_a_repository_that_no_worktree_can_be_made_of(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    assert asyncio.run(repository_fault(repository)) is None
    for wrong in (tmp_path, tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(SystemExit) as ended:
            run(["reviewer", "--git-worktree", str(wrong), "--", "true"], environ={"SWITCHYARD_TOKEN": "x"})
        assert ended.value.code == 2
        assert "--git-worktree: git" in capsys.readouterr().err


def test_a_worktree_goes_unless_there_is_something_new_in_it(repository: Path, tmp_path: Path) -> None:
    async def story() -> None:
        clean = await make_folders("run", tmp_path / "work", repository, "clean")
        assert (clean.working / ".git").exists()
        await remove_folders(clean)
        assert not clean.working.exists() and not clean.private.exists()

        changed = await make_folders("run", tmp_path / "work", repository, "changed")
        (changed.working / "new").write_text("x")
        await remove_folders(changed)
        assert (changed.working / "new").exists()

        committed = await make_folders("run", tmp_path / "work", repository, "committed")
        git(committed.working, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--allow-empty", "-qm", "New")
        await remove_folders(committed)
        assert committed.working.exists()

    asyncio.run(story())


def test_what_is_no_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="not a git repository"):
        asyncio.run(make_folders("run", tmp_path / "work", tmp_path, "t1"))
