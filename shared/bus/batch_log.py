"""What metrics and log say of a committed batch."""

from collections import Counter

from shared.bus.commit import Answer, Outcome
from shared.bus.items import Item, traceparents
from shared.logs import get_logger
from shared.telemetry import BATCH_SECONDS, BATCH_SIZE, COMMANDS, trace_id

log = get_logger()


def observe(batch: list[Item], answers: dict[str, Answer], took: float) -> None:
    """Count a committed batch and its commands, and log it; `took` is in seconds."""
    BATCH_SIZE.observe(len(batch))
    BATCH_SECONDS.observe(took)
    ends: Counter[str] = Counter()
    for item in batch:
        answer = answers[item.command.message_id]
        if isinstance(answer, Outcome):
            COMMANDS.labels(item.command.spec.name, answer.outcome).inc()
            ends[answer.outcome] += 1
    few = batch[:3]
    # A timer that found nothing to do is no news.
    idle = len(batch) == 1 and batch[0].command.sender_agent_id == "system" and not _eventful(answers)
    (log.debug if idle else log.info)(
        "batch_committed",
        commands=len(batch),
        names=sorted({item.command.spec.name for item in batch}),
        outcomes=dict(ends),
        ms=round(took * 1000, 2),
        message_ids=[item.command.message_id for item in few],
        session_ids=sorted({item.command.session_id for item in few if item.command.session_id}),
        trace_ids=[trace_id(each) for each in traceparents(few)],
    )


def _eventful(answers: dict[str, Answer]) -> bool:
    """Whether any of these commands caused an event or a follow-up."""
    return any(isinstance(answer, Outcome) and answer.publications for answer in answers.values())
