"""Structured logs: one JSON object a line, or coloured lines on a terminal; secrets never leave the process."""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

_SECRET_NAMES = re.compile(
    r"(?i)(^|[_-])(secret|token|password|passwd|api[_-]?key|bot[_-]?key|authorization|cookie|key[_-]hash"
    r"|signature(-256)?|memory-auth)$"
)
_SECRET_TEXT = re.compile(
    r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/]+(?=@)"  # user:password@ in a URL
    r"|(?P<query>[?&](?:token|key|code|secret)=)[^\s&\"']+"
    r"|(?P<bearer>\b(?:bearer|authorization: *basic) +)\S+"
    # name=value and "name": "value", as libraries' messages have them
    r"|(?P<named>\b(?:password|passwd|secret|x-memory-auth|(?:x-)?api[_-]?key|bot_?key)\b[\"']? ?[=:] ?[\"']?)"
    r"[^\s\"',;&]+"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"  # a JWT
    r"|\bsy_[\w-]{20,}"
    r"|\bwhsec_[\w+/=-]+",
    re.IGNORECASE,
)
REDACTED = "[redacted]"
# What a terminal would obey, or a reader of the log stumble over; the renderer quotes what holds a tab or a line's end.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Logger = structlog.typing.FilteringBoundLogger


def _redact_text(found: re.Match[str]) -> str:
    kept = found["url"] or found["query"] or found["bearer"] or found["named"] or ""
    return f"{kept}{REDACTED}"


def redact(value: Any) -> Any:
    """The value with everything that looks like a secret replaced; what is no plain value becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_redact_text, value)
    if isinstance(value, dict):
        return {str(k): REDACTED if _SECRET_NAMES.search(str(k)) else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return redact(value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value))


def _redacted(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    clean: MutableMapping[str, Any] = redact(dict(event))
    return clean


def _legible(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event


def _json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event).decode()
    except TypeError:  # lone surrogates, or integers past 64 bits: no reason to fail whoever logs them
        return json.dumps(event)


def configure(service: str, *, form: Literal["auto", "json", "console"] = "auto", level: str = "info") -> None:
    """Send this process's logs to standard error, those of its libraries included (from `warning` up)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # Tracebacks become text before the redaction, and never show local variables.
    render: list[Any] = [structlog.processors.format_exc_info, _redacted]
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=True, pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        )
        render += [_legible, renderer]
    else:
        render.append(_json)
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    if not console:
        structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_drop_record, _shorten_lost, *render], foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _drop_record(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def _shorten_lost(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's traceback of a connection that was lost as one line: we reconnect, and say so in our own words."""
    info = event.get("exc_info")
    error = info[1] if isinstance(info, tuple) else None
    if error is not None and _LOST.intersection(f"{each.__module__}.{each.__name__}" for each in type(error).__mro__):
        event.update(exc_info=None, reason=str(error), level="warning")
    return event


# By name: not every process has these libraries.
_LOST = {"builtins.ConnectionError", "aiormq.exceptions.AMQPConnectionError", "psycopg.OperationalError"}


def get_logger() -> Logger:
    """The logger of this process."""
    logger: Logger = structlog.get_logger()
    return logger
