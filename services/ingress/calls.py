"""One HTTP request as the hot routes see it: headers by name, its trace, and what its log line will say."""

from typing import Any

from fastapi import Request, Response

from services.ingress.bodies import Receive
from services.ingress.problems import Answer
from shared.auth import Caller
from shared.telemetry import traceparent_or_new


class Headers(dict[bytes, bytes]):
    """A request's headers by name, and whom they have proved to be from, once that was asked."""

    __slots__ = ("caller",)

    def __init__(self, sent: Any) -> None:
        super().__init__(sent)
        self.caller: Caller | None = None


class Call:
    """A request; `headers` holds the last of several with one name (`doubled` tells whether there are several)."""

    __slots__ = ("headers", "notes", "receive", "scope", "traceparent")

    def __init__(self, scope: Any, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers = Headers(scope["headers"])
        given = self.headers.get(b"traceparent")
        self.traceparent = traceparent_or_new(given.decode("latin-1") if given else None)
        # Fields of the log line beside method, path, status and time.
        self.notes: dict[str, Any] = {}

    @property
    def trace_id(self) -> str:
        """The trace's id, as problem documents and logs show it."""
        return self.traceparent[3:35]

    def doubled(self, name: bytes) -> bool:
        """Whether the header was sent more than once."""
        sent = self.scope["headers"]
        return len(sent) != len(self.headers) and sum(1 for each, _ in sent if each == name) > 1

    def text(self, name: bytes) -> str | None:
        """A header as text, None when it is absent; bytes that are not UTF-8 are read as Latin-1."""
        value = self.headers.get(name)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")


def call_of(request: Request) -> Call:
    """The call that the front made for a request on its way to FastAPI."""
    call: Call = request.scope["state"]["call"]
    return call


def response_of(answer: Answer) -> Response:
    """An answer as FastAPI wants it."""
    response = Response(answer.body, answer.status, media_type=answer.content_type.decode())
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode("latin-1")
    return response
