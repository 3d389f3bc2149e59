"""What an attempt's end means for a callback: delivered, given up, or to be tried again and when. Pure."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.messages.callbacks import CallbackStatus

# A callback is tried for a day: after 5 s, 10 s, 20 s … and then each hour, somewhat earlier or later than that.
KEEP_TRYING_SECONDS = 24 * 3600.0
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 3600.0
GONE = 410
# How much is kept of an error's text and of what a receiver answered.
MAX_ERROR = 500
MAX_RESPONSE = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered: the status, `Retry-After` as it was sent, and the beginning of the body."""

    status: int
    retry_after: str = ""
    location: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an attempt, and in how many seconds the next one is due; no next one: None."""

    status: CallbackStatus
    wait: float | None = None
    http_status: int | None = None
    error: str | None = None
    response: str | None = None


def of_answer(answer: Answer, number: int, age: float, now: datetime) -> Verdict:
    """The verdict on attempt `number` of a callback owed `age` seconds ago that was answered."""
    status, response = answer.status, _text(answer.body.decode(errors="replace"), MAX_RESPONSE) or None
    if 200 <= status < 300:
        return Verdict("delivered", http_status=status)
    if status == GONE:
        return Verdict("gone", http_status=status, error="the receiver wants no more of it (410)", response=response)
    if 300 <= status < 400:
        error = f"redirects are not followed; it leads to {_text(answer.location, MAX_RESPONSE)!r}"
        return Verdict("refused", http_status=status, error=error, response=response)
    wait = max(backoff(number), retry_after(answer.retry_after, now))
    return _again(age, wait, Verdict("pending", http_status=status, response=response))


def of_failure(error: str, number: int, age: float) -> Verdict:
    """The verdict on an attempt that got no answer."""
    return _again(age, backoff(number), Verdict("pending", error=_text(error, MAX_ERROR)))


def of_refusal(reason: str) -> Verdict:
    """The verdict on an attempt whose target may not be called."""
    return Verdict("refused", error=_text(reason, MAX_ERROR))


def backoff(number: int) -> float:
    """Seconds from attempt `number` to the next: doubled each time up to an hour, and up to a quarter off or on."""
    wait = FIRST_WAIT_SECONDS * 2.0 ** min(number - 1, 20)
    return min(wait, LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)


def retry_after(value: str, now: datetime) -> float:
    """The seconds a `Retry-After` asks for (RFC 9110: seconds or a date), at most an hour; 0 when it says nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)


def _again(age: float, wait: float, verdict: Verdict) -> Verdict:
    if age + wait > KEEP_TRYING_SECONDS:
        return Verdict("failed", None, verdict.http_status, verdict.error, verdict.response)
    return Verdict("pending", wait, verdict.http_status, verdict.error, verdict.response)


def _text(text: str, length: int) -> str:
    """The beginning of a text, as PostgreSQL takes it."""
    return text[:length].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
