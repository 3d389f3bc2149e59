"""The pace of a replay, by a clock that stands still while nothing waits."""

import asyncio
import itertools
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import orjson
import pytest

from shared.errors import Rejected
from shared.replay import PAGE, Replay, read_start

T = TypeVar("T")
BEGAN = 1_700_000_000.0


class _Hurried(selectors.DefaultSelector):
    """Instead of waiting, moves the clock."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.passed += timeout
        return ready


class HurriedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock goes on only by what is waited for."""

    def __init__(self) -> None:
        self._hurried = _Hurried()
        super().__init__(self._hurried)

    def time(self) -> float:
        return self._hurried.passed


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(work)


class Recording:
    """Events at these times; keeps account of how many were read and not yet given."""

    def __init__(self, *at: float, takes_s: float = 0.0) -> None:
        self.at = at
        self.takes_s = takes_s
        self.asked: list[dict[str, Any]] = []
        self.fails = 0

    async def read(self, asked: dict[str, Any]) -> bytes:
        self.asked.append(asked)
        await asyncio.sleep(self.takes_s)
        if self.fails:
            self.fails -= 1
            raise TimeoutError
        first = int(asked.get("cursor") or asked.get("from_seq") or 1)
        if "after" in asked:
            first = int(asked["after"].partition("-")[0]) + 1
        numbers = range(first, min(first + PAGE, len(self.at) + 1))
        after = first + PAGE
        return orjson.dumps(
            {
                "events": [{"session_seq": number} for number in numbers],
                "places": [f"{number}-0" for number in numbers],
                "at": [BEGAN + self.at[number - 1] for number in numbers],
                "last_seq": len(self.at),
                "next": str(after) if after <= len(self.at) else None,
            }
        )


async def given(replay: Replay, count: int = 1_000_000) -> list[tuple[int, float]]:
    """The numbers of the events it gives, each with when."""
    clock, got = asyncio.get_running_loop().time, []
    while len(got) < count and not replay.ended:
        event = await replay.next()
        if event is not None:
            got.append((orjson.loads(event.body)["session_seq"], round(clock(), 6)))
    return got


@pytest.mark.parametrize("speed", [0.5, 1, 4])
def test_each_event_comes_when_it_came_then(speed: float) -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(0, 0.1, 0.1, 5, 3_600).read, "s", speed=speed)
        await replay.begin()
        return await given(replay)

    assert run(replayed()) == [(number, at / speed) for number, at in enumerate([0, 0.1, 0.1, 5, 3_600], 1)]


def test_pages_that_take_long_to_read_make_nothing_late() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(*[number * 0.01 for number in range(350)], takes_s=0.5).read, "s")
        await replay.begin()
        return await given(replay)

    got = run(replayed())
    assert [number for number, _ in got] == [*range(1, 351)]
    assert [at for _, at in got] == [round(0.5 + number * 0.01, 6) for number in range(350)]


def test_at_speed_0_nothing_waits_and_no_more_than_two_pages_are_held() -> None:
    recording = Recording(*range(1_000))

    async def replayed() -> float:
        replay = Replay(recording.read, "s", speed=0)
        await replay.begin()
        for number in range(1, 1_001):
            assert await replay.next() is not None
            assert len(recording.asked) * PAGE - number <= 2 * PAGE
        assert await replay.next() is None
        assert replay.ended
        return asyncio.get_running_loop().time()

    assert run(replayed()) == 0


def test_a_pause_holds_everything_and_moves_the_rest() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(0, 1, 2, 3).read, "s")
        await replay.begin()
        asyncio.get_running_loop().call_later(1.5, replay.pause)
        asyncio.get_running_loop().call_later(11.5, replay.resume)
        return await given(replay)

    assert run(replayed()) == [(1, 0), (2, 1), (3, 12), (4, 13)]


def test_another_speed_holds_from_its_moment_on() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(0, 1, 2, 4, 8).read, "s")
        await replay.begin()
        loop = asyncio.get_running_loop()
        loop.call_later(1.5, replay.set_speed, 0.5)
        loop.call_later(2.5, replay.set_speed, 2)
        loop.call_later(4.0, replay.set_speed, 0)
        return await given(replay)

    assert run(replayed()) == [(1, 0), (2, 1), (3, 2.5), (4, 3.5), (5, 4)]


@pytest.mark.parametrize("speed", [0, 1_000])
def test_a_slower_speed_holds_from_the_last_event_that_was_given_also_between_two_pages(speed: float) -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(*range(0, 3_000, 10), takes_s=5).read, "s", speed=speed)
        await replay.begin()
        first = await given(replay, PAGE)
        replay.set_speed(1)
        return [first[-1], *await given(replay, 3)]

    (_, last), (number, at), *rest = run(replayed())
    assert number == PAGE + 1
    assert at - last <= 10 + 5
    assert [there for _, there in rest] == pytest.approx([at + 10, at + 20])


