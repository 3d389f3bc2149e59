"""What Claude Code is sent and what it says, as the worker reads it; no I/O."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from claude_agent_sdk import DeferredToolUse, ResultMessage

from services.claude_worker.store.transcripts import Place
from shared.messages.chat import Spent


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client has answered, with what it remembers of that, and what it has used.

    `merged` are the turns, beside the one that was asked, which are answered with it.
    """

    text: str
    spent: Spent
    entries: list[tuple[Place, list[dict[str, Any]]]] = field(default_factory=list)
    merged: tuple[str, ...] = ()
    # It has come to a stop at a tool that somebody has to allow.
    deferred: DeferredToolUse | None = None


class Spending:
    """What a client's answers have used: the tokens of a result are its turn's, the cost is that of the process."""

    def __init__(self) -> None:
        self._usd = 0.0

    def of(self, result: ResultMessage) -> Spent:
        """What this result has used; to be asked once for each."""
        usage, total = result.usage or {}, result.total_cost_usd or 0.0
        cost, self._usd = max(0.0, total - self._usd), max(total, self._usd)
        read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return Spent(
            input_tokens=sum(int(usage.get(name) or 0) for name in read),
            output_tokens=int(usage.get("output_tokens") or 0),
            cost_usd=round(cost, 8),
        )


async def prompt(prompt_id: str, text: str) -> AsyncIterator[dict[str, Any]]:
    """A message of the user under an id of our own, as the SDK sends it."""
    message = {"role": "user", "content": text}
    yield {"type": "user", "message": message, "parent_tool_use_id": None, "uuid": prompt_id}


def text_of(event: dict[str, Any]) -> str | None:
    """The piece of an answer in an event of the stream, if it is one."""
    delta = event.get("delta") or {}
    if event.get("type") == "content_block_delta" and delta.get("type") == "text_delta":
        return str(delta.get("text"))
    return None
