"""Which function answers which kind of frame."""

from collections.abc import Callable
from typing import Any

from services.ws_gateway import topics
from services.ws_gateway.agents import self_report
from services.ws_gateway.door import resumption
from services.ws_gateway.requests import Request

# Each is given the client, who it is, and the frame; raises `Rejected` when it can't be done.
HANDLERS: dict[type[Request], Callable[..., Any]] = {
    **topics.HANDLERS,
    **resumption.HANDLERS,
    **self_report.HANDLERS,
}
