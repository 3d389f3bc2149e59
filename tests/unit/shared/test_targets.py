"""Where callbacks may go: no spelling of a private address gets through, and no address that is not public."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.targets import Allowed, is_public, target_of

NOTHING = Allowed()
GLOBAL_UNICAST = IPv6Network("2000::/3")


def refused(url: str, allowed: Allowed = NOTHING) -> str:
    with pytest.raises(Rejected) as refusal:
        target_of(url, allowed)
    assert refusal.value.code == "invalid"
    assert refusal.value.details["fields"][0]["field"] == "callback_url"
    return str(refusal.value.details["fields"][0]["fault"])


EVIL = [
    # Loopback and this host.
    "http://127.0.0.1/", "https://127.8.9.1:8443/x", "http://[::1]/", "http://0.0.0.0/", "http://[::]/",
    # Private, carrier-grade NAT, link-local, metadata services of clouds.
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/", "http://100.64.0.1/",
    "http://100.100.100.200/", "http://169.254.169.254/latest/meta-data/", "http://192.0.0.192/",
    "http://168.63.129.16/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://[fc00::1]/", "http://[fec0::1]/",
    "http://metadata.google.internal/computeMetadata/v1/",
    # Multicast, broadcast, documentation, tests, reserved.
    "http://224.0.0.1/", "http://255.255.255.255/", "http://192.0.2.1/", "http://198.18.0.1/", "http://240.0.0.1/",
    "http://203.0.113.9/", "http://[ff02::1]/", "http://[2001:db8::1]/", "http://[3fff::1]/", "http://[100::1]/",
    # IPv4 within IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo.
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::ffff:8.8.8.8]/", "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/", "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::808:808]/", "http://[2002:7f00:1::]/", "http://[2002:808:808::]/",
    "http://[2001:0:7f00:1::]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/",
    # Other spellings of IPv4: one number, octal, hexadecimal, fewer parts, other digits, a dot too many.
    "http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/",
    "http://127.1/", "http://127.0.1/", "http://0/", "http://0x/", "http://127.000.000.001/", "http://127.0.0.1./",
    "http://1.2.3.4.5/", "http://08.8.8.8/", "http://\uff11\uff12\uff17.0.0.1/", "http://127。0。0。1/", "http://①②⑦.0.0.1/",
    "http://256.1.1.1/", "http://8.8.8.8.8/", "http://4294967297/",
    # Names of private networks, in several spellings.
    "http://localhost/", "http://LOCALHOST:8000/", "http://a.localhost/", "http://localhost./", "http://printer.local/",
    "http://postgres:5432/", "http://rabbitmq/", "http://db.internal/", "http://nas.home.arpa/", "http://ⓛocalhost/",
    # What programs understand differently.
    "http://user@example.com/", "http://user:secret@example.com/", "http://example.com@127.0.0.1/", "http://@example.com/",
    "http://127.0.0.1\\@example.com/", "http://example.com\\.evil.test/", "http:\\\\127.0.0.1/", "http://exa mple.com/",
    "http://example.com/\r\nX-Evil: 1", "http://example.com\t/", "http://exam\nple.com/", " http://example.com/",
    "http://example.com /", "http://example.com:80:80/", "http://[::1", "http://::1/", "http://[127.0.0.1]/",
    "http://[]/", "http://example%2ecom/", "http://%31%32%37.0.0.1/", "http://example.com%00.test/", "http://a..b.test/",
    "http://-a.test/", "http://.test/", "http://example.com:0/", "http://example.com:65536/", "http://example.com:1e3/",
    "http://example.com:-1/", "http://münchen.test/",
    # No http.
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "//example.com/",
    "example.com", "http:example.com", "http:///example.com", "http://", "https://?x", "", "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun/", "http://" + "a" * 64 + ".test/", "http://" + "a." * 130 + "test/",
    "https://example.com/" + "x" * 2_000,
]  # fmt: skip


@pytest.mark.parametrize("url", EVIL)
def test_a_target_that_is_not_public_or_not_plain_is_refused(url):
    assert refused(url)


@pytest.mark.parametrize("url", [
    "http://[64:ff9b::808:808]/", "https://8.8.8.8/", "https://[2606:4700::1111]:8443/x", "https://hooks.example.com",
    "https://example.com:8443/a/b?c=d&e=[f]#part", "HTTPS://Hooks.Example.COM/X", "http://xn--mnchen-3ya.example/",
    "http://a_b.example.com/", "http://internal.example.com/", "http://localhost.example.com/",
    "https://example.com/%7Euser/?q=http://127.0.0.1/",
])  # fmt: skip
def test_a_public_target_is_taken(url):
    target_of(url, NOTHING)


def test_a_url_is_taken_apart():
    target = target_of("HTTPS://Hooks.Example.COM:8443/A%20b?c=d#e", NOTHING)
    assert (target.secure, target.host, target.port, target.path) == (True, "hooks.example.com", 8443, "/A%20b?c=d")
    assert target.host_header == "hooks.example.com:8443"
    assert target_of("https://example.com?x", NOTHING).path == "/?x"
    assert target_of("http://example.com:80", NOTHING).host_header == "example.com"
    six = target_of("http://[2606:4700:0::1111]:81/", NOTHING)
    assert (six.address, six.host_header) == (IPv6Address("2606:4700::1111"), "[2606:4700::1111]:81")


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_that_the_registry_of_special_addresses_names(address):
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast


# Hypothesis finds IPv6 networks of interest by itself, but seldom those with an IPv4 address in them.
@given(st.one_of(
    st.ip_addresses(v=6),
    st.builds(lambda net, four: IPv6Address(net | int(four)), st.sampled_from([
        0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80, 0xFE80 << 112, 0x2002 << 112,
        0x20010000 << 96,
    ]), st.ip_addresses(v=4)),
    st.builds(lambda four, rest: IPv6Address((0x2002 << 112) | (int(four) << 80) | rest), st.ip_addresses(v=4),
              st.integers(0, 2**80 - 1)),
))  # fmt: skip
def test_no_ipv6_address_passes_that_is_not_global_or_holds_an_ipv4_address_that_is_not(address):
    if not is_public(address):
        return
    nat64 = int(address) >> 32 == 0x64FF9B << 64
    assert address in GLOBAL_UNICAST or nat64
    assert not address.is_multicast
    assert address.ipv4_mapped is None
    assert address.sixtofour is None
    assert address.teredo is None
    if nat64:
        assert IPv4Address(int(address) & 0xFFFFFFFF).is_global
    else:
        assert address.is_global


@given(st.ip_addresses())
def test_a_literal_address_passes_exactly_if_it_is_public(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        target = target_of(f"https://{host}/", NOTHING)
    except Rejected:
        assert not is_public(address)
    else:
        assert is_public(address)
        assert target.address == address


@given(st.text(max_size=40))
def test_whatever_is_no_url_is_refused_and_nothing_else_is_raised(text):
    for url in (text, f"http://{text}", f"https://{text}/"):
        try:
            target = target_of(url, NOTHING)
        except Rejected:
            continue
        assert target.host.isascii()
        assert target.address is None or is_public(target.address)


def test_what_the_setting_names_is_allowed_and_nothing_beside_it():
    allowed = Allowed.of("127.0.0.1, 10.0.0.0/8\n internal.example,printer.local [::1] fd00::/8")
    for url in (
        "http://127.0.0.1:9/", "http://10.255.0.1/", "https://internal.example/", "http://printer.local/",
        "http://[::1]/", "http://[fd12::1]/",
    ):  # fmt: skip
        target_of(url, allowed)
    for url in (
        "http://127.0.0.2/", "http://11.0.0.256/", "http://localhost/", "http://other.local/", "http://a.printer.local/",
        "http://[::ffff:127.0.0.1]/", "http://[::ffff:10.0.0.1]/", "http://2130706433/", "http://192.168.0.1/",
    ):  # fmt: skip
        assert refused(url, allowed)


@pytest.mark.parametrize("setting", ["10.0.0.1/8", "256.1.1.1", "http://a.b", "a b/c", "127.1", "*.example", "a.b:80"])
def test_a_setting_that_is_none_is_named(setting):
    with pytest.raises(ValueError, match="SWITCHYARD_CALLBACK_ALLOW"):
        Allowed.of(setting)


def test_no_setting_allows_nothing():
    assert Allowed.of("  ") == Allowed()
    assert not Allowed().address(ip_address("127.0.0.1"))
