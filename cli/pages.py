"""Lists of the API, printed: a page as a table or as the API gave it, or all pages of it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import typer
from rich.text import Text

from cli.screen import err, out, progress
from cli.tables import Column, in_full, items, member, print_table

# A page: up to so many entries after a cursor, as the API's text.
Ask = Callable[[int, str | None], bytes]
_LARGEST_PAGE = 500


@dataclass(frozen=True)
class Paging:
    """What of a list to print, and how."""

    limit: int
    cursor: str | None
    everything: bool
    as_json: bool


def print_list(ask: Ask, noun: str, columns: Sequence[Column], paging: Paging, *, empty: str) -> None:
    """Print a list whose entries stand under `noun`; `empty` is said when there are none.

    As JSON a page is the API's own document, with `next`; all pages are JSON Lines. Else it is a table.
    """
    if paging.everything:
        entries = _all_entries(ask, noun, paging.cursor)
        if paging.as_json:
            _print_lines(entries, noun)
            return
        with progress(f"{noun} read") as bar:
            rows = [json.loads(entry) for entry in bar.count(entries)]
        after = None
    else:
        page = ask(paging.limit, paging.cursor)
        if paging.as_json:
            print_json(page)
            return
        document = json.loads(page)
        rows, after = document[noun], document["next"]
    if rows:
        print_table(columns, rows)
    else:
        # A search may have looked at enough for one page and found nothing yet.
        err.print(empty if after is None else "None so far.", style="dim", markup=False)
    if after is not None:
        err.print(f"There are more: --all, or --cursor {after}", style="dim", markup=False)


def print_json(text: bytes) -> None:
    """An answer of the API as it came, on one line."""
    typer.echo(_on_one_line(text))


def print_pretty(text: bytes) -> None:
    """An answer of the API, or a part of it, with a line for each member; numbers as they came."""
    from rich.highlighter import JSONHighlighter

    shown = Text(in_full(text))
    out.print(JSONHighlighter()(shown) if out.is_terminal else shown)


def _print_lines(entries: Iterator[bytes], noun: str) -> None:
    if out.is_terminal:  # where the lines go by themselves, and a bar would stand in their way
        for entry in entries:
            typer.echo(_on_one_line(entry))
        return
    with progress(f"{noun} read") as bar:
        for entry in bar.count(entries):
            typer.echo(_on_one_line(entry))


def _all_entries(ask: Ask, noun: str, cursor: str | None) -> Iterator[bytes]:
    """The text of each entry of all pages from a cursor on."""
    while True:
        page = ask(_LARGEST_PAGE, cursor)
        yield from items(page, noun)
        cursor = json.loads(member(page, "next"))
        if cursor is None:
            return


def _on_one_line(text: bytes) -> str:
    # In JSON a line break stands between values only: within a string it is escaped.
    return text.replace(b"\r", b" ").replace(b"\n", b" ").decode()
