"""A bot's use of a tool: a command over the bus, as the bot, and its reply as text for the model."""

from typing import Any, NamedTuple

import orjson

from services.claude_worker.tools.errand import Errand
from services.claude_worker.tools.offered import Rights
from shared.bus.rpc import Rpc
from shared.errors import BusError, Rejected, invalid
from shared.logs import get_logger
from shared.messages import CommandSpec, JsonText, check_json, encode, encode_command, new_id
from shared.messages.commands import validate_data
from shared.messages.json_text import slices

# `claim_task` may wait for half a minute; who waits longer hears that it will be done.
WAIT_SECONDS = 40.0
CONFIRM_SECONDS = 5.0
# What of a reply the model reads; a page of a list fits.
MAX_RESULT = 40_000
log = get_logger()


class ToolResult(NamedTuple):
    """What the model reads."""

    text: str
    is_error: bool


class ToolCalls:
    """Runs the commands that bots use as tools."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def run(self, errand: Errand, rights: Rights, spec: CommandSpec, given: dict[str, Any]) -> ToolResult:
        """Run a command; whatever goes wrong is a result too, with the error's code and message.

        A writing command has an id by which it happens once, however often the attempt is repeated.
        """
        turn = errand.held.turn
        try:
            reply = await self._ask(errand, rights, spec, given)
            outcome = "ok"
        except Rejected as rejected:
            outcome, reply = rejected.code, ToolResult(_told(rejected), is_error=True)
        except TimeoutError:
            said = "no reply yet; it was accepted and will be done" if not spec.reads else "no reply in time"
            outcome, reply = "timeout", ToolResult(_told(Rejected("timeout", said)), is_error=True)
        except BusError as fault:
            said = f"it could not be sent, try again in a moment: {fault}"
            outcome, reply = "unavailable", ToolResult(_told(Rejected("unavailable", said)), is_error=True)
        log.info("tool_used", turn_id=turn.turn_id, bot_id=turn.bot_id, command=spec.name, outcome=outcome)
        return reply

    async def _ask(self, errand: Errand, rights: Rights, spec: CommandSpec, given: dict[str, Any]) -> ToolResult:
        held = errand.held
        try:
            text = encode(given)
        except (TypeError, ValueError) as error:
            raise invalid(f"the arguments can't be written as JSON: {error}") from None
        data = validate_data(spec, check_json(text), text)
        rights.caller(held.turn.bot_id, spec.name).permit(spec, data)
        message_id = new_id() if spec.reads else errand.call_id(spec.name, text)
        body = encode_command(
            spec.name,
            JsonText(text),
            message_id=message_id,
            sender_agent_id=held.turn.bot_id,
            correlation_id=held.message_id,
            hops=held.hops + 1,
            trust=errand.trust,
        )
        headers = {"traceparent": held.traceparent} if held.traceparent else None
        raw = await self._rpc.request(
            spec, body, message_id=message_id, wait=WAIT_SECONDS, deadline=CONFIRM_SECONDS, headers=headers
        )
        reply = slices(raw)
        if reply["ok"] == b"true":
            return ToolResult(_cut(reply["result"].decode()), is_error=False)
        fault = orjson.loads(reply["error"])
        raise Rejected(fault["code"], fault["message"], **fault.get("details", {}))


def _told(rejected: Rejected) -> str:
    return _cut(encode({"error": rejected.as_error()}).decode())


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT:
        return text
    return f"{text[:MAX_RESULT]}\n… cut here: it has {len(text)} characters; ask for less, by `limit` or a filter."
