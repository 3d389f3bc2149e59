"""Noting down what was done in a session and what came back."""

from services.session_worker import actions, store
from shared.bus.replies import BatchHandler, Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command
from shared.messages.actions import ActionLogged, ResponseLogged


async def log_action(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Note down actions in their order; an action id that the session has already is a conflict.

    The sessions must be locked, so that nobody else takes their next numbers.
    """
    drafts = [actions.action_draft(at, command) for at, command in enumerate(commands)]
    noted = await _note(tx, "action", drafts)
    return [
        _action_logged(draft, noted[draft.at]) if draft.at in noted else actions.taken("action", draft)
        for draft in drafts
    ]


async def log_response(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Note down responses in their order; a response id that the session has already is a conflict.

    The sessions must be locked, so that nobody else takes their next numbers.
    """
    drafts = [actions.response_draft(at, command) for at, command in enumerate(commands)]
    noted = await _note(tx, "response", drafts)
    return [
        _response_logged(draft, noted[draft.at]) if draft.at in noted else actions.taken("response", draft)
        for draft in drafts
    ]


async def _note(tx: Transaction, kind: actions.Kind, drafts: list[actions.Draft]) -> dict[int, actions.Noted]:
    first = actions.first_of_each(drafts)
    noted = await store.actions.insert(tx, kind, first)
    return {draft.at: noted[draft.place] for draft in first if draft.place in noted}


def _action_logged(draft: actions.Draft, noted: actions.Noted) -> Reply:
    action = actions.action_of(draft, noted)
    event = ActionLogged(session_id=action.session_id, action=action)
    return Reply({"action": action}, [event], {"action_count": 1})


def _response_logged(draft: actions.Draft, noted: actions.Noted) -> Reply:
    response = actions.response_of(draft, noted)
    event = ResponseLogged(session_id=response.session_id, response=response)
    return Reply({"response": response}, [event], {"response_count": 1})


BATCH_HANDLERS: dict[str, BatchHandler] = {"log_action": log_action, "log_response": log_response}
