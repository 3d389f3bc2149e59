"""Bots as `switchyard.toml` declares them: what they are, and how they behave while busy."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from services.claude_worker.tools.offered import Rights, fault_of

Busy = Literal["enqueue", "interrupt", "steer", "reject"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
# Commands that are tools of a bot.
Tools = tuple[str, ...]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class BotsError(Exception):
    """The bots of the configuration can't be used; the message says where and why."""


class Budget(BaseModel):
    """`[bots.NAME.budget]`: what may be used on a day (UTC); what is not given has no limit.

    Those of the whole bot, and (`room_…`) of each room.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: Count | None = None
    tokens: Count | None = None
    cost_usd: Positive | None = None
    room_turns: Count | None = None
    room_tokens: Count | None = None
    room_cost_usd: Positive | None = None
    # From which part of a limit on the room is warned.
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8


class Bot(BaseModel):
    """One `[bots.NAME]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What it is called in rooms; by default as its table.
    name: str = ""
    # By default Claude Code's own choice.
    model: str | None = None
    system_prompt: Annotated[str, Field(max_length=200_000)] = "You are a helpful assistant in a chat room."
    # What becomes of a message while it is busy with the one before.
    busy: Busy = "enqueue"
    # After how long without a message its client is closed; it remembers all the same.
    idle_minutes: Positive = 20
    # How long a conversation is kept after the last thing that was said.
    keep_days: Positive = 30
    # How long an answer may take.
    deadline_s: Positive = 300
    # A message that was caused by so many others is not answered: two bots would talk for ever.
    max_hops: Annotated[int, Field(ge=1, le=15)] = 4
    budget: Budget = Budget()
    # Switchyard's own commands that it may use while everything that was said is trusted; and those that it may use
    # when anything of the conversation came from outside, too.
    allowed_tools: Tools = ()
    untrusted_tools: Tools = ()
    # Those that somebody has to allow, each time: who, beside those with the scope `admin`, by their names or ids in
    # the room; and for how long the bot waits.
    ask_tools: Tools = ()
    approvers: tuple[str, ...] = ()
    approval_minutes: Positive = 24 * 60
    # Whether a room that can change its messages sees the answer grow.
    edit_while_streaming: bool = False
    # Whether `chat_delta` events tell of an answer while it is given.
    stream: bool = True
    # Whether the bot is told who says something, before what is said. Else it reads exactly what was said.
    name_speakers: bool = False

    @field_validator("allowed_tools", "untrusted_tools", "ask_tools")
    @classmethod
    def _are_commands(cls, tools: Tools, info: ValidationInfo) -> Tools:
        for tool in tools:
            if fault := fault_of(tool, asked=info.field_name == "ask_tools"):
                raise ValueError(fault)
        return tools

    @property
    def rights(self) -> Rights:
        """The tools it has."""
        return Rights(frozenset(self.allowed_tools), frozenset(self.untrusted_tools), frozenset(self.ask_tools))


def load(path: Path) -> dict[str, Bot]:
    """The bots a file declares, by their ids; none when it does not exist. Raises BotsError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise BotsError(f"{path}: {error}") from None
    tables = document.get("bots", {})
    if not isinstance(tables, dict):
        raise BotsError(f"{path}: [bots.NAME] tables are expected")
    bots = {}
    for bot_id, table in tables.items():
        where = f"{path}, [bots.{bot_id}]"
        if not _NAME.fullmatch(bot_id):
            raise BotsError(f"{where}: a bot's id is letters, digits, dots, dashes and underscores")
        try:
            bot = Bot.model_validate(table)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {_said(fault)}" for fault in error.errors())
            raise BotsError(f"{where}: {faults}") from None
        bots[bot_id] = bot if bot.name else bot.model_copy(update={"name": bot_id})
    return bots


def _said(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such setting (docs/chat.md has them all)"
    message: str = fault["msg"]
    return message.removeprefix("Value error, ")
