"""Where a connection comes from: which proxies are believed, and the address that counts. Free of I/O."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """What an address is counted under: itself, or of an IPv6 address its /64, which is one customer's."""
    if ":" not in address:
        return address
    parsed = _parsed(address)
    if parsed is None or isinstance(parsed, IPv4Address):
        return str(parsed or address)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


def _parsed(text: str) -> Address | None:
    """An address, also with a port or a zone beside it; one of IPv4 written as IPv6 is one of IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    @classmethod
    def read(cls, text: str) -> "TrustedProxies":
        """From addresses and networks with commas between. Raises ValueError, naming what is neither."""
        networks = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError as fault:
                raise ValueError(f"{part!r} is no address and no network: {fault}") from None
        return cls(networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and self._trusts(parsed)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address a request comes from: the last hop that is no proxy of ours.

        `forwarded_for` holds the values of the header's lines. What a client has written there itself stands to the
        left of what the first of our proxies has, so it is never reached. A hop that is no address ends the search.
        """
        if not forwarded_for or peer not in self:
            return peer
        found = peer
        for hop in reversed(",".join(forwarded_for).split(",")):
            parsed = _parsed(hop)
            if parsed is None:
                break
            found = str(parsed)
            if not self._trusts(parsed):
                break
        return found
