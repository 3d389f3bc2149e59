"""approve, deny and expire_approval, and the word of an approver in the room."""

from services.claude_worker import approvals as rules
from services.claude_worker.approvals import Word
from services.claude_worker.handlers.parking import told
from services.claude_worker.store import approvals, chats, turns
from services.claude_worker.turns import Held
from shared.bus.follow_ups import FollowUp
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import conflict, not_found
from shared.messages import Command, Event
from shared.messages.chat import Approval, ApprovalStatus, Approve, Deny, ExpireApproval
from shared.messages.chat_events import ApprovalDecided

# What a room's word may be about.
_LATEST = 20


def decide_as(status: ApprovalStatus) -> Handler:
    """approve or deny: the first decision stands, and the turn that waits for it goes on, wherever it is at home."""

    async def run(tx: Transaction, command: Command) -> Reply:
        data: Approve | Deny = command.data
        approval, held = await _held(tx, data.approval_id)
        by = command.sender_agent_id
        decided, events = await _decide(tx, approval, held, status, by=by, note=data.note)
        return _reply(decided, events)

    return run


async def expire_approval(tx: Transaction, command: Command) -> Reply:
    """Refuse what nobody has decided in time; what was decided meanwhile stays as it is."""
    data: ExpireApproval = command.data
    approval, held = await _held(tx, data.approval_id)
    if approval.status != "pending":
        return Reply({"approval": approval})
    decided, events = await _decide(tx, approval, held, "expired", by=None, note=None)
    return _reply(decided, events)


async def find_meant(tx: Transaction, word: Word, room_id: str, bot_id: str) -> Approval | None:
    """What an approver's word is about: what is pending in the room, or what he names by its id. The chat is locked."""
    wanted = {"room_id": room_id, "bot_id": bot_id}
    latest = await approvals.list_approvals(tx, dict(wanted), None, _LATEST)
    return next((each for each in latest if (each.status == "pending" or word.approval_id) and word.means(each)), None)


async def decide_by_word(tx: Transaction, word: Word, approval: Approval, by: str) -> list[Event]:
    """Do what an approver has said in the room. The chat is locked. Raises `Rejected` when it was decided before."""
    held = await turns.lock_turn(tx, approval.turn_id)
    _, events = await _decide(tx, approval, held, word.verdict, by=by, note=word.note)
    return events


async def _held(tx: Transaction, approval_id: str) -> tuple[Approval, Held | None]:
    approval = await approvals.find_approval(tx, approval_id)
    if approval is None:
        raise not_found("approval", approval_id)
    await chats.lock_chat(tx, approval.room_id, approval.bot_id)
    # As it stands now that nobody else can decide it.
    approval = await approvals.find_approval(tx, approval_id) or approval
    return approval, await turns.lock_turn(tx, approval.turn_id)


async def _decide(
    tx: Transaction, approval: Approval, held: Held | None, status: ApprovalStatus, *, by: str | None, note: str | None
) -> tuple[Approval, list[Event]]:
    if held is None:
        raise not_found("approval", approval.approval_id)
    if approval.status != "pending":
        raise conflict(f"{rules.already(approval)}; the first decision stands", status=approval.status)
    is_parked = held.turn.status == "parked"
    if not is_parked and status != "expired":
        # The owner of the turn closes it in a moment.
        was = f"{held.turn.status}: {held.turn.reason}"
        raise conflict(f"the message that approval {approval.approval_id} belongs to was {was}", status=approval.status)
    decided = await approvals.decide(tx, approval.approval_id, status, by=by, note=note)
    if is_parked:
        await turns.save_turn(tx, held.moved(status="queued"))
    return decided, [told(ApprovalDecided, held, decided)]


def _reply(approval: Approval, events: list[Event]) -> Reply:
    room = {"room_id": approval.room_id, "bot_id": approval.bot_id}
    return Reply({"approval": approval}, events, commands=[FollowUp("run_turns", room)])
