"""Receivers that do not talk as HTTP servers should: none holds a sender past its deadline, or fills its memory."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest


@contextmanager
def talker(says: Callable[[], Iterable[bytes]]) -> Iterator[str]:
    """A server that answers every connection with these pieces, whatever it is asked, and then closes; its URL."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)
    talking: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(65_536)
            for piece in says():
                connection.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                talking.append(threading.Thread(target=talk, args=[connection]))
                talking[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in (accepting, *talking):
            thread.join(10)


def endless(first: bytes, piece: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: itertools.chain([first], itertools.repeat(piece))


@pytest.mark.parametrize(
    "says",
    [
        list,
        lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"],
        lambda: [b"HTTP/1.1 200"],
        lambda: [b"HTTP/1.1 banana\r\n\r\n"],
        lambda: [b"\x15\x03\x01\x00\x02\x02\x46"],
        lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
        endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 1_000 + b"\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        endless(b"", b"\r\n"),
    ],
    ids=["nothing", "ssh", "cut off", "no status", "tls", "two lengths", "headers", "a header", "continue", "lines"],
)
def test_what_is_no_answer_is_a_failed_attempt(desk, says):
    with talker(says) as url:
        desk.owe(url)
        (row,) = desk.send(deadline=5)
    assert row["status"] == "pending"
    (attempt,) = row["attempts"]
    assert attempt["status"] is None
    assert attempt["error"].startswith("127.0.0.1 does not answer: ")
    assert attempt["ms"] < 4_000


def test_an_endless_body_is_not_read(desk):
    with talker(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 10_000)) as url:
        desk.owe(url)
        (row,) = desk.send()
    assert row["status"] == "delivered"
    assert row["attempts"][0]["response"] is None


def test_of_a_refusal_only_the_beginning_is_read(desk):
    with talker(
        endless(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"y" * 1024 + b"\r\n")
    ) as url:
        desk.owe(url)
        (row,) = desk.send()
    assert row["status"] == "pending"
    assert row["attempts"][0]["response"] == "y" * 200


def test_an_answer_in_pieces_and_after_others_is_an_answer(desk):
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n"
    )
    with talker(lambda: [answer[at : at + 1] for at in range(len(answer))]) as url:
        desk.owe(url)
        (row,) = desk.send()
    assert (row["status"], row["attempts"][0]["status"]) == ("delivered", 204)


def test_a_body_that_never_comes_keeps_nobody(desk):
    hold = threading.Event()

    def says() -> Iterator[bytes]:
        yield b"HTTP/1.1 503 Later\r\nContent-Length: 5\r\nRetry-After: 60\r\n\r\nov"
        hold.wait(5)

    with talker(says) as url:
        desk.owe(url)
        (row,) = desk.send()
        hold.set()
    assert (row["attempts"][0]["status"], row["attempts"][0]["response"]) == (503, "ov")
    assert row["attempts"][0]["ms"] < 3_000
