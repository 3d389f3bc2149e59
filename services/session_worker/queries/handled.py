"""What became of a command."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, JsonText
from shared.messages.commands import COMMANDS
from shared.messages.json_text import slices
from shared.messages.system import GetCommand


async def get_command(tx: Transaction, command: Command) -> dict[str, Any]:
    """What became of a command; one that is still under way is not found.

    Raises `Rejected`: `not_found`, or `forbidden` for the reply of a confidential command that another key has sent.
    """
    asked: GetCommand = command.data
    found = await store.handled.find_handled(tx, asked.message_id, asked.caller)
    if (
        found is None
        and asked.caller is None
        and (reason := await store.dead_letters.find_reason(tx, asked.message_id)) is not None
    ):
        given_up = Rejected("internal", f"given up, and kept among the dead letters: {reason}")
        return {"status": "failed", "error": given_up.as_error()}
    if found is None:
        raise Rejected(
            "not_found", f"no command with the message id {asked.message_id!r} is known", message_id=asked.message_id
        )
    if not asked.admin and _is_confidential(found.command) and (found.caller is None or found.caller != asked.asker):
        raise Rejected(
            "forbidden",
            f"the reply of {found.command} may hold a lease or another secret: only the key that sent the command, or"
            " one with the scope admin, may see what became of it",
            message_id=asked.message_id,
            command=found.command,
        )
    reply = slices(found.reply.encode())
    if reply["ok"] == b"true":
        return {"status": "done", "result": JsonText(reply["result"])}
    return {"status": "failed", "error": JsonText(reply["error"])}


def _is_confidential(name: str) -> bool:
    # A command of another version says nothing of itself.
    spec = COMMANDS.get(name)
    return spec is None or spec.confidential


QUERIES: dict[str, QueryHandler] = {"get_command": get_command}
