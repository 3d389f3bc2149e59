"""What the Claude worker is told from outside, beside what every service is."""

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import Settings


class ClaudeWorkerSettings(Settings):
    """The settings of the Claude worker."""

    config: Path = Field(Path("switchyard.toml"), alias="SWITCHYARD_CONFIG", description="the file that declares bots")
    secret: SecretStr = Field(
        SecretStr(""), alias="SWITCHYARD_SECRET", description="opens where answers go that came by a chat server"
    )
    anthropic_api_key: SecretStr = Field(
        SecretStr(""), alias="ANTHROPIC_API_KEY", description="the key bots use; empty: they say that there is none"
    )
    anthropic_base_url: str = Field(
        "", alias="ANTHROPIC_BASE_URL", description="where the Messages API is; empty: Anthropic's own"
    )
    chat_max_clients: int = Field(
        20, alias="SWITCHYARD_CHAT_MAX_CLIENTS", ge=1, description="connected clients of one replica at most"
    )
    chat_max_memory_mb: int = Field(
        0,
        alias="SWITCHYARD_CHAT_MAX_MEMORY_MB",
        ge=0,
        description="what these may take together, as measured (PSS); one may always be there; 0: no limit",
    )
