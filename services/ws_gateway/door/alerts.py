"""What looks like an attack at the gateway's door is told to the admins, and not more often than they can read it."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.ws_gateway.posting import Posting
from shared.limits import Bucket
from shared.logs import get_logger
from shared.messages import Event
from shared.messages.live import SecurityAlert

# So many of one address at once, and then one in so many seconds; and of all together.
OF_AN_ADDRESS, ADDRESS_SECONDS = 10, 6.0
OF_ALL, ALL_SECONDS = 200, 1.0
REMEMBERED_ADDRESSES = 1_000

Publish = Callable[[Event], Awaitable[None]]

log = get_logger()


class Alerts:
    """Publishes the event `security_alert`."""

    def __init__(self, publish: Publish, *, sender: str) -> None:
        async def send(events: Sequence[Any], message_id: str) -> None:
            for event in events:
                await publish(event)

        self.posting = Posting("security_alerts", send, at_most=1, wait_s=0, room=OF_ALL)
        self._sender = sender
        self.seen = 0
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()
        self._all = Bucket(1 / ALL_SECONDS, OF_ALL)

    def tell(
        self, what: Any, address: str, detail: str, *, agent_id: str | None = None, connection_id: str | None = None
    ) -> None:
        """Tell the log, and the admins unless they have heard much of this address already."""
        self.seen += 1
        told = self._may_tell(address)
        log.warning(
            "security_alert", what=what, address=address, detail=detail, agent_id=agent_id,
            about_connection=connection_id, told=told,
        )  # fmt: skip
        if told:
            self.posting.add(
                SecurityAlert(
                    sender_agent_id=self._sender,
                    priority="high",
                    what=what,
                    agent_id=agent_id,
                    connection_id=connection_id,
                    address=address,
                    detail=detail,
                )
            )

    def _may_tell(self, address: str) -> bool:
        bucket = self._addresses.get(address)
        if bucket is None:
            bucket = self._addresses[address] = Bucket(1 / ADDRESS_SECONDS, OF_AN_ADDRESS)
            if len(self._addresses) > REMEMBERED_ADDRESSES:
                self._addresses.popitem(last=False)
        return bucket.take() and self._all.take()
