"""SQL of approvals: tools that wait to be allowed. Whoever changes one has locked its chat."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from services.claude_worker.tools.errand import Asked, Decision
from services.claude_worker.turns import Held
from shared.database import Transaction
from shared.messages import JsonText, encode, new_id, rfc3339
from shared.messages.chat import Approval, ApprovalStatus

_COLUMNS = """approval_id, turn_id, room_id, bot_id, tool, input::text as input, status, decided_by, note, created,
    expires, decided"""
# The newest first, by chat_approvals_newest; those of a chat by chat_approvals_of_chat.
_LIST = f"select {_COLUMNS} from chat_approvals where {{wanted}} order by created desc, approval_id desc limit :limit"  # noqa: S608
_FILTERS = {"room_id": "room_id = :room_id", "bot_id": "bot_id = :bot_id", "status": "status = :status"}

_ADD = text(f"""
    insert into chat_approvals (approval_id, turn_id, room_id, bot_id, tool, tool_use_id, input, calls, expires)
    values (:approval_id, :turn_id, :room_id, :bot_id, :tool, :tool_use_id, cast(:input as json),
        cast(:calls as json), now() + make_interval(secs => :seconds))
    returning {_COLUMNS}
""")  # noqa: S608

# By the primary key, as the next.
_FIND = text(f"select {_COLUMNS} from chat_approvals where approval_id = :approval_id")  # noqa: S608
# Only what is pending is decided.
_DECIDE = text(f"""
    update chat_approvals set status = :status, decided_by = :by, note = :note, decided = now()
    where approval_id = :approval_id and status = 'pending'
    returning {_COLUMNS}
""")  # noqa: S608

# What was pending of a turn that is over, by chat_approvals_of_turn.
_CLOSE = text(f"""
    update chat_approvals set status = 'denied', decided_by = :by, note = :note, decided = now()
    where turn_id = :turn_id and status = 'pending'
    returning {_COLUMNS}
""")  # noqa: S608

# What was decided for a turn, the newest last, by chat_approvals_of_turn.
_DECISIONS = text("""
    select tool_use_id, status, decided_by, note, calls::text as calls from chat_approvals
    where turn_id = :turn_id and status <> 'pending' order by created
""")

# Those whose time is over, by chat_approvals_pending.
_EXPIRED = text("""
    select approval_id from chat_approvals where status = 'pending' and expires <= now() order by expires limit :limit
""")


class Decisions(NamedTuple):
    """What was decided for a turn, and how often it had used each tool when it was parked last."""

    decisions: dict[str, Decision]
    calls: Counter[str]


async def add_approval(tx: Transaction, held: Held, asked: Asked, *, seconds: float) -> Approval:
    """Keep what a turn asks for."""
    turn = held.turn
    row = await tx.execute(
        _ADD,
        {
            "approval_id": new_id(),
            "turn_id": turn.turn_id,
            "room_id": turn.room_id,
            "bot_id": turn.bot_id,
            "tool": asked.tool,
            "tool_use_id": asked.tool_use_id,
            "input": str(asked.input),
            "calls": encode(dict(asked.calls)).decode(),
            "seconds": seconds,
        },
    )
    return _approval(row.one())


async def find_approval(tx: Transaction, approval_id: str) -> Approval | None:
    """An approval as it stands."""
    row = (await tx.execute(_FIND, {"approval_id": approval_id})).first()
    return _approval(row) if row else None


async def decide(
    tx: Transaction, approval_id: str, status: ApprovalStatus, *, by: str | None, note: str | None
) -> Approval:
    """Decide what is pending."""
    asked = {"approval_id": approval_id, "status": status, "by": by, "note": note}
    return _approval((await tx.execute(_DECIDE, asked)).one())


async def close(tx: Transaction, turn_id: str, *, by: str, note: str) -> list[Approval]:
    """Refuse what is pending of a turn that is over."""
    return [_approval(row) for row in await tx.execute(_CLOSE, {"turn_id": turn_id, "by": by, "note": note})]


async def decisions_of(tx: Transaction, turn_id: str) -> Decisions:
    """What was decided for a turn that goes on."""
    rows = list(await tx.execute(_DECISIONS, {"turn_id": turn_id}))
    decisions = {row.tool_use_id: Decision(row.tool_use_id, row.status, row.decided_by, row.note) for row in rows}
    calls = JsonText(rows[-1].calls.encode()).value() if rows and rows[-1].calls else {}
    return Decisions(decisions, Counter(calls))


async def find_expired(tx: Transaction, limit: int) -> Sequence[str]:
    """Approvals that nobody has given in time."""
    return [row.approval_id for row in await tx.execute(_EXPIRED, {"limit": limit})]


async def list_approvals(
    tx: Transaction, wanted: dict[str, str | None], after: tuple[datetime, str] | None, limit: int
) -> list[Approval]:
    """Up to `limit` approvals after a sort key, the newest first."""
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    where = [_FILTERS[name] for name in given]
    if after is not None:
        where.append("(created, approval_id) < (:created, :approval_id)")
        given |= {"created": after[0], "approval_id": after[1]}
    rows = await tx.execute(text(_LIST.format(wanted=" and ".join(where) or "true")), {**given, "limit": limit})
    return [_approval(row) for row in rows]


def _approval(row: Any) -> Approval:
    fields = {name: getattr(row, name) for name in Approval.model_fields}
    for name in ("created", "expires", "decided"):
        fields[name] = None if fields[name] is None else rfc3339(fields[name])
    return Approval.trusted({**fields, "input": JsonText(row.input.encode())})
