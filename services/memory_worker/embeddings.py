"""Vectors of texts, from an endpoint that speaks as OpenAI's does: `POST …/embeddings`."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from shared.errors import SwitchyardError

TIMEOUT_SECONDS = 20.0
# While somebody waits for the answer of a search.
SEARCH_TIMEOUT_SECONDS = 4.0
# 500 vectors of 2,000 numbers take 24 MB as text.
MAX_ANSWER = 64 * 1024 * 1024
# The texts themselves are at fault; any other answer speaks of the endpoint, the key or the load.
_TEXT_REFUSED = (400, 413, 422)

Vector = list[float]


class EmbeddingsError(SwitchyardError):
    """The endpoint gave no vectors; the message says why, and `text_refused` whether for what was in the texts.

    `told` is the message for callers: without the endpoint's own words, which may quote our key.
    """

    def __init__(self, told: str, *, words: str = "", text_refused: bool = False) -> None:
        super().__init__(f"{told}: {words}" if words else told)
        self.told = told
        self.text_refused = text_refused


class Embeddings:
    """One endpoint and one model."""

    def __init__(self, url: str, *, model: str, key: str | None = None, dimensions: int | None = None) -> None:
        """`dimensions` is asked of the endpoint; without it, the first answer's holds for all that follow."""
        self.url = url
        self.model = model
        self.dimensions = dimensions
        self._asked = dimensions
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Redirects would carry the texts somewhere nobody named.
        self._http = httpx.AsyncClient(headers=headers, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def of(self, texts: Sequence[str], *, seconds: float = TIMEOUT_SECONDS) -> list[Vector]:
        """The vectors of some texts, in their order, all of one length. Raises `EmbeddingsError`."""
        asked: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self._asked is not None:
            asked["dimensions"] = self._asked
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._post(orjson.dumps(asked), seconds)
        except TimeoutError:
            raise EmbeddingsError(f"{self.url} did not answer within {seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbeddingsError(f"{self.url}: {str(error) or type(error).__name__}") from None
        if status != 200:
            raise EmbeddingsError(
                f"{self.url} answered {status}",
                words=body[:200].decode(errors="replace"),
                text_refused=status in _TEXT_REFUSED,
            )
        vectors = self._vectors(body, len(texts))
        if self.dimensions is None:
            self.dimensions = len(vectors[0])
        return vectors

    async def _post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        request = self._http.build_request("POST", self.url, content=body, headers=headers, timeout=seconds)
        answer = await self._http.send(request, stream=True)
        try:
            parts, size = [], 0
            async for part in answer.aiter_bytes():
                size += len(part)
                if size > MAX_ANSWER:
                    raise EmbeddingsError(f"{self.url} answered with more than {MAX_ANSWER} bytes")
                parts.append(part)
        finally:
            await answer.aclose()
        return answer.status_code, b"".join(parts)

    def _vectors(self, body: bytes, count: int) -> list[Vector]:
        try:
            # No NaN, no infinity: that is not JSON.
            rows = orjson.loads(body)["data"]
            vectors = [row["embedding"] for row in sorted(rows, key=lambda row: row["index"])]
            places = sorted(row["index"] for row in rows)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise EmbeddingsError(f"{self.url} answered with something else than a list of embeddings") from None
        if places != list(range(count)):
            raise EmbeddingsError(f"{self.url} answered with {len(places)} embeddings for {count} texts")
        wanted = self.dimensions
        for vector in vectors:
            if not (isinstance(vector, list) and vector and all(type(each) in (float, int) for each in vector)):
                raise EmbeddingsError(f"{self.url} answered with an embedding that is not a list of numbers")
            wanted = wanted or len(vector)
            if len(vector) != wanted:
                raise EmbeddingsError(
                    f"{self.url} answered with {len(vector)} dimensions where {wanted} are expected;"
                    " set SWITCHYARD_EMBEDDINGS_DIMENSIONS to what the model makes, and start again"
                )
            # pgvector keeps 32 bits, and knows no angle to a vector without length.
            if not all(abs(each) < 1e38 for each in vector) or not 1e-18 < math.hypot(*vector) < 1e18:
                raise EmbeddingsError(f"{self.url} answered with an embedding that has no direction")
        return [[float(each) for each in vector] for vector in vectors]
