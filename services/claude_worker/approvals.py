"""Approvals: who may decide about a tool, in which words, and what the room is told; no I/O."""

import re
from typing import Literal, NamedTuple

from services.claude_worker.bots import Bot
from shared.messages import Command
from shared.messages.chat import Approval, ChatMessage

# Of an id that begins with a moment, the end tells it from others.
SHORT = 6
MAX_SHOWN = 600
# Possessive: a long message is read once.
_WORD = re.compile(r"(?i)\s*+(approve|deny)(?:\s++([0-9a-f][0-9a-f-]{3,35}+)(?:[\s,.:]++(.+))?)?[\s.!]*+", re.DOTALL)


class Word(NamedTuple):
    """What somebody says about an approval: its id or the end of it, None for the only one there is; and why."""

    verdict: Literal["approved", "denied"]
    approval_id: str | None
    note: str | None

    def means(self, approval: Approval) -> bool:
        """Whether it is about this one."""
        return self.approval_id is None or approval.approval_id.endswith(self.approval_id)


def word_of(bot: Bot, command: Command) -> Word | None:
    """The word of an approver in a message to a bot; None: it is a message like any other.

    What a bot or another reaction has said is nobody's word. Nor is what came by a key that is no admin's: whoever has
    it may say anything under any name, while the doors of chat servers know who has spoken.
    """
    data = command.data
    comes_by_key = command.caller is not None and not command.by_admin
    if command.hops > 0 or comes_by_key or not _is_approver(bot, data):
        return None
    found = _WORD.fullmatch(data.text)
    if found is None:
        return None
    verdict, approval_id, note = found.groups()
    return Word(
        "approved" if verdict.lower() == "approve" else "denied",
        approval_id and approval_id.lower(),
        (note and note[:2_000].rstrip().rstrip(".!").rstrip()) or None,
    )


def _is_approver(bot: Bot, said: ChatMessage) -> bool:
    """Whether one of the bot's approvers says it. A number is nobody's name, or anybody could call himself that."""
    return said.user_id in bot.approvers or (said.user_name in bot.approvers and not said.user_name.isdigit())


def short(approval: Approval) -> str:
    """What an approval is called in rooms."""
    return approval.approval_id[-SHORT:]


def request(approval: Approval, bot: Bot) -> str:
    """What the room is told when a bot asks for a tool."""
    given = str(approval.input)
    shown = given if len(given) <= MAX_SHOWN else f"{given[:MAX_SHOWN]}… ({len(given)} characters)"
    who = f"{', '.join(bot.approvers)} can answer" if bot.approvers else "An operator can answer"
    here = f"`approve {short(approval)}` or `deny {short(approval)}`"
    how = f"{here} here" if bot.approvers else f"approval {approval.approval_id} by the command `approve` or `deny`"
    until = f"{approval.expires[:16].replace('T', ' ')} UTC"
    return (
        f"I want to use {approval.tool} with {shown}\n"
        f"{who}: {how}, until {until}. Before that I answer nothing else here."
    )


def already(approval: Approval) -> str:
    """What whoever decides too late is told."""
    if approval.status == "expired":
        return f"approval {short(approval)} has expired"
    return f"approval {short(approval)} was already {approval.status} by {approval.decided_by}"
