"""Hot commands are gathered for their handlers, wherever they stand in a batch."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.sharing import gather
from shared.messages import Command, decode_command, encode_command

ORDER = ("start_task", "complete_task")
LEASE = {"task_id": "t", "lease_token": "x"}
DATA: dict[str, dict[str, Any]] = {
    "start_task": LEASE,
    "complete_task": LEASE,
    "cancel_task": {"task_id": "t"},
}


def commands(names: list[str]) -> list[Command]:
    return [
        decode_command(encode_command(name, DATA[name], message_id=str(at), sender_agent_id="ada"))
        for at, name in enumerate(names)
    ]


def ids(gathered: list[Command]) -> list[str]:
    return [command.message_id for command in gathered]


def test_each_name_comes_together_in_the_order_given() -> None:
    made = commands(["complete_task", "start_task", "complete_task", "start_task"])
    assert ids(gather(made, ORDER)) == ["1", "3", "0", "2"]


def test_nothing_overtakes_a_command_that_is_not_gathered() -> None:
    made = commands(["complete_task", "start_task", "cancel_task", "complete_task", "start_task"])
    assert ids(gather(made, ORDER)) == ["1", "0", "2", "4", "3"]


@given(st.lists(st.sampled_from(sorted(DATA))))
def test_none_is_lost_and_those_of_one_name_keep_their_order(names: list[str]) -> None:
    gathered = gather(commands(names), ORDER)
    assert sorted(ids(gathered), key=int) == [str(at) for at in range(len(names))]
    for name in DATA:
        of_name = [int(each.message_id) for each in gathered if each.spec.name == name]
        assert of_name == sorted(of_name)
