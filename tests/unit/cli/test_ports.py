"""Ports that are free, and ports that are not."""

import os
import socket
from collections.abc import Iterator

import pytest

from cli.local import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_its_holder_and_the_way_out(taken: int) -> None:
    (sentence,) = ports.busy({"HTTP API": (taken, "SWITCHYARD_INGRESS_PORT")})

    assert f"Port {taken} (HTTP API) is taken by" in sentence
    assert f"(pid {os.getpid()})" in sentence
    assert "SWITCHYARD_INGRESS_PORT=<another port> in .env" in sentence


def test_a_port_that_two_of_ours_would_have_is_named_with_both() -> None:
    wanted = {"HTTP API": (8000, "A_PORT"), "WebSocket": (8000, "B_PORT"), "health of memory_worker": (8012, "C_PORT")}
    (sentence,) = ports.shared(wanted)

    assert (
        sentence
        == "Port 8000 is wanted twice, for HTTP API and WebSocket. Move one with B_PORT=<another port> in .env."
    )


def test_free_ports_raise_no_complaint() -> None:
    assert ports.busy({"HTTP API": (ports.free_port(), "SWITCHYARD_INGRESS_PORT")}) == []


def test_a_port_is_free_again_at_once_after_its_server_is_gone(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.accepts(taken)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    assert ports.is_free(port)
    assert not ports.accepts(port)


def test_the_same_port_is_never_given_twice() -> None:
    bases = [ports.free_port(offsets=(0, 1, 11)) for _ in range(50)]
    every = [base + offset for base in bases for offset in (0, 1, 11)]
    assert len(set(every)) == len(every)
