"""A network between a client and a server that can be cut: a TCP proxy."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class Proxy:
    """Passes bytes on, until it is cut: then open connections hang or break, and new ones find nobody."""

    def __init__(self, port: int) -> None:
        """`port`: of the server, on this machine."""
        self._target = port
        self._through = threading.Event()
        self._through.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def cut(self, *, broken: bool) -> None:
        """Let nothing through. `broken`: both sides are told; else they hear nothing, as when a cable is pulled."""
        self._through.clear()
        if broken:
            self._break()

    def heal(self) -> None:
        """Let everything through again."""
        self._through.set()

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._through.set()
        while self._threads:
            self._break()
            self._threads.pop(0).join()
        for each in (self._listener, *self._sockets):
            each.close()

    def _break(self) -> None:
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *ends: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=ends, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._through.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._sockets += [near, far]
            for ends in ((near, far), (far, near)):
                self._start(self._pass_on, *ends)

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._through.wait()
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy before a port of this machine."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
