"""What waits for the server: nothing lost or doubled, in bounded memory and on a bounded disk."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard_client.agents import outbox as module
from switchyard_client.agents.outbox import Outbox
from switchyard_client.agents.spool import Spool


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "MEMORY_LINES", 50)
    monkeypatch.setattr(module, "MEMORY_BYTES", 1_000)
    yield


def line(number: int, size: int = 10) -> tuple[str, int]:
    text = f"{number}".ljust(size, ".")
    return json.dumps({"text": text}), len(text)


def taken(outbox: Outbox, credit: int = 500) -> list[str]:
    """Everything, as a server would take it."""
    found: list[str] = []
    while len(outbox):
        batch = outbox.batch(credit)
        assert 0 < len(batch) <= credit
        found += batch
        outbox.stored(outbox.first + len(batch))
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 30)), max_size=30))
def test_lines_come_out_as_they_came_in_whether_the_server_is_there_or_not(
    story: list[tuple[bool, int, int]],
) -> None:
    outbox = Outbox(1_000_000)
    put: list[str] = []
    out: list[str] = []
    for away, lines, sent in story:
        outbox.away = away
        new = [line(len(put) + number) for number in range(lines)]
        outbox.put(new)
        put += [text for text, _ in new]
        if not away and sent:
            batch = outbox.batch(sent)
            out += batch
            outbox.stored(outbox.first + len(batch))
    out += taken(outbox)
    outbox.close()
    assert out == put


def test_a_process_is_held_up_in_memory_while_the_server_is_there_and_at_the_disks_limit_while_it_is_not() -> None:
    outbox = Outbox(spool_bytes=5_000)
    outbox.put([line(number) for number in range(50)])
    assert outbox.full
    outbox.away = True
    assert not outbox.full
    while not outbox.full:
        outbox.put([line(outbox.given)])
    assert 150 < outbox.given < 400
    outbox.away = False
    assert outbox.full  # until what lies on the disk is out
    assert len(taken(outbox)) == outbox.given and not outbox.full
    outbox.close()


def test_a_batch_fits_into_a_frame_with_all_escapes() -> None:
    outbox = Outbox(0)
    outbox.put([(json.dumps({"text": "\x1b" * 1_000}), 1_000) for _ in range(20)])
    batch = outbox.batch(500)
    assert 5 < len(batch) < 12 and sum(map(len, batch)) <= module.MAX_JSON_BYTES
    outbox.close()


def test_what_the_server_has_already_is_passed_over() -> None:
    outbox = Outbox(0)
    outbox.put([line(number) for number in range(10)])
    outbox.batch(3)
    outbox.stored(8)
    assert outbox.batch(500) == [line(number)[0] for number in range(7, 10)] and outbox.first == 8
    outbox.close()


def test_a_disk_that_is_full_in_between_loses_nothing_and_changes_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(1_000_000)
    outbox.away = True
    put = [line(number) for number in range(200)]
    outbox.put(put[:100])
    outbox.put(put[100:110])
    with monkeypatch.context() as full:
        full.setattr(Spool, "put", no_room)
        outbox.put(put[110:150])
        assert outbox.full
        outbox.put(put[150:160])
    outbox.put(put[160:])
    assert outbox.full
    outbox.away = False
    assert taken(outbox) == [text for text, _ in put]
    assert not outbox.full
    outbox.close()


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")
