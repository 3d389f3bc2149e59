"""Whole systems, from an HTTP door over broker and database to a WebSocket, started for the path benchmark."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg

from bench.figures import OURS
from bench.load import memories
from bench.load.sink import Sink
from bench.load.tokens import subscription, token_headers
from bench.plan import Plan
from bench.processes import Program, python, usage
from cli.local.environment import free_environment
from cli.local.ports import free_port
from cli.local.postgres import Postgres
from cli.local.rabbitmq import RabbitMQ
from cli.local.stack import Stack

REFERENCE = "FastAPI + FastStream + ORM"


@dataclass(frozen=True)
class Servers:
    """The broker and the database every system of a benchmark uses."""

    broker: RabbitMQ
    database: Postgres

    @property
    def pids(self) -> dict[str, int]:
        return {"RabbitMQ": self.broker.pid or 0, "PostgreSQL": self.database.pid or 0}


@dataclass
class System:
    """One system with a client on its WebSocket."""

    name: str
    door: int  # the port store_memory is posted to
    headers: dict[str, str]
    table: str  # where the memories end, with the columns session_id, key and created
    database_url: str
    sink: Sink
    pids: dict[str, int]  # of its services, by name
    servers: dict[str, int]  # of the broker and the database
    costs: dict[str, list[float]] = field(default_factory=dict)  # µs of CPU a memory took in each process, by run

    def stored(self, prefix: str) -> tuple[int, float]:
        """How many memories with keys of this prefix are committed, and when the last was (seconds of the epoch)."""
        # By session, so that the primary key serves it, however many other memories there are.
        query = (
            f"select count(*), extract(epoch from max(created)) from {self.table}"
            " where session_id = any(%s) and key like %s"
        )
        sessions = [memories.session(number) for number in range(memories.SESSIONS)]
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(query, (sessions, f"{prefix}-%")).fetchone()
        assert row is not None
        return int(row[0]), float(row[1] or 0)

    def cpu(self) -> dict[str, float]:
        """CPU seconds each process has used so far."""
        return {name: usage(pid)[0] for name, pid in {**self.pids, **self.servers}.items()}

    def costs_in_words(self, label: str = "") -> str:
        """What a memory costs where, in one line; medians of the runs so far."""
        return costs_in_words(label or self.name, "memory", self.costs)

    def memory(self) -> dict[str, int]:
        """Resident bytes of each service and of the broker (PostgreSQL's processes share theirs)."""
        watched = {**self.pids, "RabbitMQ": self.servers["RabbitMQ"]}
        return {name: usage(pid)[1] for name, pid in watched.items()}


def costs_in_words(label: str, thing: str, costs: Mapping[str, Sequence[float]]) -> str:
    """What a thing costs where, in one line; `costs` is µs of CPU in each process, by run."""
    medians = {name: median(runs) for name, runs in costs.items() if runs}
    parts = [f"{name} {cost:.0f}" for name, cost in sorted(medians.items(), key=lambda item: -item[1]) if cost >= 0.5]
    return f"{label}: µs of CPU for a {thing}: {sum(medians.values()):.0f} = {' + '.join(parts)}"


def start_servers(plan: Plan, stack: AsyncExitStack) -> Servers:
    """A private broker and database, stopped with the stack."""
    broker, database = RabbitMQ(plan.directory / "broker"), Postgres(plan.directory / "postgres")
    stack.callback(database.stop)
    stack.callback(broker.stop)
    broker.launch()
    database.start()
    broker.wait()
    return Servers(broker, database)


async def start_reference(plan: Plan, stack: AsyncExitStack, servers: Servers) -> System:
    """The path as usually written: three processes."""
    environment = {"AMQP_URL": servers.broker.url, "DATABASE_URL": servers.database.url}
    pids, ports = {}, {"ingress": free_port(), "gateway": free_port()}
    for role in ("worker", "gateway", "ingress"):
        listening = ["--port", str(ports[role])] if role in ports else []
        program = await Program.start(
            f"reference-{role}",
            *python("bench.references.path_fastapi"),
            role,
            *listening,
            directory=plan.directory,
            env=environment,
            port=ports.get(role),
        )
        stack.push_async_callback(program.stop)
        pids[role] = program.process.pid
    sink = await Sink.connect(ports["gateway"], "/ws", 1, plan.directory, name="sink-of-reference")
    stack.push_async_callback(sink.stop)
    return System(REFERENCE, ports["ingress"], {}, "reference_memories", servers.database.url, sink, pids, servers.pids)


async def start_ours(plan: Plan, stack: AsyncExitStack, servers: Servers) -> System:
    """Every service of this checkout, with the sessions the memories belong to, and one agent that listens."""
    running = start_services(plan, stack, servers)
    for number in range(memories.SESSIONS):
        post(running, "/api/commands/create_session", {"session_id": memories.session(number)})
    sink = await Sink.connect(
        running.environment.gateway_port,
        "/ws",
        1,
        plan.directory,
        headers=token_headers(running.environment.get("SWITCHYARD_SECRET"), 1),
        subscribe=subscription("memory.#"),
        name="sink-of-switchyard",
    )
    stack.push_async_callback(sink.stop)
    pids = {name: child.pid for name, child in running.processes.items() if child.pid}
    headers = {"X-API-Key": running.api_key, "Prefer": "respond-async"}
    return System(
        OURS, running.environment.ingress_port, headers, "memories", servers.database.url, sink, pids, servers.pids
    )


def start_services(plan: Plan, stack: AsyncExitStack, servers: Servers, services: list[str] | None = None) -> Stack:
    """Our services on these servers (default: all there are), ready; stopped with the stack."""
    environment = free_environment(
        DATABASE_URL=servers.database.url, AMQP_URL=servers.broker.url, SWITCHYARD_LOG_LEVEL=plan.log_level
    )
    running = Stack(plan.directory / "switchyard", environment, services)
    stack.callback(running.stop)
    running.start()
    return running


def post(running: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST JSON to our ingress with the bootstrap key, and return its answer; raises OSError for an error status."""
    request = urllib.request.Request(
        running.api_url + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-API-Key": running.api_key},
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        result: dict[str, Any] = json.loads(answer.read())
    return result
