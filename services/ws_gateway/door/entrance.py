"""From an open socket to a seat: the token, shown in time; the seat of an earlier connection; the first frame."""

import asyncio
import time
from typing import TYPE_CHECKING

from services.ws_gateway.door.access import BAD_TOKEN, NOT_IN_TIME, Identity, Refused, identify
from services.ws_gateway.door.resumption import Sealed
from services.ws_gateway.fanout.backlog import Backlog
from services.ws_gateway.requests import Authenticate
from services.ws_gateway.stream.frames import error, message
from shared.errors import Rejected
from shared.logs import get_logger

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

AUTHENTICATION_SECONDS = 5.0
HEARTBEAT_SECONDS = 30
# Events that may wait: a person looks at a screen, an agent wants each.
MAX_WAITING = {"human": 50, "agent": 200}
# What a client may say while it is being seen whether it may take over a seat; said before its answer has come.
EARLY_BYTES = 256 * 1024

log = get_logger()


class Entrance:
    """Lets one client in."""

    __slots__ = ("_client", "_early", "_timer")

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._timer: asyncio.TimerHandle | None = None
        # What was said while a resume token is looked at.
        self._early: list[bytes] | None = None

    def open(self, token: str | None) -> None:
        """The handshake is done; `token` is what it showed."""
        if token is None:
            self._wait(AUTHENTICATION_SECONDS, NOT_IN_TIME, f"no authentication within {AUTHENTICATION_SECONDS:g} s")
        else:
            self.show(Authenticate(token=token))

    def _wait(self, seconds: float, code: int, reason: str) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._client.gateway.call_later(seconds, lambda: self._client.close(code, reason))

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer:
            self._timer.cancel()

    def show(self, request: Authenticate) -> None:
        """Let the client in by its token; by a resume token besides, in the place of an earlier connection."""
        client, gateway = self._client, self._client.gateway
        try:
            identity = identify(gateway.secret, request.token)
            gateway.check_token(identity)
        except Refused as refused:
            client.refuse(refused)
            return
        if request.resume_token is None:
            self.enter(identity)
            return
        try:
            sealed = gateway.resumption.open(client, identity, request.resume_token)
        except Rejected as rejected:
            self.enter(identity)
            client.send(error(rejected, request.message_id))
            return
        if self._timer:
            self._timer.cancel()
        self._early = []
        client.spawn(self._take_over(identity, request, sealed))

    def keeps(self, text: bytes) -> bool:
        """Whether what the client says has to wait until it is let in, and is kept so long."""
        if self._early is None:
            return False
        self._early.append(text)
        if sum(map(len, self._early)) > EARLY_BYTES:
            self._client.close(BAD_TOKEN, "too much was said before the answer to `authenticate`")
        return True

    async def _take_over(self, identity: Identity, request: Authenticate, sealed: Sealed) -> None:
        client, fault = self._client, None
        try:
            await client.gateway.resumption.use(client, identity, sealed)
        except Rejected as rejected:
            fault = rejected
        early, self._early = self._early or [], None
        if client.closing:
            return
        self.enter(identity)
        if fault:
            client.send(error(fault, request.message_id))
        for text in early:
            client.answers.said(text)

    def enter(self, identity: Identity) -> None:
        """It is known who this is: let the client in, or turn it away."""
        client, gateway = self._client, self._client.gateway
        try:
            gateway.check_token(identity)
            gateway.seat(client, identity)
        except Refused as refused:
            client.refuse(refused, identity)
            return
        self._wait(max(0.0, identity.expires - time.time()), BAD_TOKEN, "the token has expired; connect with a new one")
        client.connection.backlog = Backlog(MAX_WAITING[identity.kind])
        client.send(
            message(
                "connected",
                connection_id=client.id,
                agent_id=identity.agent_id,
                permission=identity.permission,
                epoch=gateway.epoch,
                cursor=gateway.hub.cursor,
                resume_token=gateway.resumption.token(client, identity),
                heartbeat_s=HEARTBEAT_SECONDS,
            )
        )
        gateway.audit.note("connect", identity, client.id)
        log.info("client_connected", **client.named())
        for tell in gateway.on_seated:
            tell(client)
