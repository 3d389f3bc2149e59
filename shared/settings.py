"""Settings every service has: from the environment or `.env`, frozen, read in `__main__` only."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared import WORKERS


class Settings(BaseSettings):
    """What a service is told from outside; the environment wins over `.env`."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    database_url: SecretStr = Field(alias="DATABASE_URL")
    amqp_url: SecretStr = Field(alias="AMQP_URL")
    host: str = Field("127.0.0.1", alias="SWITCHYARD_HOST")
    ingress_port: int = Field(8000, alias="SWITCHYARD_INGRESS_PORT")
    gateway_port: int = Field(8001, alias="SWITCHYARD_GATEWAY_PORT")
    workers_port: int = Field(0, alias="SWITCHYARD_WORKERS_PORT", description="0: the ingress port + 11")
    data: Path = Field(Path(".switchyard"), alias="SWITCHYARD_DATA")
    log_format: Literal["auto", "json", "console"] = Field("auto", alias="SWITCHYARD_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="SWITCHYARD_LOG_LEVEL")
    otlp_endpoint: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        """An empty variable, as compose files leave them, counts as not set."""
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values

    def worker_port(self, worker: str) -> int:
        """The health port of one of `WORKERS`."""
        return (self.workers_port or self.ingress_port + 11) + WORKERS.index(worker)


class DoorSettings(Settings):
    """What the services with a door to the outside need besides: the secrets that keys and tokens are checked with."""

    database_url: SecretStr = Field(
        SecretStr(""), alias="DATABASE_URL", description="not used: a door opens no database"
    )
    secret: SecretStr = Field(alias="SWITCHYARD_SECRET", min_length=16)
    rate_per_minute: int = Field(
        0,
        alias="SWITCHYARD_RATE_PER_MINUTE",
        ge=0,
        description="requests a minute at each replica for keys without a rate of their own; 0: no limit",
    )
    gateway_url: str = Field("", alias="SWITCHYARD_GATEWAY_URL")
    allowed_origins: str = Field("", alias="SWITCHYARD_ALLOWED_ORIGINS")

    @property
    def public_gateway_url(self) -> str:
        """Where browsers find the WebSocket."""
        return self.gateway_url or f"ws://127.0.0.1:{self.gateway_port}/ws"

    @property
    def origins(self) -> frozenset[str]:
        """The web origins whose pages may open a WebSocket."""
        if self.allowed_origins:
            return frozenset(origin.strip().rstrip("/") for origin in self.allowed_origins.split(","))
        return frozenset(f"http://{host}:{self.ingress_port}" for host in ("127.0.0.1", "localhost"))
