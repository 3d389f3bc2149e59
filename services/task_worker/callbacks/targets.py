"""The addresses a callback may go to, found and judged at the moment of sending."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from shared.errors import SwitchyardError
from shared.targets import Address, Allowed, Target, check_address

# The addresses of a host, as the system's resolver gives them. Raises OSError.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class Unresolved(SwitchyardError):
    """The host has no address at the moment."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def addresses_of(target: Target, allowed: Allowed, resolve: Resolve) -> list[Address]:
    """The addresses that this target may be called at, now; the connection must go to one of these very addresses.

    Raises `Rejected` if any of them is not public (unless allowed), `Unresolved` if there is none.
    """
    if target.address is not None:
        addresses: list[Address] = [target.address]
    else:
        try:
            addresses = [ip_address(each) for each in await resolve(target.host, target.port)]
        except OSError as error:
            raise Unresolved(f"{target.host!r} can't be resolved: {error.strerror or error}") from error
        if not addresses:
            raise Unresolved(f"{target.host!r} has no address")
        if allowed.host(target.host):
            return addresses
    for address in addresses:
        check_address(address, allowed)
    return addresses
