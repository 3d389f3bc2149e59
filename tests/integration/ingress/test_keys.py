"""The keys an ingress knows: with nobody to ask, after the broker was away, and what stays in force meanwhile."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from cli.local.ports import free_port
from tests.integration.bus.broker import Broker
from tests.integration.ingress.conftest import Ingress
from tests.integration.ws_gateway.processes import Process
from tests.waiting import eventually

SECRET = "sy_the-secret-of-a-key-of-these-tests"


def create(ingress: Ingress, secret: str = SECRET) -> int:
    """The status of a command that is kept, whoever is away, for a key that is in force."""
    headers = {"X-API-Key": secret, "Prefer": "respond-async"}
    return ingress.http.post("/api/commands/create_session", json={}, headers=headers).status_code


def test_with_nobody_to_ask_only_the_bootstrap_key_works_and_no_other_is_called_wrong(ingress: Ingress) -> None:
    unknown = ingress.http.post("/api/commands/create_session", json={}, headers={"X-API-Key": SECRET})
    assert (unknown.status_code, unknown.json()["code"]) == (503, "unavailable")
    assert unknown.headers["retry-after"] == "2"
    assert create(ingress, "nothing-like-a-key") == 401
    assert ingress.http.post("/api/commands/create_session", headers={"Prefer": "respond-async"}).status_code == 202


@pytest.fixture
def worker(broker: Broker, database_url: str) -> Iterator[Process]:
    """A session worker on the tests' own broker."""
    process = Process(
        "session_worker",
        {"AMQP_URL": broker.url, "DATABASE_URL": database_url, "SWITCHYARD_WORKERS_PORT": str(free_port(range(4)))},
    )
    process.start()
    yield process
    process.stop()


def test_the_last_known_keys_stay_in_force_and_are_asked_for_again(
    broker: Broker, worker: Process, database_url: str, make_ingress: Callable[..., Ingress], tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "insert into api_keys (name, key_hash, scopes) values ('ci', %s, '{publish}')",
            [hashlib.sha256(SECRET.encode()).digest()],
        )
        ingress = make_ingress(broker.url).start()
        eventually(lambda: create(ingress) == 202, because="the key is known")

        broker.kill()
        database.execute("update api_keys set revoked = now()")
        eventually(lambda: ingress.http.get("/health").json()["dependencies"]["broker"] != "up")
        assert create(ingress) == 202
        broker.start()
        eventually(lambda: create(ingress) == 401, 20, because="the revocation is known after the reconnect")

        database.execute("update api_keys set revoked = null")
        worker.stop()
        ingress.kill()
        again = make_ingress(broker.url).start()
        assert create(again) == 503
        assert httpx.post(f"{again.http.base_url}/api/commands/create_session").status_code == 401
