"""The batch: commands that happen as a whole or not at all."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import uuid_utils
from pydantic import Field, PrivateAttr

from shared.errors import Rejected, invalid
from shared.messages.commands import Command, CommandData, CommandSpec, spec_of, validate_data
from shared.messages.envelope import Id, Model
from shared.messages.json_text import slices
from shared.messages.registry import command

MAX_COMMANDS = 100
_PARTS = uuid_utils.UUID("b1d5a2c4-7f0e-5c39-8e55-0d1f2a9c7b66")
_RAW_ITEMS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class BatchedCommand(Model):
    """One command of a batch, as `POST /api/commands` takes it."""

    command: Id
    data: dict[str, Any] = {}


class Part(NamedTuple):
    """A command of a batch, checked: its row of the registry, its data, and the data's text."""

    spec: CommandSpec
    data: CommandData
    text: bytes


@command(
    "session",
    result={"results": list[dict[str, Any]]},
    needs_session=False,
    # As much as anything within.
    confidential=True,
    example={
        "commands": [
            {"command": "create_session", "data": {"session_id": "demo-2", "title": "A second demo"}},
            {
                "command": "store_memory",
                "data": {"session_id": "demo-2", "type": "fact", "key": "plan", "content": "x"},
            },
        ]
    },
)
class Batch(CommandData):
    """Run up to 100 commands as a whole or not at all; replies with every result, in order."""

    commands: Annotated[list[BatchedCommand], Field(min_length=1, max_length=MAX_COMMANDS)]
    _parts: tuple[Part, ...] = PrivateAttr(())

    @property
    def parts(self) -> tuple[Part, ...]:
        """The commands within, checked."""
        return self._parts

    @property
    def count_within(self) -> int:
        """How many commands it holds."""
        return len(self._parts)

    @property
    def session_ids(self) -> Sequence[str]:
        """Every session that one of the commands is about."""
        named = (getattr(part.data, "session_id", None) for part in self._parts)
        return tuple(dict.fromkeys(session_id for session_id in named if session_id is not None))

    def read_within(self, text: bytes) -> None:
        """Check each command within, of which `text` holds the data as it was sent.

        Raises `Rejected` with the index of the first that is wrong, or that has no place in a batch.
        """
        parts = []
        for index, (item, raw) in enumerate(
            zip(self.commands, _RAW_ITEMS.decode(slices(text)["commands"]), strict=True)
        ):
            data_text = bytes(raw["data"]) if "data" in raw else b"{}"
            try:
                spec = batchable(item.command)
                parts.append(Part(spec, validate_data(spec, item.data, data_text), data_text))
            except Rejected as refusal:
                raise refused_at(index, item.command, refusal) from None
        self._parts = tuple(parts)


def batchable(name: str) -> CommandSpec:
    """The registry's row of a command that a batch may hold. Raises `Rejected("invalid")` for any other name."""
    spec = spec_of(name)
    if not spec.public:
        raise invalid(f"there is no command {name!r}; /docs lists those there are", command=name)
    if spec.data is Batch:
        raise invalid("a batch can't hold another batch", command=name)
    if spec.area == "chat":
        raise invalid(
            f"{name!r} can't be part of a batch: what is said in a room keeps the order of that", command=name
        )
    if spec.scope == "admin":
        # Who may send a batch may publish, and no more than that.
        raise invalid(f"{name!r} is an admin's command, which can't be part of a batch", command=name)
    return spec


def commands_within(batch: Command) -> list[Command]:
    """The commands of a batch, under ids made of the batch's own (UUIDv5 of id and index), caused by it."""
    asked: Batch = batch.data
    return [
        Command(
            spec=part.spec,
            message_id=str(uuid_utils.uuid5(_PARTS, f"{batch.message_id}\n{index}")),
            # A transaction is no place to wait in.
            data=part.data.model_copy(update={"wait_s": 0}) if getattr(part.data, "wait_s", None) else part.data,
            sender_agent_id=batch.sender_agent_id,
            timestamp=batch.timestamp,
            priority=batch.priority,
            correlation_id=batch.message_id,
            hops=batch.hops,
            trust=batch.trust,
            data_text=part.text,
            traceparent=batch.traceparent,
            caller=batch.caller,
            by_admin=batch.by_admin,
        )
        for index, part in enumerate(asked.parts)
    ]


def refused_at(index: int, name: str, refusal: Rejected) -> Rejected:
    """What a batch is refused with when one of its commands is: the same error, saying which one it was."""
    details = {**refusal.details, "index": index, "command": name}
    return Rejected(refusal.code, f"commands[{index}] ({name}): {refusal.message}", **details)
