"""`GET /state`: the status display for `curl`, to whoever shows a token or an API key that may read."""

import re

from services.ws_gateway.door.access import BAD_TOKEN, Refused, identify, shown_token
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.operation.status import Status
from services.ws_gateway.operation.viewers import Asked, Viewer, read_asked
from services.ws_gateway.wire.http_head import BadRequest, Head, answer, problem, read_head
from shared.errors import Rejected, invalid
from shared.messages import encode

PATH = "/state"
_ALLOW = "GET, HEAD"
# Three parts between dots, as a JSON Web Token has them (RFC 7519); an API key has none.
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+\Z", re.ASCII)


class StatePage:
    """Answers requests for the page."""

    def __init__(self, gateway: Gateway, status: Status) -> None:
        self._gateway = gateway
        self._status = status

    async def answer(self, request: bytes) -> bytes:
        """The whole answer to a request whose head this is."""
        try:
            head = read_head(request)
            if head.method not in ("GET", "HEAD"):
                refusal = invalid(f"{PATH} takes {_ALLOW}, not {head.method}", allow=_ALLOW)
                return problem(refusal, {"Allow": _ALLOW}, status=405)
            viewer, asked = self._viewer(head), _asked(head)
            body = encode(await self._status.ask(viewer, asked))
        except BadRequest as fault:
            return problem(invalid(str(fault)), {}, status=fault.status)
        except Refused as refused:
            return problem(Rejected("unauthorized", refused.reason), {})
        except Rejected as rejected:
            return problem(rejected, {})
        whole = answer(200, {}, body, "application/json")
        return whole[: -len(body)] if head.method == "HEAD" else whole

    def _viewer(self, head: Head) -> Viewer:
        """Who asks. Raises `Refused` or `Rejected`."""
        key = head.headers.get("x-api-key")
        shown = key or shown_token(head.target, head.headers)
        if not shown:
            raise Refused(BAD_TOKEN, "show an API key by `X-API-Key`, or a key or token by `Authorization: Bearer`")
        if key or not _TOKEN.match(shown):
            caller = self._gateway.caller(shown)
            caller.require("read")
            return Viewer.of_key(caller)
        identity = identify(self._gateway.secret, shown)
        self._gateway.check_token(identity)
        identity.caller.require("read")
        return Viewer.of_identity(identity)


def _asked(head: Head) -> Asked:
    fields = {name: values[-1] for name, values in head.query().items()}
    limit = fields.get("limit", "")
    return read_asked({**fields, "limit": int(limit)} if limit.isascii() and limit.isdecimal() else dict(fields))
