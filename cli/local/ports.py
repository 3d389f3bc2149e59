"""Which TCP ports are free on this machine, and who holds the ones that are not."""

import random
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

# Below the range from which the kernel takes the local ports of outgoing connections (32768 and up on Linux, 49152 on
# macOS), so that a port found free stays free until its server has started.
SEARCHED = range(20_000, 32_000)

_given: set[int] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def accepts(port: int, host: str = "127.0.0.1", timeout: float = 1.0) -> bool:
    """True when something answers a TCP connection on the port."""
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def free_port(offsets: Iterable[int] = (0,)) -> int:
    """A base port for which base + each offset is free; never the same one twice from one process."""
    wanted = tuple(offsets)
    with _lock:
        for _ in range(2_000):
            base = random.choice(SEARCHED)
            ports = [base + offset for offset in wanted]
            if not _given.intersection(ports) and all(is_free(port) for port in ports):
                _given.update(ports)
                return base
    raise RuntimeError(f"no free port between {SEARCHED.start} and {SEARCHED.stop}")


def holder(port: int) -> Holder | None:
    """Who listens on the port, as far as we are allowed to know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                process = psutil.Process(connection.pid)
                words = " ".join(process.cmdline()).split()
                return Holder(connection.pid, " ".join(words)[:70] if words else process.name())
    except (psutil.Error, OSError):  # another user's process, or macOS without root
        return None
    return None


def shared(wanted: Mapping[str, tuple[int, str]]) -> list[str]:
    """One sentence for each port that two purposes of ours would have; `wanted` as for `busy`."""
    first: dict[int, str] = {}
    return [
        f"Port {port} is wanted twice, for {first[port]} and {purpose}. Move one with {setting}=<another port> in .env."
        for purpose, (port, setting) in wanted.items()
        if first.setdefault(port, purpose) != purpose
    ]


def busy(wanted: Mapping[str, tuple[int, str]], host: str = "127.0.0.1") -> list[str]:
    """One sentence for each port that is taken: which, by whom if known, and how to move.

    `wanted` maps what the port is for to (port, name of the setting that moves it).
    """
    sentences = []
    for purpose, (port, setting) in wanted.items():
        if is_free(port, host):
            continue
        owner = holder(port)
        by = f"by {owner}" if owner else "by a process we may not look at"
        sentences.append(
            f"Port {port} ({purpose}) is taken {by}. Stop it, or move with {setting}=<another port> in .env."
        )
    return sentences
