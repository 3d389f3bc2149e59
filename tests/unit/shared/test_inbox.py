"""The worker's inbox: in the order of arrival, and those for a session that is waited for behind each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus import inbox as inbox_module
from shared.bus.frames import Delivery
from shared.bus.inbox import MAX_BATCH, Inbox
from shared.bus.items import Item
from shared.messages import decode_command, encode_command


class Clock:
    """A clock the tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(inbox_module, "time", made)
    return made


def item(name: str, session_id: str = "s1", *, command: str = "store_memory") -> Item:
    data = {"session_id": session_id} | ({"type": "fact", "content": 1} if command == "store_memory" else {})
    body = encode_command(command, data, message_id=name, sender_agent_id="ada")
    return Item(Delivery(1, False, "e", "k"), decode_command(body))


def post(name: str, sidebar_id: str) -> Item:
    data = {"sidebar_id": sidebar_id, "text": "x"}
    body = encode_command("post_to_sidebar", data, message_id=name, sender_agent_id="ada")
    return Item(Delivery(1, False, "e", "k"), decode_command(body))


def filled(*items: Item) -> Inbox:
    made = Inbox()
    for each in items:
        made.add(each)
    return made


def names(items: list[Item]) -> list[str]:
    return [each.command.message_id for each in items]


def test_commands_come_out_as_they_came_in_and_a_hundred_at_a_time() -> None:
    made = filled(*(item(str(n)) for n in range(MAX_BATCH + 5)))
    assert names(made.next_batch()) == [str(n) for n in range(MAX_BATCH)]
    assert names(made.next_batch()) == [str(n) for n in range(MAX_BATCH, MAX_BATCH + 5)]
    assert made.next_batch() == []


def test_what_is_put_back_comes_first_again() -> None:
    made = filled(item("1"), item("2"), item("3"))
    batch = made.next_batch()
    made.add(item("4"))
    made.put_back(batch)
    assert names(made.next_batch()) == ["1", "2", "3", "4"]


def test_the_others_go_on_while_a_session_is_waited_for(clock: Clock) -> None:
    made = filled(item("1", "missing"), item("2"))
    first, _ = made.next_batch()
    made.set_aside([first])
    made.add(item("3", "missing"))
    made.add(item("4"))
    assert names(made.next_batch()) == ["4"]
    assert made.waits_for_sessions
    clock.now += 1
    assert names(made.next_batch()) == ["1", "3"]
    assert not made.waits_for_sessions


def test_what_is_said_in_a_sidebar_that_is_waited_for_stays_in_its_order(clock: Clock) -> None:
    made = filled(post("1", "missing"), post("2", "there"))
    first, _ = made.next_batch()
    made.set_aside([first])
    for each in (post("3", "missing"), post("4", "there"), item("5", "missing")):
        made.add(each)
    assert names(made.next_batch()) == ["4", "5"]
    clock.now += 1
    assert names(made.next_batch()) == ["1", "3"]


def test_who_opens_the_session_is_not_kept_waiting_for_it(clock: Clock) -> None:
    made = filled(item("1", "s1"))
    made.set_aside(made.next_batch())
    made.add(item("create", "s1", command="create_session"))
    assert names(made.next_batch()) == ["create"]


def test_the_patience_counts_from_the_first_look(clock: Clock) -> None:
    made = filled(item("1"))
    for _ in range(3):
        batch = made.next_batch()
        made.set_aside(batch)
        assert batch[0].missed == 100.0
        clock.now += 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_commands_of_one_session_never_overtake_each_other(arrivals: list[tuple[str, bool]]) -> None:
    """Whichever sessions are missing, and for how long."""
    made = filled(*(item(str(n), session) for n, (session, _) in enumerate(arrivals)))
    missing = {session for session, is_missing in arrivals if is_missing}
    done: list[Item] = []
    for turn in range(200):
        made._look_again = 0.0
        batch = made.next_batch()
        absent = [each for each in batch if each.command.session_id in missing]
        done += [each for each in batch if each not in absent]
        made.set_aside(absent)
        if turn % 7 == 6 and missing:
            missing.pop()
    assert len(done) == len(arrivals)
    for session in "abc":
        order = [int(name) for name in names([each for each in done if each.command.session_id == session])]
        assert order == sorted(order)


def test_commands_that_stand_apart_come_with_their_like_and_overtake_nobody() -> None:
    made = Inbox(frozenset({"create_session"}), at_once=3)
    for name, command in (
        ("1", "store_memory"),
        ("2", "create_session"),
        ("3", "create_session"),
        ("4", "store_memory"),
        ("5", "pause_session"),
        ("6", "store_memory"),
        ("7", "store_memory"),
    ):
        made.add(item(name, command=command))
    assert [names(made.next_batch()) for _ in range(4)] == [["1", "4", "5"], ["2", "3"], ["6", "7"], []]


def test_what_was_parked_can_be_taken_out_of_it() -> None:
    woken, other = item("1"), item("2")
    woken.parked = 1
    made = filled(woken, other)
    assert made.take_parked() == [woken]
    assert names(made.next_batch()) == ["2"]


def batch(name: str, *session_ids: str) -> Item:
    commands = [{"command": "log_action", "data": {"session_id": each, "type": "step"}} for each in session_ids]
    body = encode_command("batch", {"commands": commands}, message_id=name, sender_agent_id="ada")
    return Item(Delivery(1, False, "e", "k"), decode_command(body))


def test_a_batch_keeps_its_place_with_every_session_it_is_about(clock: Clock) -> None:
    made = filled()
    made.set_aside([item("waits", "s1")])
    for each in (batch("of two", "s2", "s1"), batch("of others", "s3"), item("free", "s2")):
        made.add(each)
    assert names(made.next_batch()) == ["of others", "free"]
    clock.now += 1
    assert names(made.next_batch()) == ["waits", "of two"]


def test_batches_share_a_transaction_only_while_they_hold_few_commands() -> None:
    made = filled(*(batch(str(n), *["s"] * 100) for n in range(5)), item("last"))
    assert names(made.next_batch()) == ["0", "1", "2", "3"]
    assert names(made.next_batch()) == ["4", "last"]


def test_what_comes_behind_a_batch_that_waits_does_not_overtake_it(clock: Clock) -> None:
    made = filled()
    made.set_aside([batch("waits", "s1", "s2")])
    made.add(item("behind", "s2"))
    made.add(item("free", "s3"))
    assert names(made.next_batch()) == ["free"]
    clock.now += 1
    assert names(made.next_batch()) == ["waits", "behind"]
