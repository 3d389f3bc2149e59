"""Vectors from an endpoint, whatever it answers."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from services.memory_worker.embeddings import Embeddings, EmbeddingsError
from services.memory_worker.settings import MemoryWorkerSettings
from standins.embeddings import EmbeddingsServer, vector_of


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingsServer) -> EmbeddingsServer:
    running.behaviour, running.refuses = "ok", None
    running.asked.clear()
    running.keys.clear()
    return running


def vectors(url: str, *texts: str, seconds: float = 5, **more: object) -> list[list[float]]:
    async def ask() -> list[list[float]]:
        embeddings = Embeddings(url, model="words", **more)  # type: ignore[arg-type]
        try:
            return await embeddings.of(texts, seconds=seconds)
        finally:
            await embeddings.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("behaviour", ["ok", "shuffled"])
def test_vectors_come_in_the_order_of_their_texts(server, behaviour):
    server.behaviour = behaviour
    assert vectors(server.url, "one", "two") == [vector_of("one"), vector_of("two")]
    assert server.asked == [["one", "two"]]


def test_the_key_is_shown_as_a_bearer_and_only_when_there_is_one(server):
    vectors(server.url, "one", key="sk-secret")
    vectors(server.url, "one")
    assert server.keys == {"Bearer sk-secret", None}


def test_dimensions_are_asked_for_and_expected(server):
    assert len(vectors(server.url, "one", dimensions=8)[0]) == 8
    server.behaviour = "long"
    with pytest.raises(EmbeddingsError, match="9 dimensions where 8 are expected"):
        vectors(server.url, "one", dimensions=8)


def test_the_first_answer_settles_the_dimensions(server):
    async def ask() -> None:
        embeddings = Embeddings(server.url, model="words")
        await embeddings.of(["one"])
        assert embeddings.dimensions == 64
        server.behaviour = "long"
        with pytest.raises(EmbeddingsError, match="65 dimensions where 64 are expected"):
            await embeddings.of(["one"])
        await embeddings.close()

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("behaviour", "message", "refused"),
    [
        (500, "answered 500: .*something went wrong", False),
        (429, "answered 429", False),
        (401, "answered 401", False),
        (302, "answered 302", False),
        (400, "answered 400", True),
        ("garbage", "something else than a list of embeddings", False),
        ("nan", "something else than a list of embeddings", False),
        ("short", "1 embeddings for 2 texts", False),
        ("words", "not a list of numbers", False),
        ("zero", "no direction", False),
    ],
)
def test_an_answer_without_vectors_says_what_it_was(server, behaviour, message, refused):
    server.behaviour = behaviour
    with pytest.raises(EmbeddingsError, match=message) as raised:
        vectors(server.url, "one", "two")
    assert raised.value.text_refused is refused
    assert "something went wrong" not in raised.value.told


def test_a_slow_endpoint_is_not_waited_for(server):
    server.behaviour = "slow"
    with pytest.raises(EmbeddingsError, match=r"did not answer within 0\.1 s"):
        vectors(server.url, "one", seconds=0.1)


def test_an_endpoint_that_is_away_is_named():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EmbeddingsError, match=f"http://127.0.0.1:{port}/v1/embeddings: "):
        vectors(f"http://127.0.0.1:{port}/v1/embeddings", "one")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1/embeddings"),
        ("https://api.example.com/v1/embeddings/", "https://api.example.com/v1/embeddings"),
        ("", None),
    ],
)
def test_the_base_of_an_api_will_do_for_its_endpoint(given, used):
    settings = MemoryWorkerSettings(
        _env_file=None, DATABASE_URL="postgresql://x", AMQP_URL="amqp://x", SWITCHYARD_EMBEDDINGS_URL=given
    )
    assert settings.embeddings_url == used


@pytest.mark.parametrize("url", ["https://ada:secret@api.example.com/v1", "https://api.example.com/v1?key=secret"])
def test_an_endpoint_that_holds_a_secret_is_refused(url):
    with pytest.raises(ValueError, match="SWITCHYARD_EMBEDDINGS_KEY"):
        MemoryWorkerSettings(
            _env_file=None, DATABASE_URL="postgresql://x", AMQP_URL="amqp://x", SWITCHYARD_EMBEDDINGS_URL=url
        )
