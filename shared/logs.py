"""Structured logs: one JSON object a line, or coloured lines on a terminal; secrets never leave the process."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

_SECRET_NAMES = re.compile(r"(?i)(^|_)(secret|token|password|api_key|authorization|cookie|signature|key_hash|code)$")
_SECRET_TEXT = re.compile(
    r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s:/@]+:)[^\s@]+(?=@)"  # user:password@ in a URL
    r"|(?P<query>[?&](?:token|key|code|secret)=)[^\s&\"']+"
    r"|(?P<bearer>\b(?:Bearer|bot_key)[ =:]+)\S+"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"  # a JWT
    r"|\bsy_[\w-]{20,}"
)
REDACTED = "[redacted]"

Logger = structlog.typing.FilteringBoundLogger


def _redact_text(found: re.Match[str]) -> str:
    kept = found["url"] or found["query"] or found["bearer"] or ""
    return f"{kept}{REDACTED}"


def redact(value: Any) -> Any:
    """The value with everything that looks like a secret replaced."""
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_redact_text, value)
    if isinstance(value, dict):
        return {k: REDACTED if _SECRET_NAMES.search(str(k)) else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _redacted(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    clean: MutableMapping[str, Any] = redact(dict(event))
    return clean


def _json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(event, default=str).decode()


def configure(service: str, *, form: Literal["auto", "json", "console"] = "auto", level: str = "info") -> None:
    """Send this process's logs to standard error, those of its libraries included (from `warning` up)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[Any] = (
        [_redacted, structlog.dev.ConsoleRenderer(colors=True, pad_event_to=28)]
        if console
        else [structlog.processors.format_exc_info, _redacted, _json]
    )
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
        structlog.stdlib.ProcessorFormatter(processors=[_drop_record, *render], foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _drop_record(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def get_logger() -> Logger:
    """The logger of this process."""
    logger: Logger = structlog.get_logger()
    return logger
