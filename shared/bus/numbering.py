"""Numbering the events of commands: within each session without a gap."""

from collections import Counter
from collections.abc import Set

from shared.bus import handled
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.messages import Command


async def number_events(tx: Transaction, replies: list[tuple[Command, Reply]], locked: Set[str]) -> None:
    """Stamp every event with what its command says of it, and number those of each session without a gap."""
    sessions: dict[str, Counter[str]] = {}
    for command, reply in replies:
        for event in reply.events:
            if not reply.stamped:
                # Whoever published it, a webhook's text came from outside.
                outside = command.spec.area == "webhook" or event.trust == "untrusted"
                # At once, and not by assignments: pydantic makes each of those cost as much as all of these.
                event.__dict__.update(
                    sender_agent_id=command.sender_agent_id,
                    correlation_id=command.message_id,
                    # Some are more urgent than the command that makes them, and say so.
                    priority=event.priority if "priority" in event.model_fields_set else command.priority,
                    hops=command.hops,
                    traceparent=command.traceparent or None,
                    trust="untrusted" if outside else command.trust,
                )
            # Those of a batch have their numbers already.
            if event.session_id is not None and event.session_seq is None:
                sessions.setdefault(event.session_id, Counter())["events"] += 1
        if reply.counts and command.session_id is not None:
            sessions.setdefault(command.session_id, Counter()).update(reply.counts)
        for session_id, counts in reply.counts_elsewhere.items():
            sessions.setdefault(session_id, Counter()).update(counts)
    if not sessions:
        return
    # Those of events alone, such as a claimed task's, are not locked yet: in sorted order too.
    others = sessions.keys() - locked
    if len(others) > 1:
        await handled.lock_sessions(tx, sorted(others))
    last = await handled.count_events(tx, {session_id: dict(counts) for session_id, counts in sessions.items()})
    following = {session_id: last[session_id] - sessions[session_id]["events"] for session_id in last}
    for _, reply in replies:
        for event in reply.events:
            if event.session_id in following and event.session_seq is None:
                following[event.session_id] += 1
                event.__dict__["session_seq"] = following[event.session_id]
