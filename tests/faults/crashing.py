"""Runs a service that kills itself with SIGKILL at a chosen moment of the first batch that is marked.

`python -m tests.faults.crashing <service> <moment>`. A batch is marked by the word `doomed` in one of its replies.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from shared.bus import handled
from shared.bus.items import Acknowledger
from shared.bus.outbox import Outbox

MARK = "doomed"


def die() -> None:
    """As the kernel would end it: nothing is finished, flushed or said."""
    os.kill(os.getpid(), signal.SIGKILL)


def _is_marked(outcomes: list[Any]) -> bool:
    return any(MARK.encode() in outcome.reply for outcome in outcomes)


def before_commit() -> None:
    """In mid-batch: every effect is written, and so is the record; nothing is committed."""
    record = handled.record

    async def recording(tx: Any, records: Any, audit: Any) -> bool:
        done = await record(tx, records, audit)
        if len(records) > 1 and any(MARK.encode() in each.reply.text for each in records):
            die()
        return done

    handled.record = recording


def after_commit() -> None:
    """Committed; no event is published, nothing acknowledged."""
    send = Outbox.send

    def sending(self: Outbox, outcomes: list[Any]) -> Any:
        if _is_marked(outcomes):
            die()
        return send(self, outcomes)

    Outbox.send = sending  # type: ignore[method-assign]


def before_acknowledging() -> None:
    """The events are confirmed by the broker; the commands are not acknowledged."""
    send, done = Outbox.send, Acknowledger.done
    marked = False

    def sending(self: Outbox, outcomes: list[Any]) -> Any:
        nonlocal marked
        marked = marked or _is_marked(outcomes)
        return send(self, outcomes)

    def acknowledging(self: Acknowledger, tags: Any) -> None:
        if marked:
            die()
        done(self, tags)

    Outbox.send = sending  # type: ignore[method-assign]
    Acknowledger.done = acknowledging  # type: ignore[method-assign]


MOMENTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (before_commit, after_commit, before_acknowledging)
}

if __name__ == "__main__":
    service, moment = sys.argv[1:]
    MOMENTS[moment]()
    runpy.run_module(f"services.{service}", run_name="__main__")
