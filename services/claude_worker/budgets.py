"""Budgets: how much of what a bot may use on a day (UTC) is used up, and what its room is told of it; no I/O."""

from typing import NamedTuple

from services.claude_worker.bots import Budget

MEASURES = ("turns", "tokens", "cost_usd")


class Used(NamedTuple):
    """What was used on a day."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def measured(self) -> tuple[float, ...]:
        """What limits are given in: `MEASURES`."""
        return self.turns, self.input_tokens + self.output_tokens, self.cost_usd

    def plus(self, other: "Used") -> "Used":
        """Both together."""
        return Used(*(one + another for one, another in zip(self, other, strict=True)))  # type: ignore[arg-type]


class Limit(NamedTuple):
    """One limit of a budget, named as its field, and how much of it is used."""

    name: str
    most: float
    used: float

    @property
    def of_room(self) -> bool:
        """Whether each room has it for itself."""
        return self.name.startswith("room_")

    @property
    def share(self) -> float:
        """The part of it that is used."""
        return self.used / self.most

    @property
    def left(self) -> float:
        """What may still be used."""
        return max(0, self.most - self.used)


def is_limited(budget: Budget, *, room: bool | None = None) -> bool:
    """Whether there is any limit; only those of rooms (`room` true), or of the whole bot (false)."""
    names = [*(MEASURES if room is not True else ()), *(_of_room(MEASURES) if room is not False else ())]
    return any(getattr(budget, name) is not None for name in names)


def limits(budget: Budget, bot: Used, room: Used | None) -> list[Limit]:
    """The limits of a budget as they stand; those of rooms only when there is one."""
    used = dict(zip(MEASURES, bot.measured(), strict=True))
    if room is not None:
        used |= dict(zip(_of_room(MEASURES), room.measured(), strict=True))
    return [Limit(name, most, used[name]) for name in used if (most := getattr(budget, name)) is not None]


def used_up(budget: Budget, bot: Used, room: Used) -> Limit | None:
    """The limit that refuses a message; the one that is overrun most."""
    over = [limit for limit in limits(budget, bot, room) if limit.share >= 1]
    return max(over, key=lambda limit: limit.share, default=None)


def to_warn_of(budget: Budget, bot: Used, room: Used) -> list[Limit]:
    """The limits that are nearly used up, or more: at most one of the whole bot, and one of the room."""
    near = sorted((limit for limit in limits(budget, bot, room) if limit.share >= budget.warn_at), key=_share)
    return list({limit.of_room: limit for limit in near}.values())


def warning(limit: Limit) -> str:
    """What the room is told when a limit is nearly used up."""
    return f"I have used {_part(limit)} of what I may use {_scope(limit)}today ({_amount(limit)})."


def refusal(limit: Limit) -> str:
    """What the room is told when a limit is used up."""
    return (
        f"I have used up what I may use {_scope(limit)}today ({_amount(limit)}), so I don't answer any more. "
        "From midnight (UTC) on I do again."
    )


def _of_room(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"room_{name}" for name in names)


def _share(limit: Limit) -> float:
    return limit.share


def _part(limit: Limit) -> str:
    return "all" if limit.share >= 1 else f"{limit.share:.0%}"


def _scope(limit: Limit) -> str:
    return "in this room " if limit.of_room else ""


def _amount(limit: Limit) -> str:
    measure = limit.name.removeprefix("room_")
    if measure == "cost_usd":
        return f"${limit.used:.2f} of ${limit.most:.2f}"
    return f"{limit.used:,.0f} of {limit.most:,.0f} {'answers' if measure == 'turns' else measure}"
