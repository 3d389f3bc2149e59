"""SQL of approvals: tools that wait to be allowed."""

from datetime import datetime
from typing import Any

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.chat import Approval

_COLUMNS = """approval_id, turn_id, room_id, bot_id, tool, input::text as input, status, decided_by, note, created,
    expires, decided"""
# The newest first, by chat_approvals_newest.
_LIST = f"select {_COLUMNS} from chat_approvals where {{wanted}} order by created desc, approval_id desc limit :limit"  # noqa: S608
_FILTERS = {"room_id": "room_id = :room_id", "bot_id": "bot_id = :bot_id", "status": "status = :status"}


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
