"""The servers of the fan-out benchmark, each started with its 1,000 clients connected."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import tools
from bench.load.http_publish import Pipeline
from bench.load.offer import offer
from bench.load.sink import Sink
from bench.load.tokens import subscription, token_headers
from bench.ours import gateway
from bench.plan import Plan
from bench.processes import BENCH, Program, python
from cli.local.ports import free_port

CLIENTS = 1000
HUB = "switchyard, hub"  # the gateway's server and hub; events handed to the hub inside the process, as its tail does
GATEWAY = "switchyard, gateway"  # the gateway as it runs in production; events come through the broker's stream

# Publishes bursts of so many events at a rate (events/s, 0: as fast as they go out) for so many seconds;
# returns how many events that were.
Publish = Callable[[int, float, float], Awaitable[int]]


@dataclass
class Server:
    """One server under test and its receivers."""

    name: str
    publish: Publish
    sink: Sink
    pid: int
    bursts: bool = True  # whether its burst figure is of interest


async def start(stack: AsyncExitStack, plan: Plan, notes: list[str]) -> list[Server]:
    """Start every wanted server; one that can't be had here is named in `notes`."""
    makers: dict[str, Callable[[], Awaitable[Server | None]]] = {
        "FastAPI, send_text": lambda: _python(stack, plan, "FastAPI, send_text", "fanout_fastapi", bursts=False),
        "websockets, broadcast": lambda: _python(
            stack, plan, "websockets, broadcast", "fanout_websockets", bursts=False
        ),
        "Nchan": lambda: _nchan(stack, plan),
        "C epoll": lambda: _epoll(stack, plan),
        "picows, bare": lambda: _python(stack, plan, "picows, bare", "fanout_picows"),
        HUB: lambda: _hub(stack, plan),
        GATEWAY: lambda: _gateway(stack, plan),
    }
    servers = []
    for name, make in makers.items():
        if not plan.wants(name):
            continue
        plan.say(f"fan-out: connecting {CLIENTS} clients to {name}")
        server = await make()
        if server is None:
            notes.append(f"{name} could not be had on this machine")
        else:
            servers.append(server)
    return servers


async def _python(stack: AsyncExitStack, plan: Plan, name: str, module: str, bursts: bool = True) -> Server:
    port = free_port()
    program = await Program.start(
        module, *python(f"bench.references.{module}"), "--port", str(port),
        directory=plan.directory, port=port, answers=True,
    )  # fmt: skip
    stack.push_async_callback(program.stop)
    return await _connected(name, stack, plan, _by_command(program), program.process.pid, port, bursts)


async def _epoll(stack: AsyncExitStack, plan: Plan) -> Server | None:
    binary = tools.compiled("references/fanout_epoll.c")
    if binary is None:
        return None
    port = free_port()
    program = await Program.start("fanout_epoll", binary, str(port), directory=plan.directory, port=port, answers=True)
    stack.push_async_callback(program.stop)
    return await _connected("C epoll", stack, plan, _by_command(program), program.process.pid, port)


async def _nchan(stack: AsyncExitStack, plan: Plan) -> Server | None:
    nginx = tools.nchan()
    if nginx is None:
        return None
    port, home = free_port(), plan.directory / "nchan"
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text((BENCH / "references/fanout_nchan.conf").read_text().format(directory=home, port=port))
    command: list[str | Path] = [nginx, "-c", config, "-p", home, "-e", home / "start.log"]
    program = await Program.start("nginx", *command, directory=plan.directory, port=port)
    stack.push_async_callback(program.stop)
    pipeline = await Pipeline.open(port, "/publish")
    stack.callback(pipeline.close)

    async def publish(burst: int, rate: float, seconds: float) -> int:
        # A POST is answered once the event is written to every client; by then the next one waits in the socket.
        return (await offer(pipeline.publish, burst, rate, seconds, in_flight=2)).events

    return await _connected("Nchan", stack, plan, publish, program.process.pid, port)


async def _hub(stack: AsyncExitStack, plan: Plan) -> Server:
    port, secret = free_port(), secrets.token_urlsafe(32)
    program = await Program.start(
        "fanout_hub",
        *python("bench.ours.fanout_hub"),
        "--port",
        str(port),
        directory=plan.directory,
        env={"SWITCHYARD_SECRET": secret},
        port=port,
        answers=True,
    )
    stack.push_async_callback(program.stop)
    return await _connected(HUB, stack, plan, _by_command(program), program.process.pid, port, secret=secret)


async def _gateway(stack: AsyncExitStack, plan: Plan) -> Server:
    running = gateway.start_process(stack, plan)
    through = await gateway.ThroughBroker.open(running.amqp_url, stack)
    pid, port = running.process("ws_gateway").pid or 0, running.environment.gateway_port
    secret = running.environment.get("SWITCHYARD_SECRET")
    server = await _connected(GATEWAY, stack, plan, through.publish, pid, port, secret=secret)
    through.sink = server.sink
    return server


def _by_command(program: Program) -> Publish:
    async def publish(burst: int, rate: float, seconds: float) -> int:
        return int((await program.ask(f"run {burst} {rate} {seconds}"))["events"])

    return publish


async def _connected(
    name: str,
    stack: AsyncExitStack,
    plan: Plan,
    publish: Publish,
    pid: int,
    port: int,
    bursts: bool = True,
    secret: str = "",
) -> Server:
    """Connect the receivers; with `secret` each shows a token and subscribes, as clients of ours do."""
    sink = await Sink.connect(
        port,
        "/ws",
        CLIENTS,
        plan.directory,
        headers=token_headers(secret, CLIENTS) if secret else (),
        subscribe=subscription("memory.#") if secret else "-",
        name=f"sink-of-{name}",
    )
    stack.push_async_callback(sink.stop)
    return Server(name, publish, sink, pid, bursts)
