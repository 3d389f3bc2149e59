"""What stands at the gateway's door: flood control, alerts, the audit, and the resumption of connections."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.ws_gateway.door.addresses import TrustedProxies
from services.ws_gateway.door.alerts import Alerts, Publish
from services.ws_gateway.door.audit import Audit, Command
from services.ws_gateway.door.floods import Floods
from services.ws_gateway.door.resumption import Resumption, Use, no_use
from services.ws_gateway.metrics import Readings
from shared.errors import Unavailable


async def _nowhere(*_: Any) -> None:
    raise Unavailable("nothing is behind this gateway")


class Doors:
    """All of it, put together; with nothing behind it unless told."""

    def __init__(
        self,
        secret: str,
        *,
        floods: Floods | None = None,
        proxies: TrustedProxies | None = None,
        publish: Publish = _nowhere,
        command: Command = _nowhere,
        use_resume_token: Use = no_use,
        sender: str = "ws_gateway",
    ) -> None:
        """`publish` sends an event and `command` an internal command; each returns once the broker has it."""
        self.alerts = Alerts(publish, sender=sender)
        self.audit = Audit(command)
        self.floods = Floods() if floods is None else floods
        self.floods.tell = self.alerts.tell
        self.proxies = proxies or TrustedProxies()
        self.resumption = Resumption(secret, self.audit, use_resume_token, self.alerts.tell)

    def read(self, readings: Readings) -> None:
        """Let Prometheus see what was refused, told and lost here."""
        readings.count("floods_refused", "Frames and connections over an address's limit", lambda: self.floods.refused)
        readings.level("addresses", "Addresses remembered for flood control", lambda: len(self.floods))
        readings.count("alerts", "What looked like an attack, told to the admins or not", lambda: self.alerts.seen)
        readings.count("acts_dropped", "Acts that did not come into the audit log", lambda: self.audit.posting.dropped)
        readings.count(
            "resumptions", "Resume tokens shown, by what came of it", lambda: self.resumption.outcomes, "outcome"
        )

    def works(self) -> list[Callable[[], Awaitable[None]]]:
        """What has to run."""
        return [self.alerts.posting.run, self.audit.posting.run]

    async def finish(self, patience: float) -> None:
        """Send what waits, for `patience` seconds at most."""
        await self.alerts.posting.finish(patience / 2)
        await self.audit.posting.finish(patience / 2)
