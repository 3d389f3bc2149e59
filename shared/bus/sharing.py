"""How commands share a transaction: whose sessions are locked, which go together, and in which order."""

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass

from shared.database import Transaction
from shared.messages import Command


@dataclass(frozen=True, slots=True)
class Sharing:
    """How commands share a transaction."""

    # The sessions of commands that name none, such as those by a task's id: locked with the others, in one order.
    find_sessions: Callable[[Transaction, list[Command]], Awaitable[Set[str]]] | None = None
    # Hot commands that are gathered in this order wherever they stand, so that one handler takes all of a name.
    gathered: Sequence[str] = ()
    # Whether gathered ones see nothing of each other, so that events may be numbered in the order in which their
    # commands came. Else in that in which they were handled, or an event might stand before what it follows from.
    numbered_as_they_came: bool = False
    # Commands that only find out what they are about: in one transaction with nothing but their like, or they would
    # lock sessions after others.
    apart: Set[str] = frozenset()
    # How many go into one transaction at most. More of them cost less each, and keep each other waiting for longer.
    at_once: int = 100


def neighbours(commands: list[Command], at: int) -> list[Command]:
    """The run of commands from `at` on that share one name."""
    end = at + 1
    while end < len(commands) and commands[end].spec is commands[at].spec:
        end += 1
    return commands[at:end]


def gather(commands: list[Command], order: Sequence[str]) -> list[Command]:
    """The commands with those of each stretch of gathered ones sorted by name; those of one name keep their order."""
    places = {name: place for place, name in enumerate(order)}
    gathered: list[Command] = []
    stretch: list[Command] = []
    for command in commands:
        if command.spec.name in places:
            stretch.append(command)
        else:
            gathered += [*sorted(stretch, key=lambda each: places[each.spec.name]), command]
            stretch = []
    return gathered + sorted(stretch, key=lambda each: places[each.spec.name])
