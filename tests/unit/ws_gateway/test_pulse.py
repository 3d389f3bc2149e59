"""Pings and the pongs that bring their payload back."""

from services.ws_gateway.pulse import Pulse


def payload_of(ping: bytes) -> bytes:
    assert ping[:2] == b"\x89\x04"
    return ping[2:]


def test_a_pong_answers_its_ping_and_all_before() -> None:
    pulse = Pulse()
    first, second, third = (payload_of(pulse.ping()) for _ in range(3))
    assert (pulse.sent, pulse.answered, pulse.ping_ms) == (3, 0, None)
    assert pulse.pong(second)
    assert pulse.answered == 2
    assert pulse.ping_ms is not None
    assert not pulse.pong(first), "it came late"
    assert pulse.answered == 2
    assert pulse.pong(third)
    assert pulse.answered == 3


def test_a_pong_nobody_asked_for_is_a_sign_of_life_and_no_more() -> None:
    pulse = Pulse()
    pulse.ping()
    for payload in (b"", b"\0\0\0\0", b"\0\0\0\2", b"hello", b"\xff" * 125):
        pulse.unanswered = 2
        assert not pulse.pong(payload)
        assert (pulse.unanswered, pulse.answered) == (0, 0)


def test_what_is_remembered_of_pings_nobody_answers_is_bounded() -> None:
    pulse = Pulse()
    pings = [payload_of(pulse.ping()) for _ in range(1000)]
    assert not pulse.pong(pings[0])
    assert pulse.pong(pings[-1])
    assert pulse.answered == 1000
