"""What strangers send: each is refused as it should be, by the real process, and the next caller is served."""

import gzip
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.integration.ingress.conftest import KEY, Ingress

BODY = b'{"ref":"refs/heads/main"}'


def talk(ingress: Ingress, sent: bytes, *, seconds: float = 20) -> bytes:
    """Send bytes on a connection of their own; what comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", ingress.port), timeout=seconds) as connection:
        connection.sendall(sent)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def serves(ingress: Ingress) -> bool:
    return ingress.http.get("/health/live").status_code == 200


@pytest.fixture(scope="module", autouse=True)
def never_coming(ingress: Ingress) -> Iterator[Future[tuple[bytes, float]]]:
    """What is answered to a body that never comes, and after how many seconds; the other tests go on meanwhile."""
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: " + KEY.encode() + b"\r\nContent-Length: 100\r\n\r\n{"

    def wait() -> tuple[bytes, float]:
        began = time.monotonic()
        return talk(ingress, head), time.monotonic() - began

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(wait)


def test_the_right_signature_is_202(ingress: Ingress) -> None:
    assert ingress.github(BODY, "right").status_code == 202


@pytest.mark.parametrize(
    "signature",
    ["", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40, "nonsense", "sha256=" + "g" * 64],
)
def test_a_wrong_or_malformed_signature_is_401(ingress: Ingress, signature: str) -> None:
    got = ingress.github(BODY, "wrong", X_Hub_Signature_256=signature)
    assert got.status_code == 401
    assert got.headers["content-type"] == "application/problem+json"
    assert got.json()["code"] == "unauthorized"


def test_a_missing_and_a_doubled_signature_are_401(ingress: Ingress) -> None:
    headers = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "d")]
    assert ingress.http.post("/webhook", content=BODY, headers=headers).status_code == 401
    right = ingress.github(BODY, "d").request.headers["x-hub-signature-256"]
    doubled = [*headers, ("X-Hub-Signature-256", right), ("X-Hub-Signature-256", right)]
    assert ingress.http.post("/webhook", content=BODY, headers=doubled).status_code == 401


def test_one_byte_changed_or_the_right_signature_over_other_bytes_is_401(ingress: Ingress) -> None:
    right = ingress.github(BODY, "d").request.headers["x-hub-signature-256"]
    assert ingress.github(BODY.replace(b"main", b"maim"), "d", X_Hub_Signature_256=right).status_code == 401
    assert ingress.github(b"{}", "d", X_Hub_Signature_256=right).status_code == 401


def test_a_wrong_key_is_401(ingress: Ingress) -> None:
    for headers in (
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": "", "Authorization": f"Bearer {KEY}x"},
    ):
        assert ingress.http.post("/api/commands/create_session", json={}, headers=headers).status_code == 401


def test_26_mb_is_413_however_it_is_sent(ingress: Ingress) -> None:
    body = b'["' + b"x" * 26_000_000 + b'"]'
    assert ingress.github(body, "large").status_code == 413
    right = ingress.github(BODY, "d").request.headers["x-hub-signature-256"]

    def chunks():
        for at in range(0, len(body), 1_000_000):
            yield body[at : at + 1_000_000]

    headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": "d", "X-Hub-Signature-256": right}
    assert ingress.http.post("/webhook", content=chunks(), headers=headers).status_code == 413
    assert serves(ingress)


def test_a_gzip_bomb_is_413(ingress: Ingress) -> None:
    bomb = gzip.compress(b"0" * 500_000_000, 1)
    assert ingress.github(bomb, "bomb", Content_Encoding="gzip").status_code == 413
    headers = {"Content-Encoding": "gzip"}
    assert ingress.http.post("/api/commands/create_session", content=bomb[:900_000], headers=headers).status_code == 413
    assert serves(ingress)


def test_500_slow_heads_are_closed_within_10_s_while_others_are_served(ingress: Ingress) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        slow = []
        for number in range(500):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", ingress.port), timeout=15))
            connection.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
            slow.append(connection)
        still_open = set(slow)
        longest = 0.0
        while still_open and time.monotonic() - began < 15:
            asked = time.monotonic()
            assert ingress.github(BODY, f"slow-{asked}").status_code == 202
            longest = max(longest, time.monotonic() - asked)
            for connection in list(still_open):
                connection.setblocking(False)
                try:
                    # One more byte of its head now and then, as slow senders do.
                    connection.sendall(b"X")
                    if connection.recv(4096) == b"":
                        still_open.discard(connection)
                except BlockingIOError:
                    pass
                except OSError:
                    still_open.discard(connection)
        assert not still_open
        assert time.monotonic() - began < 10
        assert longest < 2


def test_a_body_that_never_comes_is_given_up(never_coming: Future[tuple[bytes, float]]) -> None:
    answer, seconds = never_coming.result()
    assert status(answer) == 408
    assert seconds < 15


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"this is not HTTP\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-API-Key: k\r\n\r\nzz\r\n", 400),
    ],
    ids=["long header", "endless header", "many headers", "long path", "no HTTP", "TLS", "two lengths", "bad length",
         "length and chunks", "no chunk"],
)  # fmt: skip
def test_broken_http_is_refused_and_the_connection_closed(ingress: Ingress, sent: bytes, expected: int) -> None:
    answer = talk(ingress, sent)
    assert status(answer) == expected or (expected == 400 and b"401 " in answer[:20])
    assert serves(ingress)


def test_a_body_longer_than_it_says_is_not_taken_for_more(ingress: Ingress) -> None:
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: " + KEY.encode() + b"\r\nContent-Length: 2\r\n\r\n{}{}"
    answers = talk(ingress, head)
    assert status(answers) == 202
    assert answers.count(b"HTTP/1.1 ") == 1


def test_many_requests_on_one_connection_are_answered_in_order(ingress: Ingress) -> None:
    one = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nIdempotency-Key: p-%d\r\nContent-Length: 2\r\n\r\n{}"
    last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = talk(ingress, b"".join(one % (KEY.encode(), number) for number in range(50)) + last)
    assert answers.count(b"HTTP/1.1 202 Accepted") == 50
    assert answers.endswith(b'{"status":"live"}')


def test_100_continue_is_only_sent_to_who_may_go_on(ingress: Ingress) -> None:
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    head += b"Content-Length: %d\r\n%b\r\n"
    assert status(talk(ingress, head % (2, b""))) == 401
    assert status(talk(ingress, head % (2_000_000, b"X-API-Key: " + KEY.encode() + b"\r\n"))) == 413
    with socket.create_connection(("127.0.0.1", ingress.port), timeout=10) as connection:
        connection.sendall(head % (2, b"X-API-Key: " + KEY.encode() + b"\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"{}")
        assert status(read_all(connection)) == 202


def test_an_upgrade_nobody_offers_is_answered_as_plain_http(ingress: Ingress) -> None:
    for protocol in (b"websocket", b"h2c"):
        sent = (
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: " + protocol + b"\r\n\r\n"
        )
        assert status(talk(ingress, sent)) == 200


def test_a_head_request_has_no_body(ingress: Ingress) -> None:
    answer = talk(ingress, b"HEAD /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status(head), body) == (405, b"")


def test_campfire_gets_nothing_it_could_post_into_the_room(ingress: Ingress) -> None:
    for token in ("campfire-token", "wrong"):
        got = ingress.http.post(f"/webhook/helper?token={token}", content=b"{}")
        assert (got.status_code, got.content) == (204, b"")
        assert "content-type" not in got.headers


def test_no_secret_reached_the_log(ingress: Ingress) -> None:
    text = ingress.log.read_text()
    assert "http_request" in text
    for secret in (KEY, "campfire-token", "?token"):
        assert secret not in text
    assert "Traceback" not in text


def test_large_requests_may_follow_each_other_on_one_connection_without_waiting(ingress: Ingress) -> None:
    body = b'{"text":"' + b"x" * 20_000 + b'"}'
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n" % (
        KEY.encode(),
        len(body),
    )
    last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = talk(ingress, (head + body) * 40 + last)
    assert answers.count(b"HTTP/1.1 202 Accepted") == 40
    assert answers.endswith(b'{"status":"live"}')
