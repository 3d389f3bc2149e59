"""Settings of the gateway."""

from pydantic import Field

from services.ws_gateway.access import Limits
from shared.settings import DoorSettings


class GatewaySettings(DoorSettings):
    """What bounds the gateway, besides what every door is told."""

    max_connections: int = Field(20_000, alias="SWITCHYARD_GATEWAY_MAX_CONNECTIONS", ge=1)
    max_per_address: int = Field(10_000, alias="SWITCHYARD_GATEWAY_MAX_PER_ADDRESS", ge=1)
    max_unauthenticated: int = Field(1_000, alias="SWITCHYARD_GATEWAY_MAX_UNAUTHENTICATED", ge=1)
    ring_events: int = Field(20_000, alias="SWITCHYARD_GATEWAY_RING_EVENTS", ge=1)
    ring_bytes: int = Field(64 * 1024 * 1024, alias="SWITCHYARD_GATEWAY_RING_BYTES", ge=1)

    @property
    def limits(self) -> Limits:
        """How many connections there may be."""
        return Limits(
            total=self.max_connections,
            per_address=self.max_per_address,
            unauthenticated=self.max_unauthenticated,
            unauthenticated_per_address=max(1, self.max_unauthenticated // 5),
        )
