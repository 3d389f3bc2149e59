"""The errors, and how each reads in a reply."""

import orjson
import pytest

from shared import errors
from shared.bus.replies import error_reply
from shared.errors import ERROR_CODES, BusError, Rejected, SwitchyardError, Transient


def test_the_codes_are_those_of_the_contract() -> None:
    assert set(ERROR_CODES) == {
        "invalid", "unauthorized", "forbidden", "not_found", "conflict", "too_large",
        "rate_limited", "loop", "unavailable", "timeout", "internal",
    }  # fmt: skip


def test_a_refusal_is_the_error_of_a_reply() -> None:
    refusal = errors.not_found("session", "s 1")
    assert orjson.loads(error_reply(refusal)) == {
        "ok": False,
        "error": {
            "code": "not_found",
            "message": "session 's 1' does not exist",
            "details": {"session_id": "s 1"},
        },
    }


def test_a_refusal_says_what_was_wrong_as_text_too() -> None:
    assert str(errors.conflict("the session is paused", status="paused")) == "the session is paused"
    assert errors.invalid("no", field="x").as_error()["details"] == {"field": "x"}


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.Unconfirmed, errors.Unroutable])
def test_what_the_broker_does_is_a_bus_error_and_no_refusal(kind: type[BusError]) -> None:
    assert issubclass(kind, BusError)
    assert not issubclass(kind, Rejected | Transient)


def test_everything_raised_on_purpose_has_one_root() -> None:
    own = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(own) == 7
    assert all(issubclass(each, SwitchyardError) for each in own)


def test_a_stumble_says_when_to_try_again() -> None:
    assert (Transient("busy").retry_after, Transient("busy", retry_after=10).retry_after) == (1.0, 10)
