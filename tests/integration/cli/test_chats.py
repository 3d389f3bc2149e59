"""`switchyard chat` and `switchyard bots`, where bots have no credential."""

from tests.integration.cli.conftest import Shell


def test_who_talks_to_a_bot_without_a_credential_is_told_so(shell: Shell) -> None:
    said = shell.run("chat", "cli-room", "assistant", "Hello", "--as", "Ada")
    assert said.exit_code == 1 and "no credential for Claude is configured" in said.stderr
    turn = shell.run("chat", "cli-room", "assistant", "-", "--json", input="Hello again")
    assert turn.exit_code == 1 and '"reason": "no_credential"' in turn.stdout
    missing = shell.run("chat", "cli-room", "nobody", "Hello")
    assert missing.exit_code == 4 and "assistant" in missing.stderr and "bots ls" in missing.stderr
    anew = shell.run("chat", "cli-room", "assistant", "Hello", "--reset")
    assert anew.exit_code == 2 and "forget what was said in cli-room" in anew.stderr


def test_a_bot_is_switched_off_and_on(shell: Shell) -> None:
    assert "is switched off" in shell.do("bots", "off", "assistant", "--reason", "it talks nonsense")
    assert ["assistant", "assistant", "off", "by"] in [row[:4] for row in shell.rows("bots", "ls") if row]
    dropped = shell.run("chat", "cli-room", "assistant", "Hello")
    assert dropped.exit_code == 1 and "Not answered: the bot is switched off" in dropped.stderr
    assert "was off already" in shell.do("bots", "off", "assistant")
    assert shell.json("bots", "on", "assistant") == {"bot_id": "assistant", "on": True, "changed": True}
    assert shell.run("bots", "on").exit_code == 2
    assert [bot["on"] for bot in shell.json("bots", "ls")["bots"]] == [True]


def test_a_bot_switched_on_while_all_are_off_is_said_to_stay_off(shell: Shell) -> None:
    shell.do("bots", "off", "--all")
    one = shell.run("bots", "on", "assistant")
    assert one.exit_code == 1 and "was on already" in one.stdout and "bots on --all" in one.stderr
    shell.do("bots", "on", "--all")
    assert "was on already" in shell.do("bots", "on", "assistant")
