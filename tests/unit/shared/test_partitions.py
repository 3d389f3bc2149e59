"""Which partition a command goes to."""

import orjson
import pytest

from shared.bus.topology import COMMANDS as EXCHANGE
from shared.bus.topology import QUEUES
from shared.messages import JsonText, spec_of
from shared.messages.partitions import PARTITIONS, partition_of, routing_key_of

SAID = {"room_id": "42", "bot_id": "helper", "user_name": "Ada", "text": "hello"}


def test_a_partition_never_changes_or_what_waits_in_the_queues_would_be_overtaken() -> None:
    assert [partition_of("42", "helper"), partition_of("1", "x"), partition_of("Café", "bot")] == [14, 12, 9]


def test_rooms_spread_over_all_partitions() -> None:
    assert {partition_of(str(number), "helper") for number in range(300)} == set(range(PARTITIONS))


@pytest.mark.parametrize(
    "data", [SAID, orjson.dumps(SAID), JsonText(orjson.dumps(SAID))], ids=["decoded", "text", "json text"]
)
def test_what_names_a_room_and_a_bot_goes_to_their_partition(data: dict[str, str] | bytes | JsonText) -> None:
    assert routing_key_of(spec_of("chat_message"), data) == "chat.chat_message.14"


@pytest.mark.parametrize(
    "data", [b"[]", b"{", b'{"room_id":7,"bot_id":"x"}', b"{}"], ids=["list", "half", "number", "empty"]
)
def test_what_names_neither_goes_to_whoever_tells_its_sender(data: bytes) -> None:
    assert routing_key_of(spec_of("chat_message"), data) == "chat.chat_message"


def test_other_commands_go_where_they_always_went() -> None:
    assert routing_key_of(spec_of("store_memory"), SAID) == "memory.store_memory"
    assert routing_key_of(spec_of("approve"), {**SAID}) == "chat.approve"


def test_every_partition_takes_every_partitioned_command_and_nothing_else() -> None:
    queues = {queue.name: queue for queue in QUEUES}
    assert (EXCHANGE, "chat.chat_message.07") in queues["chat.07"].bindings
    assert (EXCHANGE, "chat.approve.07") not in queues["chat.07"].bindings
    assert queues["chat.07"].arguments["x-single-active-consumer"] is True
    assert (EXCHANGE, "chat.chat_message") in queues["chat.commands"].bindings
