"""`switchyard doctor`: each dependency and each door, tried; what does not work is named with what mends it."""

import asyncio
import hashlib
import hmac
import json
import resource
import stat
import sys
import uuid
from collections.abc import Iterator
from itertools import chain
from typing import Any

from rich.markup import escape

from cli.client import CallFailed, Client
from cli.doctor_bots import bots
from cli.doctor_finding import Finding, tried
from cli.local.environment import ENV_FILE, Environment, available_services, example_secrets
from cli.local.processes import LocalError
from cli.local.rabbitmq import find_server
from cli.local.run_file import RunFile, present
from cli.local.stack import ready
from cli.screen import BAD, GOOD, out


def doctor() -> bool:
    """Try everything and print each finding as it comes; True when all is well."""
    environment = present(Environment.load(ENV_FILE))
    running = RunFile(environment.data).read()
    facts = running.facts if running else {}
    database = environment.get("DATABASE_URL") or facts.get("database_url", "")
    broker = environment.get("AMQP_URL") or facts.get("amqp_url", "")
    bad = 0
    # With those of stand-ins, where a demonstration has brought some.
    in_force = environment.with_values(facts.get("settings", {}))
    tries = (_machine(environment), _servers(database, broker), _services(environment), _doors(environment))
    for finding in chain(*tries, bots(in_force)):
        mark = BAD if not finding.good else "[yellow]![/]" if finding.advice else GOOD
        out.print(f"{mark} {escape(finding.what)}: {escape(finding.seen)}")
        bad += not finding.good
        if told := finding.advice if finding.good else finding.mend:
            out.print(f"    [yellow]→ {escape(told)}[/]")
    out.print(
        "All is well." if not bad else f"{bad} thing(s) to mend, the first one first: the others may follow from it."
    )
    return not bad


def _machine(environment: Environment) -> Iterator[Finding]:
    yield Finding(sys.version_info >= (3, 11), "Python", sys.version.split()[0], "use Python 3.11 or newer")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    mend = "raise the hard limit (`ulimit -Hn`): a broker that runs out of descriptors refuses queues"
    yield Finding(limit == resource.RLIM_INFINITY or limit >= 4096, "Open files", f"hard limit {limit}", mend)
    if not ENV_FILE.exists():
        yield Finding(False, ".env", "there is none here", "run `make up` in the checkout, which makes one")
        return
    private = not stat.S_IMODE(ENV_FILE.stat().st_mode) & 0o077
    yield Finding(private, ".env", "ours alone" if private else "others may read it", "chmod 600 .env")
    known = example_secrets(environment.values)
    seen = f"{', '.join(known)} as in .env.example" if known else "our own"
    yield Finding(
        not known,
        "Secrets",
        seen,
        "put random values into .env: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
    )


def _servers(database: str, broker: str) -> Iterator[Finding]:
    if not database:
        yield Finding(False, "PostgreSQL", "not running", "`make up` starts one; or set DATABASE_URL in .env")
    else:
        mend = "is the server of DATABASE_URL up, and are user, password and database right?"
        yield tried("PostgreSQL", lambda: _ask_database(database), mend)
    if not broker:
        seen = "not running" if find_server() else "not running, and rabbitmq-server is not installed"
        yield Finding(False, "RabbitMQ", seen, "`make up` installs and starts one; or set AMQP_URL in .env")
    else:
        mend = "is the broker of AMQP_URL up, and are user, password and virtual host right?"
        yield tried("RabbitMQ", lambda: asyncio.run(_ask_broker(broker)), mend)


def _services(environment: Environment) -> Iterator[Finding]:
    for name in available_services():
        is_ready, says = ready(environment.health_port(name))
        mend = (
            "`make up`; when it is up, its last lines are in the log" if "no answer" in says else "mend what it names"
        )
        yield Finding(is_ready, name, "ready" if is_ready else says, mend)


def _doors(environment: Environment) -> Iterator[Finding]:
    with Client(environment) as client:
        api = tried("HTTP API", lambda: f"{client.api_url} answers {_page(client, '/health')}", "start it: `make up`")
        yield api
        if not api.good:
            return  # the other doors are in the same wall
        mend = "SWITCHYARD_API_KEY in .env is not the one the ingress was started with: restart it"
        yield tried("API key", lambda: _command(client), mend)
        yield tried("Wrong key", lambda: _refused(client), "the ingress lets anybody in: stop it, and report this")
        mend = "GITHUB_WEBHOOK_SECRET in .env is not the one the ingress was started with: restart it"
        yield tried("GitHub webhook", lambda: _unsigned(client), mend)
        mend = (
            "the steps are: ingress, broker, session worker, event stream, gateway; the findings above say which is ill"
        )
        yield tried("A test event, webhook to WebSocket", lambda: _round_trip(client, environment), mend)


def _ask_database(url: str) -> str:
    import psycopg

    with psycopg.connect(url, connect_timeout=5) as connection:
        version = connection.info.parameter_status("server_version")
        row = connection.execute("select to_regclass('alembic_version')").fetchone()
        if row is None or row[0] is None:
            raise LocalError("connected, but the tables are missing: run `make up`, or `alembic upgrade head`")
        revision = connection.execute("select version_num from alembic_version").fetchone()
    return f"{version}, schema {revision[0] if revision else '?'}"


async def _ask_broker(url: str) -> str:
    import aio_pika

    async with asyncio.timeout(10):
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"test"), queue.name)
            message = await queue.get(timeout=5)
            await message.ack()
    return "a message went there and back"


def _page(client: Client, path: str) -> str:
    return str(client.request("GET", path).status_code)


def _command(client: Client) -> str:
    return f"accepted; {len(client.ask('list_sessions', {'limit': 5}, 'sessions'))} session(s) shown"


def _refused(client: Client) -> str:
    response = client.request("POST", "/api/commands/list_sessions", json={}, headers={"X-API-Key": "sy_wrong"})
    if response.status_code != 401:
        raise CallFailed(f"a wrong key got {response.status_code}, not 401")
    return "refused with 401"


def _unsigned(client: Client) -> str:
    headers = {
        "X-GitHub-Event": "ping",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": "sha256=" + "0" * 64,
    }
    response = client.request("POST", "/webhook", content=b"{}", headers=headers)
    if response.status_code != 401:
        raise CallFailed(f"a wrong signature got {response.status_code}, not 401")
    return "a wrong signature is refused with 401"


def _round_trip(client: Client, environment: Environment) -> str:
    delivery = str(uuid.uuid4())
    body = json.dumps({"zen": "Switchyard's doctor was here.", "hook_id": 0}).encode()
    digest = hmac.new(environment.get("GITHUB_WEBHOOK_SECRET").encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": f"sha256={digest}"}
    with client.socket(["webhook.github.#"]) as feed:
        response = client.request("POST", "/webhook", content=body, headers=headers)
        if response.status_code != 202:
            raise CallFailed(f"a signed webhook got {response.status_code}: {response.text[:200]}")
        frame: dict[str, Any] = {}
        while frame.get("delivery_id") != delivery:
            frame = feed.next(10)
    return f"arrived with cursor {frame['cursor']}"
