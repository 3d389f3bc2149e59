"""What the memory worker is told from outside, beside what every service is."""

from pydantic import Field, SecretStr, field_validator

from shared.settings import Settings


class MemoryWorkerSettings(Settings):
    """The settings of the memory worker: where vectors are made, if anywhere."""

    embeddings_url: str | None = Field(None, alias="SWITCHYARD_EMBEDDINGS_URL")
    embeddings_model: str = Field("text-embedding-3-small", alias="SWITCHYARD_EMBEDDINGS_MODEL", max_length=255)
    embeddings_key: SecretStr | None = Field(None, alias="SWITCHYARD_EMBEDDINGS_KEY")
    # None: as many as the endpoint's first answer has. pgvector indexes up to 2,000.
    embeddings_dimensions: int | None = Field(None, alias="SWITCHYARD_EMBEDDINGS_DIMENSIONS", ge=1, le=2_000)

    @field_validator("embeddings_url")
    @classmethod
    def _endpoint(cls, url: str | None) -> str | None:
        """The whole address of the endpoint; the API's base URL, as other programs want it, will do."""
        if url is None:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, such as https://api.openai.com/v1/embeddings")
        if any(mark in url for mark in "@?#"):
            raise ValueError("must hold no name, password or query; the key is SWITCHYARD_EMBEDDINGS_KEY")
        url = url.rstrip("/")
        return url if url.endswith("/embeddings") else f"{url}/embeddings"
