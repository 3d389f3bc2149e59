"""Looks through the lines of runs: takes a run (commit), searches its lines, records what was found (commit).

Every replica does so; a run is taken by one at a time. How far it was looked through is noted together with what was
found, so that each thing is found once, whoever dies in between.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.task_worker.extraction import Extractor, Finding, Line
from services.task_worker.handlers.findings import record_extractions
from services.task_worker.handlers.output import text_of
from services.task_worker.runs import findings
from services.task_worker.store import extractions as store
from services.task_worker.store import output
from shared.bus.local import LocalCommands
from shared.bus.service import Context
from shared.database import Database, is_transient
from shared.logs import get_logger
from shared.messages import Command, decode_command, encode_command, new_id
from shared.messages.runs import StoredLine

# Lines looked through in one go.
AT_ONCE = 500
# How often it looks for runs when nothing tells it to.
LOOK_SECONDS = 0.5
# How soon it looks again though something tells it to.
PAUSE_SECONDS = 0.05
AWAY_SECONDS = 1.0
# What a stop waits for what is not looked through yet; the rest is for whoever comes next.
FLUSH_SECONDS = 8.0
_BRINGS_LINES = frozenset({"agent_output", "agent_report"})
log = get_logger()


@dataclass(slots=True)
class Searched:
    """What became of a run's lines."""

    findings: list[Finding]
    state: dict[str, Any]


class Extracting:
    """Looks through lines until the worker stops."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._nudged = asyncio.Event()

    def committed(self, commands: Sequence[Command]) -> None:
        """Something was committed: there may be lines."""
        if not self._nudged.is_set() and any(command.spec.name in _BRINGS_LINES for command in commands):
            self._nudged.set()

    async def run(self, context: Context) -> None:
        """Run until the worker is to stop, and then until everything is looked through, for 8 s at most."""
        # Connections of its own: commands must not wait for it, nor it for them.
        database = Database(context.settings.database_url.get_secret_value(), name=f"{context.name} lines", size=2)
        local = LocalCommands(database, context.publisher)
        marking = asyncio.create_task(local.keep_marked())
        try:
            while not context.stopping.is_set():
                if not await self.look(database, local):
                    await self._pause(context.stopping)
            async with asyncio.timeout(FLUSH_SECONDS):
                # Lines may still be on their way into the table; those that were are looked for once more.
                is_last = False
                while not is_last:
                    is_last = context.worked.is_set()
                    while await self.look(database, local, everything=True):
                        pass
                    if not is_last:
                        await self._pause(context.worked)
                await local.drain()
        except TimeoutError:
            log.warning("lines_left", hint="whoever runs next looks through them")
        except Exception as error:
            # Nobody looks at what ends while the worker stops.
            log.error("lines_not_searched", exc_info=error)
            raise
        finally:
            marking.cancel()
            await database.close()

    async def look(self, database: Database, local: LocalCommands, *, everything: bool = False) -> bool:
        """Look through some lines of one run; False when there are none, or the database is away."""
        self._nudged.clear()
        try:
            async with database.transaction() as tx:
                taken = await store.take_run(tx, everything=everything)
            if taken is None:
                return False
            async with database.reading() as tx:
                lines = await output.page_of_lines(tx, taken.run_id, taken.extracted, AT_ONCE)
            await self._record(local, taken, lines)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("lines_wait", reason=str(error).split("\n")[0], retry_s=AWAY_SECONDS)
            await asyncio.sleep(AWAY_SECONDS)
            return False
        return True

    async def _record(self, local: LocalCommands, taken: store.Taken, lines: list[StoredLine]) -> None:
        is_finished = taken.is_over and len(lines) < AT_ONCE
        # Lines may be gone by retention; then there is nothing to wait for.
        last_line = lines[-1].number if lines else taken.lines
        try:
            # Beside the loop: claims go on meanwhile.
            searched = await asyncio.to_thread(self._search, taken, lines, is_finished)
        except Exception as error:
            log.error("lines_not_searched", exc_info=error, run_id=taken.run_id, lines=len(lines))
            searched = Searched([], taken.state or {})
        moments = {line.number: line.at for line in lines}

        async def keep(found: list[Finding]) -> None:
            handler = record_extractions(taken, found, moments, searched.state, is_finished=is_finished)
            await local.run(_command(taken, last_line), handler)

        try:
            await keep(searched.findings)
        except Exception as error:
            if is_transient(error):
                raise
            # A bug; without them it goes on, where the same lines would end each worker that takes them.
            log.error("findings_not_kept", exc_info=error, run_id=taken.run_id, lines=len(lines))
            await keep([])

    def _search(self, taken: store.Taken, lines: list[StoredLine], is_finished: bool) -> Searched:
        kept = taken.state or {}
        told = {tuple(key) for key in kept.get("told", ())}
        state, found = self._extractor.feed(kept.get("scan", {}), [_line(line) for line in lines])
        if is_finished:
            state, rest = self._extractor.finish(state)
            found = [*found, *rest]
        # What asks in a line without an end is told at once, and not again when the line ends.
        waiting = self._extractor.waiting(state)
        fresh = [finding for finding in found if findings.key_of(finding) not in told]
        fresh += [finding for finding in waiting if findings.key_of(finding) not in told]
        still = [list(findings.key_of(finding)) for finding in waiting]
        return Searched(fresh, {"scan": state, **({"told": still} if still else {})})

    async def _pause(self, until: asyncio.Event) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._nudged, until)]
        try:
            await asyncio.wait(waits, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _line(line: StoredLine) -> Line:
    text = line.text if line.encoding is None else text_of(line.text)
    return Line(line.number, text, line.stream, line.partial)


def _command(taken: store.Taken, last_line: int) -> Command:
    data = {
        "run_id": taken.run_id,
        "after_line": taken.extracted,
        "last_line": last_line,
        "session_id": taken.session_id,
    }
    return decode_command(encode_command("record_extractions", data, message_id=new_id(), sender_agent_id="system"))
