"""What became of a command."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, JsonText
from shared.messages.json_text import slices
from shared.messages.system import GetCommand


async def get_command(tx: Transaction, command: Command) -> dict[str, Any]:
    """What became of a command; one that is still under way is not found."""
    asked: GetCommand = command.data
    text = await store.handled.find_reply(tx, asked.message_id, asked.caller)
    if (
        text is None
        and asked.caller is None
        and (reason := await store.dead_letters.find_reason(tx, asked.message_id)) is not None
    ):
        given_up = Rejected("internal", f"given up, and kept among the dead letters: {reason}")
        return {"status": "failed", "error": given_up.as_error()}
    if text is None:
        raise Rejected(
            "not_found", f"no command with the message id {asked.message_id!r} is known", message_id=asked.message_id
        )
    reply = slices(text.encode())
    if reply["ok"] == b"true":
        return {"status": "done", "result": JsonText(reply["result"])}
    return {"status": "failed", "error": JsonText(reply["error"])}


QUERIES: dict[str, QueryHandler] = {"get_command": get_command}
