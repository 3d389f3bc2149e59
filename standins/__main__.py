"""`python -m standins NAME [--port N]`: serve one stand-in until it is stopped; prints where, in one line."""

import argparse
import signal
import sys
import threading

from standins.embeddings import EmbeddingsServer
from standins.messages_api import MessagesAPI

SERVERS = {"messages_api": MessagesAPI, "embeddings": EmbeddingsServer}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m standins", description="Other people's services, stood in for.")
    parser.add_argument("name", choices=sorted(SERVERS))
    parser.add_argument("--port", type=int, default=0, help="on the loopback (default: a free one)")
    chosen = parser.parse_args()
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with SERVERS[chosen.name](port=chosen.port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
