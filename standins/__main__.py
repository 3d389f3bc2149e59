"""`python -m standins NAME [--port N]`: serve one stand-in until it is stopped; prints where, in one line.

`campfire --bot NAME=WEBHOOK_URL` has a room 1 with Ada and that bot in it, and a page to write to it.
"""

import argparse
import signal
import sys
import threading
import time

from standins.campfire import Campfire
from standins.embeddings import EmbeddingsServer
from standins.messages_api import MessagesAPI

SERVERS = {"campfire": Campfire, "embeddings": EmbeddingsServer, "messages_api": MessagesAPI}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m standins", description="Other people's services, stood in for.")
    parser.add_argument("name", choices=sorted(SERVERS))
    parser.add_argument("--port", type=int, default=0, help="on the loopback (default: a free one)")
    parser.add_argument("--bot", action="append", default=[], metavar="NAME=WEBHOOK_URL", help="of campfire")
    chosen = parser.parse_args()
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with SERVERS[chosen.name](port=chosen.port) as server:
        if isinstance(server, Campfire):
            furnish(server, chosen.bot)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        stop.wait()


def furnish(campfire: Campfire, bots: list[str]) -> None:
    """A room with somebody and the bots in it. Its messages are numbered from the milliseconds of now."""
    campfire.number_messages(time.time_ns() // 1_000_000)  # webhooks with numbers of last time's would be repetitions
    made = [campfire.add_bot(name, url) for name, _, url in (each.partition("=") for each in bots)]
    campfire.add_room("Watercooler", campfire.add_person("Ada"), *made)


if __name__ == "__main__":
    main()
