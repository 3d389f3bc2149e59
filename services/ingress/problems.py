"""Errors as HTTP answers: RFC 9457 problem documents with `code` and `trace_id`."""

from http import HTTPStatus
from math import ceil
from typing import Any, NamedTuple

from shared.errors import ErrorCode, Rejected
from shared.messages import encode

STATUS: dict[ErrorCode, int] = {
    "invalid": 422,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "rate_limited": 429,
    "loop": 409,
    "unavailable": 503,
    "timeout": 504,
    "internal": 500,
}
PROBLEM_JSON = b"application/problem+json"
# How long a sender is asked to wait when nothing better is known.
RETRY_AFTER_SECONDS = 5


class Answer(NamedTuple):
    """What goes back to the client; `headers` beside content type and length, as (name, value) in lower case."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"
    # The error's code and sentence, for the log line.
    code: str = ""
    detail: str = ""


def problem(error: Rejected, trace_id: str, *, status: int = 0) -> Answer:
    """The problem document of a refusal; `status` where HTTP has a more exact one than the error's code."""
    return from_error(error.as_error(), trace_id, status=status)


def from_error(error: dict[str, Any], trace_id: str, *, status: int = 0) -> Answer:
    """The problem document of a reply's `error` object `{"code", "message", "details"}`."""
    code = error.get("code", "internal")
    detail = str(error.get("message", ""))
    details = error.get("details") or {}
    status = status or STATUS.get(code, 500)
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "trace_id": trace_id,
        "details": details,
    }
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 401:
        headers = ((b"www-authenticate", b'Bearer realm="switchyard"'),)
    elif status in (429, 503):
        wait = _whole_seconds(details.get("retry_after"))
        headers = ((b"retry-after", b"%d" % wait), *_rate_limit(details, wait))
    elif status == 405 and "allow" in details:
        headers = ((b"allow", str(details["allow"]).encode()),)
    return Answer(status, encode(document), headers, PROBLEM_JSON, code, detail)


def _whole_seconds(value: Any) -> int:
    return max(1, ceil(value)) if isinstance(value, int | float) else RETRY_AFTER_SECONDS


def _rate_limit(details: dict[str, Any], wait: int) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of draft-ietf-httpapi-ratelimit-headers, where a key's rate is used up."""
    if not (isinstance(limit := details.get("limit"), int) and isinstance(window := details.get("window_s"), int)):
        return ()
    return (
        (b"ratelimit-policy", b'"key";q=%d;w=%d' % (limit, window)),
        (b"ratelimit", b'"key";r=0;t=%d' % wait),
    )


def not_allowed(scope: Any, allow: str) -> Rejected:
    """The refusal of a request's method where only those in `allow` have a meaning."""
    return Rejected("invalid", f"{scope['path']} takes {allow}, not {scope['method']}", allow=allow)


def internal(trace_id: str) -> Answer:
    """The problem document of a bug; its details are in the log, under the same trace id."""
    return from_error(
        {"code": "internal", "message": "this went wrong here, not with you; the log has it under the trace id"},
        trace_id,
    )
