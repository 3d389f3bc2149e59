"""What the ingress is told from outside."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from shared.settings import DoorSettings
from shared.targets import Allowed


class IngressSettings(DoorSettings):
    """Settings of the ingress; the secrets of other sources than GitHub are named in the sources file."""

    api_key: SecretStr = Field(
        alias="SWITCHYARD_API_KEY", min_length=16, description="bootstrap API key, with every scope"
    )
    github_webhook_secret: SecretStr = Field(
        SecretStr(""),
        alias="GITHUB_WEBHOOK_SECRET",
        description="secret of the GitHub webhook; empty: every delivery is refused",
    )
    config: Path = Field(
        Path("switchyard.toml"), alias="SWITCHYARD_CONFIG", description="the file that declares webhook sources"
    )
    callback_allow: str = Field(
        "",
        alias="SWITCHYARD_CALLBACK_ALLOW",
        description="targets of callbacks that are allowed though they are not public: hosts, addresses, networks",
    )
    public_url: str = Field(
        "",
        alias="SWITCHYARD_PUBLIC_URL",
        pattern=r"^(https?://[^\s/?#]+/?)?$",
        description="where others find the HTTP API, for documents that name it; empty: what the request says",
    )
    spool_max_bytes: int = Field(
        1 << 30,
        alias="SWITCHYARD_SPOOL_MAX_BYTES",
        ge=0,
        description="how much may wait on disk while the broker is away; beyond it senders get 503",
    )

    @field_validator("callback_allow")
    @classmethod
    def _names_targets(cls, setting: str) -> str:
        Allowed.of(setting)
        return setting
