"""The task worker's tables of agents' runs: states, lines, control requests, and what was found in the lines."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from shared.database.tables.columns import metadata, moment

agent_runs = Table(
    "agent_runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("agent_name", Text, nullable=False),
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("task_id", Text, nullable=True),
    # Of its task; another attempt may have been given to another worker since.
    Column("attempt", Integer, nullable=True),
    Column("worker_id", Text, nullable=True),
    Column("command", Text, nullable=False),
    Column("recipe", Text, nullable=True),
    Column("state", Text, nullable=False),
    # Of the last transition.
    Column("cause", Text, nullable=True),
    Column("pid", Integer, nullable=True),
    Column("exit_code", BigInteger, nullable=True),
    Column("signal", Text, nullable=True),
    # The number of the last line that is stored.
    Column("lines", BigInteger, nullable=False, server_default=text("0")),
    Column("bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("lines_given", BigInteger, nullable=True),
    Column("input_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("output_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("cost_usd", Float(53), nullable=False, server_default=text("0")),
    Column("result", JSON, nullable=True),
    Column("error", Text, nullable=True),
    moment("started"),
    # When its runner was last heard of, moved once a second at most.
    moment("heard"),
    moment("ended", default=False),
    # Up to when what it has sent is paid for, at the lines a second that a run may bring.
    moment("paced_until"),
    # What masking remembers of the last line: a secret may go on in the next.
    Column("masking_state", JSON, nullable=True),
    CheckConstraint(
        "state in ('starting', 'running', 'paused', 'waiting_input', 'completed', 'failed', 'killed', 'lost')",
        name="agent_runs_state",
    ),
    # Runs by the time they began: all, of an agent, of a session, in a state, of a task.
    Index("agent_runs_newest", text("started desc"), text("run_id desc")),
    Index("agent_runs_by_agent", "agent_name", text("started desc"), text("run_id desc")),
    Index("agent_runs_by_session", "session_id", text("started desc"), text("run_id desc")),
    Index("agent_runs_by_state", "state", text("started desc"), text("run_id desc")),
    Index(
        "agent_runs_by_task",
        "task_id",
        text("started desc"),
        text("run_id desc"),
        postgresql_where=text("task_id is not null"),
    ),
    # The live runs of an agent, and all of them for the timer. When they were heard of changes too often to be indexed.
    Index(
        "agent_runs_live",
        "agent_name",
        postgresql_where=text("state in ('starting', 'running', 'paused', 'waiting_input')"),
    ),
    postgresql_with={"fillfactor": "70"},
)

agent_run_states = Table(
    "agent_run_states",
    metadata,
    Column("run_id", Text, ForeignKey("agent_runs.run_id", ondelete="CASCADE"), primary_key=True),
    # Counts the transitions of a run.
    Column("number", Integer, primary_key=True),
    Column("was", Text, nullable=True),
    Column("state", Text, nullable=False),
    Column("cause", Text, nullable=True),
    Column("reported_by", Text, nullable=False),
    moment("at"),
)

agent_output = Table(
    "agent_output",
    metadata,
    Column("run_id", Text, primary_key=True),
    # Without a gap over all streams of a run.
    Column("number", BigInteger, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("encoding", Text, nullable=True),
    Column("partial", Boolean, nullable=False),
    moment("at", default=False),
    moment("stored"),
    # For retention alone: lines are stored in the order of time, so a summary of each stretch of the table will do.
    Index("agent_output_stored", "stored", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
)

# How far a run's lines were looked through; apart from the run, whose row changes with each command of its runner.
extraction_states = Table(
    "extraction_states",
    metadata,
    Column("run_id", Text, ForeignKey("agent_runs.run_id", ondelete="CASCADE"), primary_key=True),
    # The number of the last line that was looked through.
    Column("extracted", BigInteger, nullable=False, server_default=text("0")),
    # What is remembered from one batch to the next.
    Column("state", JSON, nullable=True),
    # Since when there is something to do, and until when somebody does it.
    moment("since", default=False),
    moment("lease", default=False),
    Index("extraction_states_waiting", "since", postgresql_where=text("since is not null")),
    postgresql_with={"fillfactor": "70"},
)

agent_controls = Table(
    "agent_controls",
    metadata,
    # The message id of the command that asked.
    Column("control_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("agent_runs.run_id", ondelete="CASCADE"), nullable=False),
    Column("action", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("result", JSON, nullable=True),
    Column("error", Text, nullable=True),
    moment("asked"),
    moment("answered", default=False),
    Index("agent_controls_of_run", "run_id", text("asked desc")),
)

extractions = Table(
    "extractions",
    metadata,
    Column("extraction_id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Text, ForeignKey("agent_runs.run_id", ondelete="CASCADE"), nullable=False),
    Column("session_id", Text, nullable=False),
    Column("agent_name", Text, nullable=False),
    Column("task_id", Text, nullable=True),
    Column("type", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("risk", Text, nullable=False),
    Column("auto_confirm", Boolean, nullable=False, server_default=text("false")),
    Column("text", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("stream", Text, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("last_line", BigInteger, nullable=False),
    # Which of those that its pattern found in the first line.
    Column("place", Integer, nullable=False, server_default=text("0")),
    Column("sha256", Text, nullable=True),
    moment("at", default=False),
    moment("created"),
    CheckConstraint("risk in ('low', 'medium', 'high', 'critical')", name="extractions_risk"),
    # The newest of all, and of each thing that is asked for; the first of those named leads.
    Index("extractions_newest", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_run", "run_id", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_session", "session_id", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_agent", "agent_name", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_pattern", "pattern", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_type", "type", text("created desc"), text("extraction_id desc")),
    Index("extractions_by_risk", "risk", text("created desc"), text("extraction_id desc")),
)

# How many of each kind were found on a day (UTC); stays when the extractions go.
extraction_counts = Table(
    "extraction_counts",
    metadata,
    Column("agent_name", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("risk", Text, primary_key=True),
    Column("found", BigInteger, nullable=False),
)

code_blocks = Table(
    "code_blocks",
    metadata,
    # Of the content, in hex.
    Column("sha256", Text, primary_key=True),
    Column("language", Text, nullable=True),
    Column("content", Text, nullable=False),
    Column("seen", BigInteger, nullable=False, server_default=text("1")),
    Column("first_run_id", Text, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    moment("first_seen"),
    Column("last_run_id", Text, nullable=False),
    Column("last_line", BigInteger, nullable=False),
    moment("last_seen"),
    # For retention.
    Index("code_blocks_last_seen", "last_seen"),
)
