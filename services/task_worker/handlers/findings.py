"""record_extractions: what was found in the lines of a run that follow the last ones looked through."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.task_worker.extraction import Finding
from services.task_worker.runs import findings
from services.task_worker.store import extractions as store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.runs_control import RecordExtractions
from shared.messages.runs_events import ExtractionFound


def record_extractions(
    taken: store.Taken,
    found: Sequence[Finding],
    moments: Mapping[int, str],
    state: dict[str, Any],
    *,
    is_finished: bool,
) -> Handler:
    """The handler that keeps these findings of a run; nothing, when another has looked through these lines first."""

    async def record(tx: Transaction, command: Command) -> Reply:
        data: RecordExtractions = command.data
        is_first = await store.advance(
            tx,
            taken.run_id,
            after_line=data.after_line,
            last_line=data.last_line,
            state=state,
            is_finished=is_finished,
        )
        if not is_first or not found:
            return Reply({"extractions": 0})
        kept = await store.add_extractions(tx, taken, findings.rows_of(found, moments))
        await store.count(tx, taken.agent_name, findings.counts_of(found))
        if blocks := findings.blocks_of(found):
            await store.keep_blocks(tx, taken.run_id, blocks)
        events = [
            ExtractionFound(
                session_id=taken.session_id,
                run_id=taken.run_id,
                agent_name=taken.agent_name,
                task_id=taken.task_id,
                priority="high" if each.risk in ("high", "critical") else "normal",
                extraction=each,
            )
            for each in findings.told(kept)
        ]
        return Reply({"extractions": len(kept)}, list(events))

    return record
