"""What is told of agents' runs. Every event names the run, its agent, and the session and task it belongs to."""

from typing import ClassVar, Literal

from shared.messages.envelope import Event
from shared.messages.json_text import JsonText
from shared.messages.runs import Run, StoredLine
from shared.messages.runs_control import Action, Control
from shared.messages.runs_reading import Extraction, RunTransition


class RunEvent(Event):
    """The base of what happens to a run."""

    run_id: str
    agent_name: str
    task_id: str | None = None


class AgentRunStarted(RunEvent):
    """A runner has begun to wrap a process."""

    topic: ClassVar = "agent.{agent_name}.run_started"
    type: Literal["agent_run_started"] = "agent_run_started"
    run: Run


class AgentRunChanged(RunEvent):
    """A run moved to another state and goes on; or, `lost`, was not heard of for 30 s."""

    topic: ClassVar = "agent.{agent_name}.run_changed"
    type: Literal["agent_run_changed"] = "agent_run_changed"
    transition: RunTransition
    run: Run


class AgentRunEnded(RunEvent):
    """A run has ended: completed, failed or killed."""

    topic: ClassVar = "agent.{agent_name}.run_ended"
    type: Literal["agent_run_ended"] = "agent_run_ended"
    transition: RunTransition
    run: Run


class AgentOutputAdded(RunEvent):
    """Lines of a run, as they are stored: secrets are masked, numbers have no gap."""

    topic: ClassVar = "agent.{agent_name}.output"
    type: Literal["agent_output_added"] = "agent_output_added"
    first_line: int
    lines: list[StoredLine]


class AgentActivity(RunEvent):
    """Something a runner has read out of the output, such as a tool call; `kind` and `data` are its own."""

    topic: ClassVar = "agent.{agent_name}.activity"
    type: Literal["agent_activity"] = "agent_activity"
    kind: str
    at: str
    data: JsonText


class AgentControlAsked(RunEvent):
    """Something is asked of a run: its runner does it, and answers by `agent_report` with the `control_id`.

    A runner passes over one it has done before, and one whose `expires` has passed.
    """

    topic: ClassVar = "agent.{agent_name}.control"
    type: Literal["agent_control_asked"] = "agent_control_asked"
    control_id: str
    action: Action
    input: str | None
    end_input: bool
    grace_s: float
    reason: str | None
    expires: str


class AgentControlAnswered(RunEvent):
    """A runner has answered a control request."""

    topic: ClassVar = "agent.{agent_name}.controlled"
    type: Literal["agent_control_answered"] = "agent_control_answered"
    control: Control


class ExtractionFound(RunEvent):
    """Something that matters was found in a run's output: a question, a confirmation, an error, or a high risk."""

    topic: ClassVar = "agent.{agent_name}.extraction"
    type: Literal["extraction_found"] = "extraction_found"
    extraction: Extraction
