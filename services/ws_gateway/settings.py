"""Settings of the gateway."""

from pydantic import Field, SecretStr, field_validator

from services.ws_gateway.door.access import Limits
from services.ws_gateway.door.addresses import TrustedProxies
from services.ws_gateway.door.floods import Floods
from services.ws_gateway.pace.pacer import CRITICAL_ONLY, FULL_DELAYED, SUMMARIES
from shared.settings import DoorSettings


class GatewaySettings(DoorSettings):
    """What bounds the gateway, besides what every door is told."""

    api_key: SecretStr = Field(
        SecretStr(""), alias="SWITCHYARD_API_KEY", description="bootstrap API key; empty: only other keys may listen"
    )
    max_connections: int = Field(20_000, alias="SWITCHYARD_GATEWAY_MAX_CONNECTIONS", ge=1)
    max_per_address: int = Field(10_000, alias="SWITCHYARD_GATEWAY_MAX_PER_ADDRESS", ge=1)
    max_unauthenticated: int = Field(1_000, alias="SWITCHYARD_GATEWAY_MAX_UNAUTHENTICATED", ge=1)
    ring_events: int = Field(20_000, alias="SWITCHYARD_GATEWAY_RING_EVENTS", ge=1)
    ring_bytes: int = Field(64 * 1024 * 1024, alias="SWITCHYARD_GATEWAY_RING_BYTES", ge=1)

    frames_per_address: int = Field(
        5_000,
        alias="SWITCHYARD_GATEWAY_FRAMES_PER_ADDRESS",
        ge=1,
        description="frames a second that all connections of one address may send together",
    )
    connections_per_address_s: int = Field(
        500,
        alias="SWITCHYARD_GATEWAY_CONNECTS_PER_ADDRESS",
        ge=1,
        description="new connections a second from one address; ten times as many at once",
    )
    trusted_proxies: str = Field(
        "",
        alias="SWITCHYARD_TRUSTED_PROXIES",
        description="addresses or networks, comma-separated, whose X-Forwarded-For is believed",
    )
    presence_grace_s: float = Field(
        10.0, alias="SWITCHYARD_PRESENCE_GRACE_S", ge=0, description="how long an agent may be gone before that is told"
    )
    ack_s: float = Field(
        30.0,
        alias="SWITCHYARD_GATEWAY_ACK_S",
        gt=0,
        description="after how many seconds the curator asks for the acknowledgement of a critical event",
    )

    summary_s: float = Field(
        10.0,
        alias="SWITCHYARD_GATEWAY_SUMMARY_S",
        gt=0,
        description="how often a slow connection that prefers summaries gets one, in seconds",
    )
    delayed_s: float = Field(
        30.0,
        alias="SWITCHYARD_GATEWAY_DELAYED_S",
        gt=0,
        description="how often a slow connection that prefers everything, delayed, gets what was held, in seconds",
    )
    critical_only_s: float = Field(
        5.0,
        alias="SWITCHYARD_GATEWAY_CRITICAL_ONLY_S",
        gt=0,
        description="how often a slow connection that prefers critical events is told what it missed, in seconds",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, value: str) -> str:
        TrustedProxies.read(value)
        return value

    @property
    def proxies(self) -> TrustedProxies:
        """Whose `X-Forwarded-For` is believed."""
        return TrustedProxies.read(self.trusted_proxies)

    @property
    def floods(self) -> Floods:
        """How much may come from an address."""
        return Floods(frames_a_second=self.frames_per_address, connections_a_second=self.connections_per_address_s)

    @property
    def delays(self) -> dict[str, float]:
        """After how many seconds a slow connection is told what was held, by its preference."""
        return {SUMMARIES: self.summary_s, FULL_DELAYED: self.delayed_s, CRITICAL_ONLY: self.critical_only_s}

    @property
    def limits(self) -> Limits:
        """How many connections there may be."""
        return Limits(
            total=self.max_connections,
            per_address=self.max_per_address,
            unauthenticated=self.max_unauthenticated,
            unauthenticated_per_address=max(1, self.max_unauthenticated // 5),
        )
