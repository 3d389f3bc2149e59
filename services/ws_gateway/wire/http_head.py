"""The head of an HTTP/1.1 request, and answers that end their connection (RFC 9112). Free of I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import parse_qs

from multidict import CIMultiDict

from shared.errors import ErrorCode, Rejected, invalid
from shared.messages import encode

MAX_HEAD = 16 * 1024
END = b"\r\n\r\n"

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_STATUS: dict[ErrorCode, int] = {
    "unauthorized": 401,
    "forbidden": 403,
    "conflict": 409,
    "rate_limited": 429,
    "unavailable": 503,
    "internal": 500,
}


class BadRequest(Exception):
    """What came is no request, or none that can be answered; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """Method, target and headers of a request."""

    method: str
    target: str
    headers: "CIMultiDict[str]"

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        return self.target.partition("?")[0]

    @property
    def has_body(self) -> bool:
        """Whether something follows the head."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0").strip("0") != ""

    def query(self) -> dict[str, list[str]]:
        """The parameters of the query, each with its values. Raises `Rejected("invalid")`."""
        try:
            return parse_qs(self.target.partition("?")[2], keep_blank_values=True, max_num_fields=200, errors="strict")
        except ValueError:
            raise invalid("the query is not UTF-8, or holds more than 200 parameters") from None


def is_for(data: bytes, path: bytes) -> bool:
    """Whether the request that begins with these bytes, its first line whole, is for a path."""
    words = data.partition(b"\r\n")[0].split(b" ")
    return len(words) > 1 and words[1].partition(b"?")[0] == path


def read_head(data: bytes) -> Head:
    """The head that these bytes are, the blank line at its end included or not. Raises `BadRequest`."""
    first, *lines = data.removesuffix(END).split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not _TOKEN.match(words[0]) or not all(0x21 <= byte <= 0x7E for byte in words[1]):
        raise BadRequest(400, "the request line is not METHOD TARGET HTTP/1.1")
    if words[2] != b"HTTP/1.1":
        raise BadRequest(505, "this is HTTP/1.1")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise BadRequest(400, "a header line is not NAME: VALUE")
        headers.add(name.decode(), value.decode("latin-1"))
    if len(headers.getall("host", [])) != 1:
        raise BadRequest(400, "a request names one host")
    return Head(words[0].decode(), words[1].decode(), headers)


def answer(status: int, headers: Mapping[str, str], body: bytes = b"", content_type: str = "") -> bytes:
    """A whole answer, after which the connection closes."""
    given = {"Connection": "close", **headers}
    if content_type:
        given["Content-Type"] = content_type
    if status != HTTPStatus.NO_CONTENT:
        given["Content-Length"] = str(len(body))
    return response_head(status, given) + body


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n",
        f"Date: {formatdate(usegmt=True)}\r\nCache-Control: no-store\r\n",
        *(f"{name}: {value}\r\n" for name, value in headers.items()),
        "\r\n",
    ]
    return "".join(lines).encode("latin-1")


def problem(error: Rejected, headers: Mapping[str, str], *, status: int = 0) -> bytes:
    """A refusal as an RFC 9457 problem document; `status` where HTTP has a more exact one than the error's code."""
    status = status or _STATUS.get(error.code, 422)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "details": error.details,
    }
    given = dict(headers)
    if status == HTTPStatus.UNAUTHORIZED:
        given["WWW-Authenticate"] = 'Bearer realm="switchyard"'
    elif status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        given["Retry-After"] = str(max(1, ceil(error.details.get("retry_after", 2))))
    return answer(status, given, encode(document), "application/problem+json")
