"""Stand-ins as processes of their own, as the demonstration starts them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest


@contextmanager
def started(*words: str) -> Iterator[str]:
    """A stand-in's address; it ends when it is asked to."""
    command = [sys.executable, "-m", "standins", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["campfire", "messages_api"])
def test_one_serves_where_it_says_until_it_is_stopped(name: str) -> None:
    words = ["--bot", "Helper=http://127.0.0.1:9/webhook/helper"] if name == "campfire" else []
    with started(name, *words) as url, httpx.Client(base_url=url, trust_env=False, verify=False) as http:
        if name == "campfire":
            said = {"room": 1, "by": "Ada", "to": "Helper", "text": "hello"}
            assert http.post("/_standin/say", json=said).status_code == 201
            assert "@Helper hello" in http.get("/rooms/1").text
        else:
            asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
            assert http.post("/v1/messages", json=asked, headers={"x-api-key": "k"}).status_code == 200


def test_a_campfire_started_again_does_not_number_its_messages_again() -> None:
    said = {"room": 1, "by": "Ada", "to": "Helper", "text": "hello"}
    numbers = []
    for _ in range(2):
        with (
            started("campfire", "--bot", "Helper=http://127.0.0.1:9/webhook/helper") as url,
            httpx.Client(base_url=url, trust_env=False, verify=False) as http,
        ):
            numbers.append(http.post("/_standin/say", json=said).json()["id"])
    assert numbers[1] > numbers[0] + 100
