"""How good a connection is: from its pings, and from how fast it empties its socket."""

import pytest

from services.ws_gateway.pace.quality import CALM_SECONDS, LONGEST_CALM_SECONDS, SPEED_SECONDS, STALLED_SECONDS, Quality


def fill(quality: Quality, at: float, seconds: float, size: int = 100_000) -> None:
    """The socket holds `size` bytes more than its low-water mark, and takes them within `seconds`."""
    quality.full(at, size + 16_000)
    quality.drained(at + seconds, 16_000)


def test_nothing_is_known_of_a_connection_whose_socket_was_never_full() -> None:
    quality = Quality()
    assert (quality.bytes_s, quality.mean_ping_ms, quality.judge(100)) == (None, None, "")
    assert not quality.needs_watching


@pytest.mark.parametrize(("seconds", "verdict"), [(0.79, ""), (0.81, "drain")])
def test_below_a_megabit_a_second_it_is_slow(seconds: float, verdict: str) -> None:
    quality = Quality()
    fill(quality, 0, seconds)
    assert quality.judge(1) == verdict


def test_a_socket_that_stays_full_is_slow_before_it_has_taken_anything() -> None:
    quality = Quality()
    quality.full(0, 100_000)
    assert quality.judge(STALLED_SECONDS) == ""
    assert quality.judge(STALLED_SECONDS + 0.1) == "stalled"


def test_the_mean_of_the_last_five_pings_counts() -> None:
    quality = Quality()
    for milliseconds in (10_000, 100, 100, 100, 100):
        quality.pong(milliseconds)
    assert quality.judge(0) == "ping"
    quality.pong(200)
    assert quality.mean_ping_ms == 120
    assert quality.judge(1) == "ping"
    assert quality.judge(1 + CALM_SECONDS) == ""


def test_a_ping_that_was_stuck_weighs_no_longer_than_until_the_next() -> None:
    quality = Quality()
    quality.pong(40_000)
    assert quality.judge(0) == "ping"
    quality.pong(20)
    assert quality.mean_ping_ms == 20_010
    assert [quality.judge(1), quality.judge(1 + CALM_SECONDS)] == ["ping", ""]


def test_an_earlier_speed_counts_half() -> None:
    quality = Quality()
    fill(quality, 0, 1, 100_000)
    fill(quality, 2, 1, 200_000)
    assert quality.bytes_s == pytest.approx(250_000 / 1.5)


def test_a_slow_one_must_be_clearly_faster_for_a_while_to_come_back() -> None:
    quality = Quality()
    fill(quality, 0, 2)
    assert quality.judge(2) == "drain"
    for at in range(3, 9):
        fill(quality, at, 0.7)
    assert quality.judge(9) == "drain"
    for at in range(9, 15):
        fill(quality, at, 0.1)
    assert [quality.judge(at) for at in (15, 15 + CALM_SECONDS - 1, 15 + CALM_SECONDS)] == ["drain", "drain", ""]


def test_a_silent_one_comes_back_once_its_speed_says_nothing_any_more() -> None:
    quality = Quality()
    fill(quality, 0, 2)
    assert quality.judge(2) == "drain"
    assert quality.judge(2 + SPEED_SECONDS) == "drain"
    assert quality.judge(2 + SPEED_SECONDS + CALM_SECONDS) == ""


def test_it_stays_slow_for_as_long_as_its_batches_need() -> None:
    quality = Quality()
    fill(quality, 0, 2)
    quality.judge(2)
    quality.judge(2 + SPEED_SECONDS)
    assert quality.judge(2 + SPEED_SECONDS + 29, at_least=30) == "drain"
    assert quality.judge(2 + SPEED_SECONDS + 30, at_least=30) == ""


def test_each_relapse_doubles_the_time_it_takes() -> None:
    quality, now, waits = Quality(), 0.0, []
    for _ in range(7):
        fill(quality, now, 2)
        now += 2
        assert quality.judge(now) == "drain"
        now += SPEED_SECONDS
        began = now
        while quality.judge(now):
            now += 1
        waits.append(now - began)
    assert waits == [10, 20, 40, 80, 160, LONGEST_CALM_SECONDS, LONGEST_CALM_SECONDS]


def test_health_goes_from_a_hundred_to_nothing() -> None:
    well = {"waiting": 0, "room": 200, "dropped": 0, "unanswered": 1}
    assert Quality().health(0, **well) == 100
    quality = Quality()
    quality.pong(1050)
    assert quality.health(0, **well) == 88
    assert quality.health(0, **well | {"waiting": 100}) == 75
    assert quality.health(0, **well | {"unanswered": 2}) == 75
    quality.pong(9000)
    assert quality.health(0, waiting=200, room=200, dropped=200, unanswered=3) == 0


def test_drops_are_forgiven_in_time() -> None:
    quality = Quality()
    well = {"waiting": 0, "room": 200, "unanswered": 0}
    assert quality.health(0, dropped=200, **well) == 75
    assert quality.health(60, dropped=200, **well) == 88
    assert quality.health(600, dropped=200, **well) == 100
