"""Bots as switchyard.toml declares them."""

from pathlib import Path

import pytest

from services.claude_worker.bots import BotsError, load


def declared(folder: Path, text: str) -> Path:
    file = folder / "switchyard.toml"
    file.write_text(text)
    return file


def test_a_bot_is_what_its_table_says_and_else_as_usual(tmp_path: Path) -> None:
    (bot,) = load(declared(tmp_path, '[bots.helper]\nmodel = "m"\nbusy = "reject"\n')).values()
    assert (bot.name, bot.model, bot.busy, bot.idle_minutes) == ("helper", "m", "reject", 20)


def test_there_are_none_where_there_is_no_file(tmp_path: Path) -> None:
    assert load(tmp_path / "nothing.toml") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bots.helper]\nbusy = 'panic'", r"\[bots.helper\]: busy: Input should be 'enqueue'"),
        ("[bots.helper]\ncolour = 'red'", r"\[bots.helper\]: colour: Extra inputs"),
        ("[bots.helper]\nidle_minutes = 0", r"\[bots.helper\]: idle_minutes: Input should be greater than 0"),
        ("[bots.'a b']", r"\[bots.a b\]: a bot's id is letters"),
        ("bots = 3", r"\[bots.NAME\] tables are expected"),
        ("[bots.helper", "switchyard.toml"),
    ],
    ids=["policy", "unknown", "idle", "id", "no tables", "no toml"],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BotsError, match=said):
        load(declared(tmp_path, text))
