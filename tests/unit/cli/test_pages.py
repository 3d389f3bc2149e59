"""Lists as tables and as the API gave them, page by page or all of it."""

import json

import pytest

from cli.pages import Paging, print_list
from cli.tables import Column

ENTRIES = [f'{{"id": "e{n}", "number": 1e{n},\n "text": "a\\nb"}}' for n in range(5)]


@pytest.fixture
def asked():
    return []


@pytest.fixture
def ask(asked):
    """A list of five entries that gives at most two at a time, with odd numbers and line breaks between members."""

    def page(limit: int, cursor: str | None) -> bytes:
        asked.append((limit, cursor))
        start = int(cursor or 0)
        end = min(start + min(limit, 2), 5)
        after = f'"{end}"' if end < 5 else "null"
        return f'{{"things": [{", ".join(ENTRIES[start:end])}], "next": {after}}}'.encode()

    return page


def show(ask, **options):
    paging = Paging(**{"limit": 2, "cursor": None, "everything": False, "as_json": False, **options})
    print_list(ask, "things", [Column("ID", "id", whole=True)], paging, empty="nothing")


def test_a_page_is_a_table_and_says_how_to_go_on(ask, asked, capsys):
    show(ask, cursor="2")
    printed = capsys.readouterr()
    assert printed.out.split() == ["ID", "e2", "e3"]
    assert printed.err.strip() == "There are more: --all, or --cursor 4"
    assert asked == [(2, "2")]


def test_a_page_as_json_is_the_apis_own_document_on_one_line(ask, capsys):
    show(ask, as_json=True)
    [line] = capsys.readouterr().out.splitlines()
    assert line == ask(2, None).decode().replace("\n", " ")
    assert json.loads(line)["next"] == "2"


def test_all_pages_as_json_are_lines_with_the_entries_as_they_came(ask, asked, capsys):
    show(ask, everything=True, as_json=True)
    assert capsys.readouterr().out.splitlines() == [entry.replace("\n", " ") for entry in ENTRIES]
    assert asked == [(500, None), (500, "2"), (500, "4")]


def test_all_pages_are_one_table(ask, capsys):
    show(ask, everything=True, cursor="1")
    printed = capsys.readouterr()
    assert printed.out.split() == ["ID", "e1", "e2", "e3", "e4"]
    assert printed.err == ""


def test_an_empty_list_is_said_so_and_prints_no_titles(capsys):
    show(lambda limit, cursor: b'{"things": [], "next": null}')
    printed = capsys.readouterr()
    assert (printed.out, printed.err.strip()) == ("", "nothing")