def test_a_slower_speed_makes_no_burst_of_what_was_late() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(*range(0, 50, 10)).read, "s", speed=1_000)
        await replay.begin()
        first = await given(replay, 2)
        # Nobody takes anything for a while, as a client does that does not read.
        await asyncio.sleep(60)
        replay.set_speed(1)
        return [*first, *await given(replay)]

    at = [there for _, there in run(replayed())]
    assert [round(later - sooner, 3) for sooner, later in itertools.pairwise(at[2:])] == [10, 10]


def test_a_stop_holds_though_a_seek_is_on_its_way() -> None:
    async def replayed() -> Replay:
        replay = Replay(Recording(*range(300), takes_s=1).read, "s")
        await replay.begin()
        seeking = asyncio.ensure_future(replay.seek(50))
        await asyncio.sleep(0.5)
        replay.stop()
        await seeking
        return replay

    assert run(replayed()).ended


def test_a_seek_goes_on_at_once_from_another_place_back_and_forth() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(*[10.0 * number for number in range(300)]).read, "s")
        await replay.begin()
        got = await given(replay, 2)
        await replay.seek(250)
        got += await given(replay, 2)
        await replay.seek("3")
        return got + await given(replay, 2)

    assert run(replayed()) == [(1, 0), (2, 10), (250, 10), (251, 20), (3, 20), (4, 30)]


def test_a_seek_while_a_page_is_on_its_way_loses_nothing() -> None:
    async def replayed() -> list[tuple[int, float]]:
        replay = Replay(Recording(*range(300), takes_s=5).read, "s", speed=0)
        await replay.begin()
        got = await given(replay, PAGE)
        waiting = asyncio.ensure_future(replay.next())
        await asyncio.sleep(1)
        await replay.seek(299)
        event = await waiting
        assert event is not None
        return [*got[-1:], (orjson.loads(event.body)["session_seq"], 0), *await given(replay)]

    numbers = [number for number, _ in run(replayed())]
    assert numbers[0] == PAGE
    assert numbers[-1] == 300
    assert numbers[-2] == 299


def test_patience_ends_before_the_event_and_the_event_is_not_lost() -> None:
    async def replayed() -> None:
        replay = Replay(Recording(0, 20).read, "s")
        await replay.begin()
        assert await given(replay, 1) == [(1, 0)]
        assert await replay.next(15) is None
        assert not replay.ended
        assert await given(replay) == [(2, 20)]

    run(replayed())


def test_it_ends_where_the_recording_ended_when_it_began_and_goes_on_after_a_place() -> None:
    recording = Recording(*range(150))

    async def replayed() -> list[int]:
        replay = Replay(recording.read, "s", speed=0, after="120-0")
        await replay.begin()
        return [number for number, _ in await given(replay)]

    assert run(replayed()) == [*range(121, 151)]
    assert recording.asked == [{"session_id": "s", "limit": PAGE, "after": "120-0"}]


def test_a_page_that_can_not_be_read_is_read_again_when_asked() -> None:
    async def replayed() -> list[int]:
        recording = Recording(*range(150))
        replay = Replay(recording.read, "s", speed=0)
        await replay.begin()
        recording.fails = 1
        first = await given(replay, PAGE)
        with pytest.raises(TimeoutError):
            await replay.next()
        return [number for number, _ in first + await given(replay)]

    assert run(replayed()) == [*range(1, 151)]


def test_a_stopped_replay_gives_nothing_more() -> None:
    async def replayed() -> None:
        replay = Replay(Recording(0, 5).read, "s")
        await replay.begin()
        await replay.next()
        asyncio.get_running_loop().call_later(1, replay.stop)
        assert await replay.next() is None
        assert (replay.ended, replay.stopped) == (True, True)

    run(replayed())


@pytest.mark.parametrize("start", ["x", "-1", "2026-01-31", "2026-01-31T12:00:00", -1, 2**63, "1.5"])
def test_a_place_that_is_none_is_refused(start: int | str) -> None:
    with pytest.raises(Rejected, match="session_seq"):
        read_start(start)


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf"), 1_001])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    async def begun() -> None:
        with pytest.raises(Rejected, match="speed"):
            Replay(Recording().read, "s", speed=speed)

    run(begun())


def test_a_place_is_a_number_or_a_moment() -> None:
    assert read_start("12") == {"from_seq": 12}
    assert read_start("2026-01-31T12:00:00 02:00") == {"since": "2026-01-31T12:00:00+02:00"}
    assert read_start(None) == {}
