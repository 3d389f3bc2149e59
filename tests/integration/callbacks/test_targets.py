"""Which targets are called: judged at the moment of sending, by the addresses that the connection then goes to."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.callbacks.conftest import SECRET


def resolver(*answers):
    """A stand-in for the system's resolver: gives one list of addresses after the other, then the last again."""
    asked = []

    async def resolve(host, port):
        asked.append(host)
        return list(answers[min(len(asked), len(answers)) - 1])

    resolve.asked = asked
    return resolve


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "::1", "::ffff:127.0.0.1", "fd00::1", "fe80::1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "0.0.0.0",
])  # fmt: skip
def test_a_name_that_leads_to_an_address_that_is_not_public_is_refused_for_good(desk, receiver, address):
    desk.owe(f"http://hooks.example.com:{receiver.port}/")
    (row,) = desk.send(allow="", resolver=resolver([address]))
    assert (row["status"], row["next_attempt"]) == ("refused", None)
    assert row["attempts"][0]["error"] == f"{ip_address(address)} is not a public address"
    assert receiver.received == []


def test_one_such_address_among_others_is_enough(desk, receiver):
    desk.owe(f"http://hooks.example.com:{receiver.port}/")
    (row,) = desk.send(allow="", resolver=resolver(["93.184.215.14", "127.0.0.1"]))
    assert row["status"] == "refused"
    assert receiver.received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "localhost", "127.1"])
def test_a_target_that_no_door_has_refused_is_refused_by_the_sender(desk, receiver, host):
    desk.owe(f"http://{host}:{receiver.port}/")
    (row,) = desk.send(allow="")
    assert row["status"] == "refused"
    assert row["attempts"][0]["status"] is None
    assert receiver.received == []


def test_what_is_mapped_to_an_allowed_address_is_not_allowed(desk, receiver):
    desk.owe(f"http://[::ffff:127.0.0.1]:{receiver.port}/")
    (row,) = desk.send(allow="127.0.0.1, 127.0.0.0/8")
    assert row["status"] == "refused"
    assert receiver.received == []


def test_a_name_that_changes_its_mind_is_asked_once_and_called_where_it_was_checked(desk, make_receiver):
    """DNS rebinding: the answer that was checked is the one that is used, whatever the next one would be."""
    checked, hidden = make_receiver("127.0.0.2"), make_receiver("127.0.0.1")
    rebinding = resolver(["127.0.0.2"], ["127.0.0.1"])
    desk.owe(f"http://hooks.example.com:{checked.port}/")
    (row,) = desk.send(allow="127.0.0.2", resolver=rebinding)
    assert row["status"] == "delivered"
    assert rebinding.asked == ["hooks.example.com"]
    assert checked.received[0].headers["host"] == f"hooks.example.com:{checked.port}"

    desk.owe(f"http://hooks.example.com:{hidden.port}/")
    rows = desk.send(2, allow="127.0.0.2", resolver=rebinding)
    assert rows[1]["status"] == "refused"
    assert hidden.received == []


def test_a_name_allowed_by_the_setting_may_lead_anywhere(desk, receiver):
    desk.owe(f"http://printer.internal:{receiver.port}/")
    (row,) = desk.send(allow="printer.internal", resolver=resolver(["127.0.0.1"]))
    assert row["status"] == "delivered"


def test_a_name_without_an_address_is_tried_again(desk):
    async def nobody(host, port):
        raise OSError(-2, "Name or service not known")

    desk.owe("https://gone.example.com/")
    (row,) = desk.send(resolver=nobody)
    assert row["status"] == "pending"
    assert row["attempts"][0]["error"] == "'gone.example.com' can't be resolved: Name or service not known"


def test_the_next_address_is_tried_when_one_does_not_listen(desk, receiver):
    desk.owe(f"http://hooks.example.com:{receiver.port}/")
    (row,) = desk.send(allow="127.0.0.0/8", resolver=resolver(["127.0.0.9", "127.0.0.1"]))
    assert row["status"] == "delivered"


def test_proxies_of_the_environment_are_not_used(desk, receiver, make_receiver, monkeypatch):
    proxy = make_receiver()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    desk.owe(receiver.url)
    (row,) = desk.send()
    assert row["status"] == "delivered"
    assert (len(receiver.received), proxy.received) == (1, [])


@pytest.fixture
def certificates(tmp_path):
    """A certificate for hooks.example.com, and the context that trusts whoever signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + private)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def test_the_certificate_must_be_that_of_the_name_though_the_address_is_called(desk, make_receiver, certificates):
    server, client = certificates
    receiver = make_receiver(tls=server)
    desk.owe(f"https://hooks.example.com:{receiver.port}/")
    (row,) = desk.send(resolver=resolver(["127.0.0.1"]), tls=client)
    assert row["status"] == "delivered"
    assert receiver.received[0].verified(SECRET)

    desk.owe(f"https://other.example.com:{receiver.port}/")
    rows = desk.send(2, resolver=resolver(["127.0.0.1"]), tls=client)
    assert rows[1]["status"] == "pending"
    assert "other.example.com" in rows[1]["attempts"][0]["error"]
    assert len(receiver.received) == 1


def test_a_certificate_nobody_knows_is_not_accepted(desk, make_receiver, certificates):
    receiver = make_receiver(tls=certificates[0])
    desk.owe(f"https://hooks.example.com:{receiver.port}/")
    (row,) = desk.send(resolver=resolver(["127.0.0.1"]))
    assert row["status"] == "pending"
    assert "self-signed" in row["attempts"][0]["error"].replace("self signed", "self-signed")
    assert receiver.received == []
