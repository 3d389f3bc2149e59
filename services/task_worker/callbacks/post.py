"""One HTTP POST to an address that was checked: no redirects, no proxies, no cookies, no second look at the name.

A connection of its own for each, over plain asyncio and h11, so that there is nothing between the check of an address
and the connection to it.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address

import certifi
import h11

from services.task_worker.callbacks.verdicts import MAX_RESPONSE, Answer
from shared.errors import SwitchyardError
from shared.targets import Address, Target

# How long one address may take to accept a connection, when there are others.
CONNECT_SECONDS = 5.0
# What a receiver may say before its answer's body begins.
MAX_HEAD = 32_768
# How long its body is waited for, once the status is known.
BODY_SECONDS = 1.0


class NoAnswer(SwitchyardError):
    """The receiver could not be reached, or did not answer as HTTP does."""


def tls_context() -> ssl.SSLContext:
    """Certificates are checked against the system's authorities, and against the name of the host."""
    system = ssl.get_default_verify_paths()
    # Where there are none (a slim image, Python from python.org on a Mac): Mozilla's.
    context = ssl.create_default_context(cafile=None if system.cafile or system.capath else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def post(
    target: Target, addresses: Sequence[Address], headers: dict[str, str], body: bytes, tls: ssl.SSLContext
) -> Answer:
    """POST `body` to the first of these addresses that accepts a connection, and return what it answers.

    Raises `NoAnswer`. The time it takes is the caller's affair: it may be cancelled at any point.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    head = {"Host": target.host_header, **headers, "Content-Length": str(len(body)), "Connection": "close"}
    request = h11.Request(method="POST", target=target.path, headers=list(head.items()))
    reader, writer = await _connect(target, addresses, tls)
    try:
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(connection, reader)
    except (OSError, EOFError, h11.ProtocolError) as error:
        raise NoAnswer(f"{target.host} does not answer: {_said(error)}") from error
    finally:
        writer.transport.abort()


async def _connect(
    target: Target, addresses: Sequence[Address], tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failures = []
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS if len(addresses) > 1 else None):
                return await _connect_to(address, target, tls)
        except ssl.SSLError as error:
            failures.append(
                f"{address}: {error.strerror or 'TLS failed'} {getattr(error, 'verify_message', '')}".strip()
            )
        except TimeoutError:
            failures.append(f"{address}: not connected within {CONNECT_SECONDS:g} s")
        except OSError as error:
            failures.append(f"{address}: {_said(error)}")
    raise NoAnswer(f"no connection to {target.host} port {target.port}: {'; '.join(failures)}")


async def _connect_to(
    address: Address, target: Target, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to this very address; TLS asks for, and insists on, the name of the host."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, (str(address), target.port))
        if target.secure:
            return await asyncio.open_connection(sock=connecting, ssl=tls, server_hostname=target.host)
        return await asyncio.open_connection(sock=connecting)
    except BaseException:
        connecting.close()
        raise


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    read = 0
    while not isinstance(event := connection.next_event(), h11.Response):
        if isinstance(event, h11.ConnectionClosed):
            raise EOFError("it closed the connection")
        if event is h11.NEED_DATA:
            if read > MAX_HEAD:
                raise EOFError("it talks without end")
            data = await reader.read(MAX_HEAD)
            read += len(data)
            connection.receive_data(data)
    status, headers = event.status_code, {name: value.decode("latin-1") for name, value in event.headers}
    body = b"" if 200 <= status < 300 else await _beginning(connection, reader)
    return Answer(status, headers.get(b"retry-after", ""), headers.get(b"location", ""), body)


async def _beginning(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    """The beginning of an answer's body: as much as comes promptly, whatever may go wrong with it."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(body) < MAX_RESPONSE:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(4_096))
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    break
    except (OSError, h11.ProtocolError):  # a timeout is an OSError
        pass
    return body[:MAX_RESPONSE]


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
