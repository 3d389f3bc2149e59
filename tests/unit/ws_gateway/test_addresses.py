"""Addresses: whom proxies are believed, and what is counted as one."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.door.addresses import TrustedProxies, counted_as

PROXIES = TrustedProxies.read("10.0.0.0/8, 192.168.1.7,fd00::/8")


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_of_ipv6_is_counted_with_its_64(address: str, counted: str) -> None:
    assert counted_as(address) == counted


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("1.2.3.4", ["5.6.7.8"], "1.2.3.4"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9, 5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9", "5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["5.6.7.8, 10.2.2.2"], "5.6.7.8"),
        ("10.0.0.1", ["6.6.6.6,5.6.7.8 , 192.168.1.7,10.2.2.2"], "5.6.7.8"),
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("192.168.1.8", ["5.6.7.8"], "192.168.1.8"),
        ("::ffff:10.0.0.1", ["5.6.7.8"], "5.6.7.8"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", ["5.6.7.8:4711"], "5.6.7.8"),
        ("10.0.0.1", ['"[2001:db8::5]:4711"'], "2001:db8::5"),
        ("10.0.0.1", ["5.6.7.8, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7.8, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["", ",,"], "10.0.0.1"),
        ("local", ["5.6.7.8"], "local"),
    ],
    ids=str,
)
def test_a_forwarded_address_is_believed_from_trusted_proxies_and_from_nobody_else(
    peer: str, header: list[str], client: str
) -> None:
    assert PROXIES.client(peer, header) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert TrustedProxies().client("10.0.0.1", ["5.6.7.8"]) == "10.0.0.1"
    assert "10.0.0.1" not in TrustedProxies.read("")


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=20), max_size=5).map(",".join))
def test_what_a_client_writes_into_the_header_itself_changes_nothing(forged: str) -> None:
    assert PROXIES.client("10.0.0.1", [f"{forged},5.6.7.8, 10.1.1.1"]) == "5.6.7.8"


@given(st.text(max_size=100))
def test_any_header_gives_an_address(header: str) -> None:
    ip_address(PROXIES.client("10.0.0.1", [header]).partition("%")[0])


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", "10.0.0.1;10.0.0.2"])
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        TrustedProxies.read(f"10.0.0.0/8,{text}")
