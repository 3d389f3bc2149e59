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
        ("[bots.helper]\ncolour = 'red'", r"\[bots.helper\]: colour: there is no such setting"),
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("allowed_tools = ['store_memory', 'stroe']", r"\[bots.helper\]: allowed_tools: there is no command 'stroe'"),
        ("untrusted_tools = ['run_turns']", r"untrusted_tools: there is no command 'run_turns'"),
        ("allowed_tools = ['switch_bot']", r"allowed_tools: switch_bot is for admins: it can only stand in ask_tools"),
        ("ask_tools = ['approve']", r"ask_tools: approve can't be a tool: no bot may decide what bots may do"),
        ("ask_tools = ['batch']", r"ask_tools: batch can't be a tool: it would run commands that are not listed"),
    ],
    ids=["unknown", "private", "admin", "decides", "batch"],
)
def test_what_can_not_be_a_tool_is_named_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BotsError, match=said):
        load(declared(tmp_path, f"[bots.helper]\n{text}"))


def test_what_is_for_admins_can_be_asked_for(tmp_path: Path) -> None:
    (bot,) = load(declared(tmp_path, "[bots.helper]\nask_tools = ['switch_bot']")).values()
    assert bot.rights.offered == ("switch_bot",)
