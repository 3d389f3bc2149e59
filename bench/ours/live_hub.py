"""The gateway with many connections that want what concerns them; events are handed to its intake inside the process.

Reads lines from stdin and answers each with a line of JSON: `subscribe`, `run BURST RATE SECONDS`, `nobody EVENTS`,
`asked_each EVENTS`, `changes A_SECOND SECONDS`, `resume EVENTS`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any, cast

import uvloop
from prometheus_client import CollectorRegistry

from bench.load import events
from bench.load.offer import offer
from services.ws_gateway.app import tune_collector
from services.ws_gateway.client import GOING_AWAY, Client
from services.ws_gateway.commands import Commands
from services.ws_gateway.door.access import Limits
from services.ws_gateway.door.doors import Doors
from services.ws_gateway.door.floods import Floods
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.history.pages import Pages
from services.ws_gateway.history.resume import Library
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.frames import event_frame
from services.ws_gateway.stream.intake import Epoch, Intake
from services.ws_gateway.stream.ring import Ring
from services.ws_gateway.wire.server import Server
from shared import logs
from shared.auth import sign
from shared.bus.rpc import Rpc
from shared.bus.tail import StreamEvent
from shared.key_ring import KeyRing
from shared.limits import Bucket

TOPICS = 200
SESSIONS = 1_000
# Subscriptions that change in one turn of the loop, as when so many sockets are readable at once.
CHANGES_AT_ONCE = 50
EVENTS_A_SECOND = 200


async def contexts(_: str, asked: dict[str, Any]) -> bytes:
    """Each agent takes part in the one session of its number."""
    named = [(agent, f"s{_number(agent) % SESSIONS}") for agent in asked["agent_ids"]]
    return json.dumps(
        {"contexts": [{"agent_id": agent, "sessions": [session], "sidebars": []} for agent, session in named]}
    ).encode()


def no_stream(_: int, __: int) -> AsyncIterator[list[StreamEvent]]:
    raise RuntimeError("there is no stream behind this gateway")


def _number(agent_id: str) -> int:
    return int(agent_id.rpartition("-")[2])


class Deaf:
    """A socket that takes everything at no cost."""

    def __init__(self, number: int) -> None:
        self.address = f"10.0.{number // 250}.{number % 250}"

    def write(self, data: bytes) -> None:
        """Nothing comes of it."""

    def close(self, code: int, reason: str) -> None:
        if code != GOING_AWAY:
            raise RuntimeError(f"closed with {code}: {reason}")

    def hold(self, *, held: bool) -> None:
        """Nor of this."""

    def buffered(self) -> int:
        return 0


class LiveHub:
    """The gateway and what is done to it."""

    def __init__(self) -> None:
        self.hub = Hub(Ring(20_000, 64 * 1024 * 1024))
        ring = KeyRing(None)
        metrics = Metrics(self.hub, CollectorRegistry())
        self.intake = Intake(self.hub, metrics)
        self.intake.begin(Epoch("bench", 0), 1)
        self.secret = os.environ["SWITCHYARD_SECRET"]
        floods = Floods(frames_a_second=10**9, connections_a_second=10**9)
        self.gateway = Gateway(
            secret=self.secret,
            origins=frozenset(),
            limits=Limits(unauthenticated=20_000, unauthenticated_per_address=20_000),
            hub=self.hub,
            intake=self.intake,
            library=Library(self.hub, Pages(self.hub, self.intake, no_stream, contexts), metrics),
            commands=Commands(cast(Rpc, None), metrics, ring, self.secret),
            ring=ring,
            metrics=metrics,
            call_later=asyncio.get_running_loop().call_later,
            doors=Doors(self.secret, floods=floods),
        )
        self._offsets = itertools.count(1)
        self._sessions = itertools.count()

    def taken(self, bodies: list[tuple[str, bytes]]) -> None:
        """Events that the tail has read."""
        self.intake.take([StreamEvent(next(self._offsets), topic, body, "") for topic, body in bodies])

    def of_a_session(self, body: bytes) -> tuple[str, bytes]:
        """An event of one session after the other, under the topic its agents listen to."""
        session = next(self._sessions) % SESSIONS
        return f"t{session % TOPICS}.x", body.replace(b'"session_id":"bench"', b'"session_id":"s%d"' % session)

    async def subscribe(self) -> dict[str, Any]:
        """Let every client want what concerns it, of the topic of its number; returns how many do."""
        clients = self.gateway.clients
        for client in clients:
            assert client.identity is not None
            _say(client, type="subscribe", topics=[f"t{_number(client.identity.agent_id) % TOPICS}.#"], mode="relevant")
        while not all(client.connection.group for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        tune_collector()
        return {"clients": len(clients), "groups": len(self.hub.directory.groups)}

    async def run(self, burst: str, rate: str, seconds: str) -> dict[str, Any]:
        """Offer events of the sessions."""

        async def publish(bodies: list[bytes]) -> None:
            self.taken([self.of_a_session(body) for body in bodies])

        return asdict(await offer(publish, int(burst), float(rate), float(seconds)))

    async def nobody(self, count: str) -> dict[str, Any]:
        """Events under a topic nobody listens to, and events nobody is concerned by, one by one; µs for each."""
        return {
            "unheard_us": self._cost(int(count), lambda body: ("nobody.x", body)),
            "unconcerned_us": self._cost(int(count), lambda body: ("t5.x", body)),
        }

    def _cost(self, count: int, addressed: Callable[[bytes], tuple[str, bytes]]) -> float:
        bodies = [[addressed(events.event(0))] for _ in range(count)]
        began = time.thread_time()
        for body in bodies:
            self.taken(body)
        return (time.thread_time() - began) / count * 1e6

    async def asked_each(self, count: str) -> dict[str, Any]:
        """What an event costs by our way, and what it would if each connection were asked in turn; µs."""
        ours = self._cost(int(count), self.of_a_session)
        connections = [client.connection for client in self.gateway.clients]
        frames = [event_frame(0, *self.of_a_session(events.event(0))) for _ in range(max(1, int(count) // 50))]
        began = time.thread_time()
        for frame in frames:
            for connection in connections:
                group = connection.group
                if group is not None and group.interest.matches(frame.routing_key):
                    group.interest.admits(frame, connection.agent_id, self.hub.relevance)
        return {"ours_us": ours, "each_us": (time.thread_time() - began) / len(frames) * 1e6}

    async def changes(self, a_second: str, seconds: str) -> dict[str, Any]:
        """Clients without sockets that change what they want, so many times a second, while 200 events/s come.

        Tells the longest time in which nothing else had its turn, how much of a core the longest took, and how many
        changes there were.
        """
        loop = asyncio.get_running_loop()
        clients = [self._enter(f"changer-{number}") for number in range(500)]
        await asyncio.sleep(0.2)
        began, done, published, turn = loop.time(), 0, 0, itertools.count()
        longest, last = 0.0, loop.time()
        longest_cpu, last_cpu = 0.0, time.thread_time()
        while (now := loop.time()) < began + float(seconds):
            longest, last = max(longest, now - last), now
            longest_cpu, last_cpu = max(longest_cpu, (cpu := time.thread_time()) - last_cpu), cpu
            due = int((now - began) * float(a_second))
            for _ in range(min(CHANGES_AT_ONCE, due - done)):
                number = next(turn)
                self._change(clients[number % len(clients)], number)
                done += 1
            if int((now - began) * EVENTS_A_SECOND) > published:
                published += 1
                self.taken([self.of_a_session(events.event(time.monotonic_ns()))])
            await asyncio.sleep(0)
        took = loop.time() - began
        for client in clients:
            client.close(GOING_AWAY, "")
            client.gone(GOING_AWAY)
        return {"longest_ms": longest * 1000, "longest_cpu_ms": longest_cpu * 1000, "a_second": done / took}

    def _change(self, client: Client, number: int) -> None:
        topics = [f"t{number * 7 % TOPICS}.#", f"own-{number % 5_000}.x"]
        if number % 3 == 0:
            _say(client, type="subscribe", topics=topics, mode="relevant")
        elif number % 3 == 1:
            _say(client, type="set_mode", mode="focused", filters={"tags": [f"tag-{number % 5_000}"]})
        else:
            _say(client, type="unsubscribe")

    def _enter(self, agent_id: str) -> Client:
        client = self.gateway.connect(Deaf(_number(agent_id)))
        claims = {"sub": agent_id, "kind": "agent", "permission": "active"}
        client.entrance.open(sign(self.secret, "ws", claims, ttl_s=7200))
        # Other limits than those of a client are measured here.
        client.answers._bucket = Bucket(1e9, 1e9)
        return client

    async def resume(self, count: str) -> dict[str, Any]:
        """How long a client waits for so many events that it missed, all of which concern it; milliseconds."""
        body = events.event(0).replace(b'"session_id":"bench"', b'"session_id":"s1"')
        since = self.hub.cursor
        for _ in range(int(count)):
            self.taken([("resumed.x", body.replace(b"01900000", b"%08d" % next(self._offsets)))])
        client = self._enter("bench-100001")
        # It is known where its agent takes part.
        _say(client, type="subscribe", topics=["resumed.x"], mode="relevant")
        await asyncio.sleep(0.1)
        before, began = client.connection.sent, time.perf_counter()
        _say(client, type="subscribe", topics=["resumed.x"], since=since)
        while client.connection.group is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        took = time.perf_counter() - began
        given = client.connection.sent - before
        client.close(GOING_AWAY, "")
        client.gone(GOING_AWAY)
        return {"ms": took * 1000, "given": given}


def _say(client: Client, **frame: Any) -> None:
    client.answers.said(json.dumps(frame).encode())


async def main(port: int) -> None:
    logs.configure("live_hub", level="warning")
    live = LiveHub()
    await Server(live.gateway, lambda _: None, lambda: True).start("127.0.0.1", port)
    gc.freeze()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    every = (live.subscribe, live.run, live.nobody, live.asked_each, live.changes, live.resume)
    acts: dict[str, Callable[..., Any]] = {act.__name__: act for act in every}
    while line := await lines.readline():
        name, *arguments = line.decode().split()
        sys.stdout.write(json.dumps(await acts[name](*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
