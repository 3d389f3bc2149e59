"""Tables and cards: things in lines and one thing on its own, as wide as the terminal or, in a pipe, as they are."""

import html
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.text import Text

from cli import moments
from cli.screen import harmless, out

Row = Mapping[str, Any]

STYLES = {
    **dict.fromkeys(("active", "running", "claimed", "in_progress", "testing", "reviewing", "consolidating"), "green"),
    **dict.fromkeys(("paused", "pending", "blocked", "waiting"), "yellow"),
    **dict.fromkeys(("failed", "dead"), "red"),
    **dict.fromkeys(("completed", "archived", "cancelled", "abandoned", "merged"), "dim"),
}
# Where text is cut in a pipe.
_LONGEST = 80
# Text has at least so much room in the narrowest terminal.
_LEAST = 8
_GAP = 2
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Column:
    """A column of a table: `value` is a member's name, or makes the text from the whole row."""

    title: str
    value: str | Callable[[Row], Any]
    # Never cut: ids, so that they can be copied, and what is short anyway.
    whole: bool = False
    # Left out where there is no room for it, the highest number first; 0 stays.
    spare: int = 0
    # Text wants so much room before a spare column gets any.
    comfort: int = 16
    right: bool = False

    def text(self, row: Row) -> str:
        """What stands in the column, on one line."""
        return one_line(row.get(self.value) if isinstance(self.value, str) else self.value(row))


def one_line(value: Any) -> str:
    """Any value as a line of text; a moment in its short form."""
    match value:
        case None:
            return ""
        case str() if _MOMENT.fullmatch(value):
            return moments.short(value)
        case str():
            return harmless(" ".join(value.split()))
        case [*items] if all(isinstance(item, str) for item in items):
            return harmless(", ".join(items))
        case dict() | list() | bool():
            return harmless(json.dumps(value, ensure_ascii=False))
    return str(value)


def marked(highlight: str) -> str:
    """A highlight of the API as plain text; it is HTML, with what was found in `<mark>`."""
    return html.unescape(highlight.replace("<mark>", "").replace("</mark>", ""))


def screen_width() -> int | None:
    """The columns there are to fill; None in a pipe, where a line may have any length."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    return out.width if out.is_terminal else None


def fit(columns: Sequence[Column], wanted: Sequence[int], width: int | None) -> dict[int, int]:
    """Which columns to show, by their place, and how wide; `wanted` is what their texts take.

    Too wide for the screen: spare columns go first, then texts are cut, the widest first. What is whole stays whole,
    even if the line gets longer than the screen.
    """
    places = list(range(len(columns)))
    if width is None:
        return {n: wanted[n] if columns[n].whole else min(wanted[n], _LONGEST) for n in places}
    for spare in sorted((n for n in places if columns[n].spare), key=lambda n: -columns[n].spare):
        comfort = [wanted[n] if columns[n].whole else min(wanted[n], columns[n].comfort) for n in places]
        if sum(comfort) + _GAP * (len(places) - 1) > width:
            places.remove(spare)
    shown = {n: wanted[n] for n in places}
    excess = sum(shown.values()) + _GAP * (len(places) - 1) - width
    while excess > 0:
        widest = max((n for n in places if not columns[n].whole), key=lambda n: shown[n], default=None)
        if widest is None or shown[widest] <= _LEAST:
            break
        shown[widest] -= 1
        excess -= 1
    return shown


def print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Rows under their titles, in this order; a screen is spared the columns that may go and have nothing to say."""
    width = screen_width()
    cells = [[Text(column.text(row)) for column in columns] for row in rows]
    if width is not None:
        filled = [n for n, column in enumerate(columns) if not column.spare or any(line[n] for line in cells)]
        columns, cells = [columns[n] for n in filled], [[line[n] for n in filled] for line in cells]
    titles = [Text(column.title) for column in columns]
    wanted = [max(line[n].cell_len for line in [titles, *cells]) for n in range(len(columns))]
    shown = fit(columns, wanted, width)
    for line in [titles, *cells]:
        for n, room in shown.items():
            line[n].truncate(room, overflow="ellipsis")
            if line is titles:
                line[n].stylize("bold")
            elif style := STYLES.get(line[n].plain):
                line[n].stylize(style)
            line[n].align("right" if columns[n].right else "left", room)
        whole = Text(" " * _GAP).join(line[n] for n in shown)
        whole.rstrip()
        out.print(whole)


def print_card(text: bytes, *, first: Sequence[str] = (), blocks: Sequence[str] = ()) -> None:
    """One thing, given as JSON: a line for each member that is set, those of `first` before the others, then `blocks`.

    Blocks are printed in full, with their numbers as they came.
    """
    thing = json.loads(text)
    names = [
        name for name in dict.fromkeys([*first, *thing]) if name not in blocks and thing.get(name) not in (None, [], {})
    ]
    width = max((len(name) for name in names), default=0) + _GAP
    for name in names:
        value = thing[name]
        shown = moments.long(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else one_line(value)
        label = Text(name.replace("_", " ").ljust(width), style="dim")
        out.print(label + Text(shown, style=STYLES.get(shown, "")))
    for name in blocks:
        if thing.get(name) is not None:
            out.print(Text(f"\n{name.replace('_', ' ')}", style="bold"))
            out.print(Text(in_full(member(text, name))))


def member(text: bytes, name: str) -> bytes:
    """The JSON of one member of an object, as it came."""
    return bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[name])


def items(text: bytes, name: str) -> list[bytes]:
    """The JSON of each item of a list that is a member of an object, as it came."""
    return [bytes(item) for item in msgspec.json.decode(member(text, name), type=list[msgspec.Raw])]


def in_full(value: bytes) -> str:
    """A JSON value of any length: text as it is, anything else with a line for each member."""
    if value.lstrip().startswith(b'"'):
        return harmless(str(json.loads(value)).replace("\r\n", "\n"))
    return harmless(msgspec.json.format(value, indent=2).decode())
