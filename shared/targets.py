"""Where callbacks may go: the rules for URLs and addresses, for the door that takes a URL and the worker that calls it.

A target is public unless a setting allows it: whoever may name a URL must not reach through us what only we can reach
(server-side request forgery). The URL is read strictly, so that no two programs understand it differently; the address
is judged again when it is called (services/task_worker/callbacks/targets.py).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from shared.errors import Rejected, invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2_000

# RFC 3986 without what programs read in more than one way: backslashes, spaces, control and other characters.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[A-Za-z0-9._~:@!$&'()*+,;=%\[\]-]*)"
    r"(?P<path>(?:/[A-Za-z0-9._~:@!$&'()*+,;=%/-]*)?)(?P<query>(?:\?[A-Za-z0-9._~:@!$&'()*+,;=%/?\[\]-]*)?)",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label that makes a host an IPv4 address to a browser, in whatever spelling (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Names that are never on the public internet (RFC 6761, 6762, 8375, 9476 and ICANN's reserved `internal`).
_PRIVATE_NAMES = ("localhost", "local", "internal", "home.arpa", "localdomain", "alt", "onion")

# IPv4 addresses that are not public: IANA's special-purpose registry, multicast and reserved. Of clouds' metadata
# services some have public addresses (Azure's).
_NOT_PUBLIC_4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Of IPv6 only global unicast is public, without what of it is for tunnels (Teredo, 6to4), documentation and tests.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# NAT64 reaches the IPv4 address in its last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: `host` in lower case, without brackets; `path` with its query; `address` if it is one."""

    secure: bool
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def host_header(self) -> str:
        """The `Host` header, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The targets that are allowed although they are not public: hosts by name, addresses by network."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, setting: str) -> "Allowed":
        """What the setting SWITCHYARD_CALLBACK_ALLOW says, e.g. `127.0.0.1, 10.0.0.0/8, internal.example`.

        Raises ValueError for a part that is neither an address, nor a network, nor a host.
        """
        hosts, networks = set(), []
        for part in re.split(r"[\s,]+", setting.strip()):
            if not part:
                continue
            try:
                networks.append(ip_network(part.strip("[]")))
                continue
            except ValueError:
                host = part.lower()
            if not all(map(_LABEL.fullmatch, host.split("."))) or _NUMBER.fullmatch(host.rpartition(".")[2]):
                raise ValueError(
                    f"SWITCHYARD_CALLBACK_ALLOW: {part!r} is neither an address, nor a network such as 10.0.0.0/8"
                    " (its last bits zero), nor a host"
                )
            hosts.add(host)
        return cls(frozenset(hosts), tuple(networks))

    def host(self, host: str) -> bool:
        """Whether this host may be called whatever its addresses are."""
        return host in self.hosts

    def address(self, address: Address) -> bool:
        """Whether this very address may be called though it is not public."""
        return any(address in network for network in self.networks)


def target_of(url: str, allowed: Allowed) -> Target:
    """A URL that callbacks may be sent to, as far as can be told without resolving its host.

    Raises `Rejected("invalid")`, which names what is wrong with it.
    """
    if len(url) > MAX_URL:
        raise refusal(f"it is longer than {MAX_URL} characters")
    parts = _URL.fullmatch(url.partition("#")[0])
    if parts is None:
        raise refusal("it is no http:// or https:// URL in plain ASCII (write an international host as xn--…)")
    if "@" in parts["authority"]:
        raise refusal("it holds a user name or a password")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise refusal(f"{parts['authority']!r} is no host and port")
    secure = parts["scheme"].lower() == "https"
    port = int(authority["port"]) if authority["port"] else 443 if secure else 80
    if not 0 < port < 65_536:
        raise refusal(f"{port} is no port")
    address = _literal(authority["six"] or authority["host"].lower())
    if address is not None:
        check_address(address, allowed)
        host = str(address)
    else:
        host = _named(authority["host"].lower(), allowed)
    return Target(secure, host, port, (parts["path"] or "/") + parts["query"], address)


def check_address(address: Address, allowed: Allowed) -> None:
    """Raise `Rejected("invalid")` unless the address is public or allowed."""
    if not is_public(address) and not allowed.address(address):
        raise refusal(f"{address} is not a public address")


def is_public(address: Address) -> bool:
    """Whether an address belongs to somebody on the public internet.

    An IPv6 address with an IPv4 address in it is not, however public that is, but for NAT64 (RFC 6052).
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def refusal(reason: str) -> Rejected:
    """What is said of a target that callbacks may not be sent to."""
    return invalid(
        f"callback_url can't be used: {reason}; callbacks go to public http and https addresses, and to what"
        " SWITCHYARD_CALLBACK_ALLOW names",
        fields=[{"field": "callback_url", "fault": reason, "kind": "target"}],
    )


def _literal(host: str) -> Address | None:
    """The address a host is, None for a name. Raises `Rejected` for an address in an unusual spelling."""
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError:
            raise refusal(f"[{host}] is no IPv6 address") from None
    if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        raise refusal(f"{host!r} is an IPv4 address in another spelling than four decimal numbers") from None
    return address


def _named(host: str, allowed: Allowed) -> str:
    """A host that is a name. Raises `Rejected` for one that is malformed, or never public and not allowed."""
    if len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise refusal(f"{host!r} is no host name (no dot at its end either)")
    if allowed.host(host):
        return host
    if "." not in host or any(host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES):
        raise refusal(f"{host!r} is a name of a private network")
    return host
