"""What tests of agents' runs share: a runner's commands on a real database."""

from typing import Any

from shared.messages import new_id, now

EMPTY = """
    truncate agent_runs, agent_output, extractions, extraction_counts, code_blocks, sessions, tasks, task_dependencies,
        handled_messages, unconfirmed_messages cascade;
    insert into sessions (id) values ('s1'), ('s2');
"""


def line(text: str, stream: str = "stdout", **more: Any) -> dict[str, Any]:
    """A line as a runner sends it."""
    return {"stream": stream, "text": text, "at": now(), **more}


class Runner:
    """A runner of one run."""

    def __init__(self, worker: Any, *, agent_name: str = "codex", session_id: str = "s1", **data: Any) -> None:
        self.worker = worker
        self.run_id = new_id()
        self.begun = self.report(agent_name=agent_name, session_id=session_id, **{"state": "running", **data})

    def report(self, **data: Any) -> dict[str, Any]:
        """The run after a report, or the error."""
        result: dict[str, Any] = self.worker.send("agent_report", run_id=self.run_id, **data)
        return result.get("run", result)

    def output(self, first_line: int, *texts: Any) -> dict[str, Any]:
        """How far the output is after lines more, or the error."""
        lines = [text if isinstance(text, dict) else line(text) for text in texts]
        result: dict[str, Any] = self.worker.send(
            "agent_output", run_id=self.run_id, first_line=first_line, lines=lines
        )
        return result.get("output", result)

    def lines(self, **asked: Any) -> list[dict[str, Any]]:
        """Lines as they are kept."""
        found: list[dict[str, Any]] = self.worker.ask("get_output", run_id=self.run_id, **asked)["lines"]
        return found
