"""Tables and cards at a width, in a pipe, and with what nobody should have to see."""

import json
import os
import re
from datetime import datetime

import pytest

from cli import moments
from cli.tables import Column, fit, in_full, marked, one_line, print_card, print_table

NOW = datetime.fromisoformat("2026-11-20T14:10:00+00:00")
UUID = "0199e1f4-6c2a-7d41-9f0e-3b8f5a7c2d10"
COLUMNS = [
    Column("TASK", "task_id", whole=True),
    Column("STATUS", "status", whole=True),
    Column("AGENT", "agent"),
    Column("PRIO", "priority", whole=True, right=True, spare=1),
    Column("SESSION", "session_id", whole=True, spare=2),
]
ROW = {"task_id": UUID, "status": "pending", "agent": "researcher", "priority": 5, "session_id": "demo-" + "s" * 20}


@pytest.fixture
def lines(monkeypatch, capsys):
    """Prints at a width, and gives the lines that came out."""

    def printed(width: int | None, print_something, *things, **options) -> list[str]:
        if width is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setitem(os.environ, "COLUMNS", str(width))
        print_something(*things, **options)
        return capsys.readouterr().out.splitlines()

    return printed


def test_a_wide_screen_shows_every_column(lines):
    [titles, row] = lines(120, print_table, COLUMNS, [ROW])
    assert titles.split() == ["TASK", "STATUS", "AGENT", "PRIO", "SESSION"]
    assert row.split() == [UUID, "pending", "researcher", "5", ROW["session_id"]]
    assert titles.index("SESSION") == row.index("demo-")
    assert titles.index("PRIO") + 3 == row.index(" 5 ") + 1


def test_a_narrow_screen_leaves_out_spare_columns_first_and_never_cuts_an_id(lines):
    [titles, row] = lines(80, print_table, COLUMNS, [ROW])
    assert titles.split() == ["TASK", "STATUS", "AGENT", "PRIO"]
    assert row.split() == [UUID, "pending", "researcher", "5"]
    [titles, row] = lines(40, print_table, COLUMNS, [ROW])
    assert titles.split() == ["TASK", "STATUS", "AGENT"]
    assert row.split() == [UUID, "pending", "researc…"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_long_text_is_cut_to_what_the_screen_holds(lines, width):
    columns = [Column("KEY", "key", whole=True), Column("CONTENT", "content"), Column("BY", "by")]
    rows = [{"key": "plan", "content": "word " * 80, "by": "ada"}, {"key": "b", "content": "漢字" * 90, "by": None}]
    shown = lines(width, print_table, columns, rows)
    assert [line.count("…") for line in shown] == [0, 1, 1]
    # A Chinese character takes two columns.
    assert len(shown[1]) == width
    assert shown[1].endswith("…  ada")


def test_a_pipe_gets_every_column_and_text_of_some_length_without_colours(lines):
    row = {**ROW, "agent": "a" * 200}
    [titles, shown] = lines(None, print_table, COLUMNS, [row])
    assert shown.split() == [UUID, "pending", "a" * 79 + "…", "5", ROW["session_id"]]
    assert "\x1b" not in titles + shown
    assert not shown.endswith(" ")


def test_a_screen_is_spared_columns_that_are_empty_and_a_pipe_is_not(lines):
    row = {**ROW, "session_id": None, "agent": None}
    assert lines(120, print_table, COLUMNS, [row])[0].split() == ["TASK", "STATUS", "AGENT", "PRIO"]
    assert lines(None, print_table, COLUMNS, [row])[0].split() == ["TASK", "STATUS", "AGENT", "PRIO", "SESSION"]


def test_the_widest_text_gives_way_first():
    columns = [Column("A", "a"), Column("B", "b"), Column("ID", "id", whole=True)]
    assert fit(columns, [30, 10, 20], 50) == {0: 16, 1: 10, 2: 20}
    assert fit(columns, [30, 30, 20], 10) == {0: 8, 1: 8, 2: 20}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ("two\nlines\tand  a tab", "two lines and a tab"),
        (["a", "b"], "a, b"),
        ({"a": [1, True]}, '{"a": [1, true]}'),
        ([], ""),
        ([1], "[1]"),
        (5, "5"),
        ("\x1b[31mred\x07\u202e", "�[31mred��"),
    ],
)
def test_any_value_becomes_one_harmless_line(value, shown):
    assert one_line(value) == shown


def test_text_in_full_keeps_its_lines_but_steers_no_terminal():
    assert in_full(rb'"a\r\nb\tc\u001b[2J"') == "a\nb\tc�[2J"
    assert in_full(b'{"a": 1e5}') == '{\n  "a": 1e5\n}'


def test_a_highlight_is_shown_as_the_text_it_marks():
    assert marked("a &lt;b&gt; &amp; <mark>queue</mark>") == "a <b> & queue"


def test_a_card_has_a_line_for_what_is_set_and_blocks_below(lines):
    thing = {"status": "done", "created": "2020-01-02T03:04:05.000006Z", "tags": [], "error": None, "content": "x\ny"}
    text = json.dumps({**thing, "key": "plan"}).encode()
    shown = lines(80, print_card, text, first=("key",), blocks=("content",))
    assert shown[0] == "key      plan"
    assert shown[1] == "status   done"
    assert re.fullmatch(r"created  2020-01-0[123] \d\d:\d\d:05 \(\dy ago\)", shown[2])
    assert shown[3:] == ["", "content", "x", "y"]


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-11-20T14:09:52Z", "8s"),
        ("2026-11-20T14:00:01Z", "9m"),
        ("2026-11-20T10:00:00+01:00", "5h"),
        ("2026-11-18T14:00:00Z", "2d"),
        ("2024-11-01T00:00:00Z", "2y"),
        ("2026-11-20T14:15:00.5Z", "in 5m"),
        ("2026-11-20T14:10:00Z", "0s"),
    ],
)
def test_ages_are_in_the_largest_unit_that_fits(moment, shown):
    assert moments.age(datetime.fromisoformat(moment), NOW) == shown


@pytest.mark.parametrize(
    ("moment", "short"),
    [
        ("2026-11-20T14:03:00Z", r"\d\d:\d\d 7m"),
        ("2026-11-10T12:00:00Z", r"10 Nov 10d"),
        ("2024-06-15T12:00:00Z", r"2024-06-15 2y"),
    ],
)
def test_moments_are_short_and_the_shorter_the_nearer(moment, short):
    assert re.fullmatch(short, moments.short(moment, NOW.astimezone()))
