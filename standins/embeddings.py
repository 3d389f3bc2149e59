"""An embeddings endpoint as OpenAI's is, without a model: texts are near each other when they share words.

`with EmbeddingsServer() as server`, with `server.behaviour` set to what is to go wrong.
"""

import math
import re
import threading
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

DIMENSIONS = 64
# Words that mean the same, so that meaning finds what words don't.
SAME = {"car": "vehicle", "automobile": "vehicle", "feline": "cat", "kitten": "cat"}


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A hashed bag of words, of length 1."""
    counts = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or ["nothing"]:
        digest = blake2b(SAME.get(word, word).encode(), digest_size=8).digest()
        counts[int.from_bytes(digest[:4], "big") % dimensions] += 1.0 if digest[4] % 2 else -1.0
    length = math.hypot(*counts)
    return [each / length for each in counts] if length else [1.0, *[0.0] * (dimensions - 1)]


class EmbeddingsServer:
    """Serves on a free port of the loopback until the block ends; remembers what it was asked."""

    def __init__(self, port: int = 0, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions
        # ok, or what goes wrong: an HTTP status, or slow, garbage, nan, short, long, words, zero, shuffled.
        self.behaviour: str | int = "ok"
        # A request with a text that holds this is refused as OpenAI refuses a text that is too long.
        self.refuses: str | None = None
        self.asked: list[list[str]] = []
        self.keys: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/embeddings"

    @property
    def texts(self) -> list[str]:
        """Every text a vector was asked for."""
        return [text for asked in list(self.asked) for text in asked]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        """The status and the body for a request."""
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        self.asked.append(texts)
        if isinstance(self.behaviour, int):
            return self.behaviour, orjson.dumps({"error": {"message": "something went wrong"}})
        if self.refuses and any(self.refuses in text for text in texts):
            return 400, orjson.dumps({"error": {"message": "this text can't be embedded"}})
        dimensions = asked.get("dimensions", self.dimensions) + (1 if self.behaviour == "long" else 0)
        rows = [
            {"object": "embedding", "index": at, "embedding": vector_of(text, dimensions)}
            for at, text in enumerate(texts)
        ]
        match self.behaviour:
            case "garbage":
                return 200, b"<html>Welcome</html>"
            case "nan":
                return 200, b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}'
            case "short":
                rows.pop()
            case "words":
                rows[0]["embedding"] = ["a", "b"]
            case "zero":
                rows[0]["embedding"] = [0.0] * dimensions
            case "shuffled":
                rows.reverse()
            case "slow":
                self.released.wait(30)
        return 200, orjson.dumps({"object": "list", "model": asked["model"], "data": rows})


def _handler(server: EmbeddingsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.keys.add(self.headers.get("Authorization"))
            asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = server.answer(asked)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
