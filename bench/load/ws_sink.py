"""The WebSocket sink in pure Python, for machines without a C compiler: the same arguments and answers, but slower."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import sys
import time
from typing import Any

from bench.figures import percentile
from bench.load.events import DIGITS, MARK


def frames(data: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole unmasked frames (opcode, payload) off the front of `data`."""
    taken, at = [], 0
    while len(data) - at >= 2:
        length, skip = data[at + 1] & 127, 2
        if length >= 126:
            skip = 4 if length == 126 else 10
            length = int.from_bytes(data[at + 2 : at + skip], "big")
        if len(data) - at < skip + length:
            break
        taken.append((data[at] & 15, bytes(data[at + skip : at + skip + length])))
        at += skip + length
    del data[:at]
    return taken


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame of up to 65,535 bytes, under a mask of zeros."""
    head = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


def say(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Counts:
    """What arrived since `start`."""

    def __init__(self, stride: int = 1, target: int = 0) -> None:
        self.events = self.others = self.gaps = self.bytes = self.first_sent = self.last_received = 0
        self.stride, self.target = stride, target
        self.latencies: list[float] = []
        self.began, self.cpu_began = time.monotonic(), cpu_seconds()

    def take(self, text: bytes, now: int) -> None:
        at = text.find(MARK)
        if at < 0:
            self.others += 1
            self.gaps += b'"type":"gap"' in text
            return
        self.events += 1
        self.last_received = now
        if self.events == self.target:
            say(reached=now)
        if self.first_sent and self.events % self.stride:
            return
        sent = int(text[at + len(MARK) : at + len(MARK) + DIGITS])
        self.first_sent = min(self.first_sent or sent, sent)
        self.latencies.append((now - sent) / 1e6)

    def report(self, closed: int) -> None:
        say(
            events=self.events, others=self.others, gaps=self.gaps, closed=closed, bytes=self.bytes,
            seconds=(self.last_received - self.first_sent) / 1e9 if self.events else 0,
            p50_ms=percentile(self.latencies, 0.5), p99_ms=percentile(self.latencies, 0.99),
            max_ms=max(self.latencies, default=0.0), samples=len(self.latencies),
            cpu_share=(cpu_seconds() - self.cpu_began) / (time.monotonic() - self.began),
        )  # fmt: skip


def join(
    host: str, port: int, path: str, headers: str, subscribe: str, receive_buffer: int = 0
) -> tuple[socket.socket, bytearray]:
    """One connected client, and what the server has sent it behind its handshake."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect((host, port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    more = "".join(f"{header}\r\n" for header in headers.split("|") if header)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n".encode()
    )
    data = bytearray()
    while b"\r\n\r\n" not in data:
        if not (got := client.recv(65536)):
            raise SystemExit("the server hung up during the handshake")
        data += got
    if not data.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"handshake refused: {data!r}")
    del data[: data.index(b"\r\n\r\n") + 4]
    if subscribe != "-":
        client.sendall(masked(1, subscribe.encode()))
    client.setblocking(False)
    return client, data


def main() -> None:
    host, port, path, clients, listing, subscribe = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(open(listing)).read().splitlines() if listing != "-" else [""] * int(clients)  # noqa: PTH123
    selector, counts, closed, subscribed = selectors.DefaultSelector(), Counts(), 0, 0
    for headers in lines[: int(clients)]:
        selector.register(*_registration(join(host, int(port), path, headers, subscribe)))
    selector.register(0, selectors.EVENT_READ, None)
    if subscribe == "-":
        say(connected=int(clients))
    while True:
        for key, _ in selector.select():
            if key.data is None:
                if not (words := sys.stdin.readline().split()):
                    return
                if words[0] == "start":
                    counts = Counts(int(words[1]), int(words[2]))
                    say(started=time.monotonic_ns())
                elif words[0] == "expect":
                    counts.target = int(words[1])
                    if counts.events >= counts.target:
                        say(reached=counts.last_received)
                else:
                    counts.report(closed)
                continue
            client, data = key.data
            if not (got := client.recv(1 << 20)):
                closed += 1
                selector.unregister(client)
                continue
            data += got
            counts.bytes += len(got)
            now = time.monotonic_ns()
            for opcode, payload in frames(data):
                if opcode == 9:
                    client.send(masked(10, payload))
                elif opcode == 1:
                    counts.take(payload, now)
                    if b'"subscribed"' in payload[:40] and subscribe != "-":
                        subscribed += 1
                        if subscribed == int(clients):
                            say(connected=subscribed)


def _registration(
    client: tuple[socket.socket, bytearray],
) -> tuple[socket.socket, int, tuple[socket.socket, bytearray]]:
    return client[0], selectors.EVENT_READ, client


if __name__ == "__main__":
    main()
