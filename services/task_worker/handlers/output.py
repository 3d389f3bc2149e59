"""agent_output: lines of runs, those of many commands in one statement."""

from base64 import b64decode
from binascii import Error as Base64Error

from services.task_worker.extraction import Line, mask_lines
from services.task_worker.runs import pacing, rules
from services.task_worker.store import output as store
from shared.bus.replies import BatchHandler, Reply, SessionMissing
from shared.database import Transaction
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, rfc3339
from shared.messages.runs import AgentOutput, OutputLine, Progress, StoredLine
from shared.messages.runs_events import AgentOutputAdded

MAX_PROMPT = 1_000


def agent_output(lines_per_second: float = pacing.LINES_PER_SECOND) -> BatchHandler:
    """The handler of `agent_output`; runners are told to bring no more than so many lines a second."""

    async def take(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected | SessionMissing]:
        """Keep the lines that are new, in the order of their commands; a gap is refused, naming what is expected."""
        outputs = await store.lock_outputs(tx, (command.data.run_id for command in commands))
        counts: dict[str, store.Count] = {}
        lines: list[tuple[str, StoredLine]] = []
        prompting: set[str] = set()
        answers: list[Reply | Rejected | SessionMissing] = []
        for command in commands:
            data: AgentOutput = command.data
            run = outputs.get(data.run_id)
            if run is None or data.session_id not in (None, run.session_id):
                # Its first report may still be on its way.
                answers.append(SessionMissing(rules.unknown_run(data.run_id)))
                continue
            count = counts.get(run.run_id) or store.Count(run.run_id, run.lines, 0, run.masking_state, run.paced_until)
            try:
                taken, masking_state = _masked(_new(data, count.lines), count)
            except Rejected as refusal:
                answers.append(refusal)
                continue
            if taken:
                size = sum(_size(line) for line in taken)
                paid = sum(pacing.cost(line.text) for line in taken)
                count = store.Count(
                    run.run_id,
                    count.lines + len(taken),
                    count.bytes + size,
                    masking_state or None,
                    pacing.paid_until(count.paced_until, run.now, paid, lines_per_second),
                )
                counts[run.run_id] = count
                lines += [(run.run_id, line) for line in taken]
                (prompting.add if _is_prompt(taken[-1]) else prompting.discard)(run.run_id)
            answers.append(_reply(run, count, taken))
        if lines:
            await store.add_lines(tx, lines)
            await store.count_lines(tx, list(counts.values()))
            # By a look after the lock: what was known before it may be done with.
            if others := counts.keys() - prompting:
                await store.mark_waiting(tx, sorted(others))
            if prompting:
                await store.mark_waiting(tx, sorted(prompting), urgent=True)
        return answers

    return take


def _new(data: AgentOutput, stored: int) -> list[OutputLine]:
    """The lines that are not stored. Raises `Rejected("conflict")` when others are missing before them."""
    if data.first_line > stored + 1:
        raise conflict(
            f"lines {stored + 1} to {data.first_line - 1} of run {data.run_id!r} are missing; go on from {stored + 1}",
            run_id=data.run_id,
            expected=stored + 1,
            reason="gap",
        )
    return data.lines[stored + 1 - data.first_line :]


def _masked(lines: list[OutputLine], count: store.Count) -> tuple[list[StoredLine], dict[str, object]]:
    """Lines as they are kept, from the next number on, and what masking remembers of them."""
    first = count.lines + 1
    plain = [
        Line(first + at, line.text if line.encoding is None else text_of(line.text), line.stream, line.partial)
        for at, line in enumerate(lines)
    ]
    state, masked = mask_lines(count.masking_state or {}, plain)
    return [
        StoredLine.trusted(
            {
                "number": after.number,
                "stream": line.stream,
                # What no text is stays as it was sent, unless there is a secret in it.
                "text": line.text if line.encoding is not None and after.text == before.text else after.text,
                "at": rfc3339(rules.moment_of(line.at, "lines.at")),
                "partial": line.partial,
                "encoding": line.encoding if after.text == before.text else None,
            }
        )
        for line, before, after in zip(lines, plain, masked, strict=True)
    ], state


def _size(line: StoredLine) -> int:
    """How many bytes a line has brought; base64 is how it travels."""
    return len(line.text.encode()) if line.encoding is None else len(b64decode(line.text))


def _is_prompt(line: StoredLine) -> bool:
    """Whether a line may be a question that waits for an answer: it has no end yet, and is no piece of a long one."""
    return line.partial and line.stream != "input" and len(line.text) <= MAX_PROMPT


def text_of(base64: str) -> str:
    """What can be read of a line that is no text. Raises `Rejected("invalid")` for what is no base64."""
    try:
        return b64decode(base64, validate=True).decode(errors="replace").replace("\0", "\ufffd")
    except Base64Error as error:
        raise invalid(f"a line with `encoding` base64 is none: {error}", field="lines.text") from None


def _reply(run: store.Output, count: store.Count, taken: list[StoredLine]) -> Reply:
    progress = Progress(
        run_id=run.run_id,
        next_line=count.lines + 1,
        credit=pacing.credit(count.lines - run.extracted),
        pause_s=pacing.pause(count.paced_until, run.now),
    )
    if not taken:
        return Reply({"output": progress})
    event = AgentOutputAdded.model_construct(
        session_id=run.session_id,
        run_id=run.run_id,
        agent_name=run.agent_name,
        task_id=run.task_id,
        # What matters in it is told by itself; where there is no room, it goes first.
        priority="low",
        first_line=taken[0].number,
        lines=taken,
    )
    return Reply({"output": progress}, [event])
