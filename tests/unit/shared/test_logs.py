"""Logs: structured, never failing whoever logs, and without secrets in either form."""

import re
import subprocess
import sys
import timeit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import make_key, sign
from shared.logs import REDACTED, redact

TOKEN = sign("a secret of the tests, long enough for HMAC", "api", {"agent_id": "ada"}, ttl_s=60)
KEY = make_key()

# A text, and what of it must not come out.
SECRET_TEXTS = {
    "a password in a URL": ("connect to amqp://user:pa55word@host:5672/ failed", "pa55word"),
    "a password with an @ in it": ("postgresql://user:p@55word@host/db", "55word"),
    "a password without a user": ("redis://:pa55word@host", "pa55word"),
    "a URL in upper case": ("AMQPS://USER:PA55WORD@HOST", "PA55WORD"),
    "a token in a query": ("POST /webhook/bot?token=abc123&x=1", "abc123"),
    "a key in a query": ("GET /?a=1&key=abc123", "abc123"),
    "a bearer token": ("Authorization: Bearer abc123", "abc123"),
    "a bearer token in lower case": ("authorization: bearer abc123", "abc123"),
    "basic credentials": ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "a JWT": (f"code {TOKEN} was used", TOKEN),
    "a sign-in link": (f"http://127.0.0.1:8000/#login={TOKEN}", TOKEN),
    "a subprotocol": (f"switchyard.v1, token.{TOKEN}", TOKEN),
    "an API key": (f"the key {KEY} is not known", KEY),
    "a signing secret": ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw is wrong", "whsec_MfKQ"),
    "a connection string": ("host=db password=pa55word user=u", "pa55word"),
    "JSON": ('{"x-api-key": "abc123", "n": 1}', "abc123"),
    "a bot's key": ("bot_key=abc123", "abc123"),
    "a header of an exception": ("{'X-Memory-Auth': 'abc123'}", "abc123"),
}

SECRET_NAMES = [
    "password", "token", "lease_token", "resume_token", "secret", "github_webhook_secret", "SWITCHYARD_API_KEY",
    "api_key", "apiKey", "X-API-Key", "Authorization", "proxy-authorization", "Set-Cookie", "cookie", "key_hash",
    "X-Hub-Signature-256", "webhook-signature", "X-Memory-Auth", "bot_key",
]  # fmt: skip

PLAIN = [
    "the secret is missing", "a token of good will", "status_code", "Basic checks passed", "the bearer",
    "http://127.0.0.1:8000/api/sessions?limit=5", "a@b.example", "key: value", "sy_short", "host:5672",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_TEXTS)
def test_a_secret_in_a_text_is_redacted(name: str) -> None:
    text, secret = SECRET_TEXTS[name]
    assert secret not in redact(text)
    assert REDACTED in redact(text)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_value_with_the_name_of_a_secret_is_redacted(name: str) -> None:
    assert redact({"request": [{name: "abc123"}]}) == {"request": [{name: REDACTED}]}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_stays(text: str) -> None:
    assert redact({"text": text}) == {"text": text}


class Odd:
    def __str__(self) -> str:
        return f"Odd(bearer abc123, {TOKEN})"


@pytest.mark.parametrize(
    "value",
    [RuntimeError("amqp://u:abc123@h"), b"Bearer abc123", bytearray(b"Bearer abc123"), Odd(), {"Bearer abc123"}],
)
def test_a_secret_within_an_object_is_redacted(value: object) -> None:
    assert "abc123" not in repr(redact({"value": value, "list": [value], "tuple": (value,)}))


@given(
    st.sampled_from(sorted(SECRET_TEXTS)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_secret_is_redacted_whatever_stands_around_it(name: str, before: str, after: str) -> None:
    text, secret = SECRET_TEXTS[name]
    assert secret not in redact(f"{before} {text} {after}")


def test_redaction_costs_little_beside_a_transaction() -> None:
    line = {"event": "batch_committed", "names": ["store_memory"], "outcomes": {"ok": 100}, "ms": 1.2,
            "message_ids": [KEY[3:39]] * 3, "session_ids": ["s1", "s2", "s3"], "trace_ids": ["0" * 32] * 3}  # fmt: skip
    assert min(timeit.repeat(lambda: redact(line), number=100, repeat=5)) / 100 < 0.000_2


PROGRAM = f"""
import logging
import sys
from shared import logs

logs.configure("tests", form=sys.argv[1])
log = logs.get_logger()

def fail():
    password = "local-pa55word"
    settings = {{"api_key": {KEY!r}}}
    raise RuntimeError("no connection to amqp://user:url-pa55word@host/")

for level in (log.error, log.warning):
    try:
        fail()
    except RuntimeError as error:
        level("failed", exc_info=True, error=error, headers={{"X-API-Key": {KEY!r}}})
try:
    fail()
except RuntimeError:
    logging.getLogger("library").exception("library failed with %s", {TOKEN!r})
try:
    raise ConnectionResetError(104, "reset by peer")
except OSError:
    logging.getLogger("library").exception("connection lost")
logging.getLogger("library").info("not of interest")
log.debug("not of interest")
log.info("odd", text="\\ud800", names={{1: 2}}, number=2**70, nothing=None, object=object, data=b"\\xff")
log.info("path", path="/a\\x00b\\x1b[31mc", other="\\r\\nforged", nested=["\\x1b[2J"])
log.info("last", message_id="m1", session_id="s1")
"""


@pytest.fixture(scope="module", params=["json", "console"])
def output(request: pytest.FixtureRequest) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, request.param], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
    return str(done.stderr)


def test_no_secret_leaves_the_process_not_even_in_a_traceback(output: str) -> None:
    assert "RuntimeError" in output
    assert output.count("in fail") == 3
    for secret in ("local-pa55word", "url-pa55word", KEY, TOKEN):
        # The line of the source that fails is shown, as it stands in the program.
        shown = output.replace('password = "local-pa55word"', "")
        assert secret not in shown
    assert "not of interest" not in output
    assert "last" in output


def test_a_lost_connection_is_no_traceback(output: str) -> None:
    assert "reset by peer" in output
    assert "ConnectionResetError" not in output


def test_what_came_from_outside_commands_no_terminal_and_forges_no_line(output: str) -> None:
    (line,) = (line for line in output.split("\n") if "forged" in line)
    # The renderer's own colours are left aside.
    said = re.sub(r"\x1b\[\d*m", "", line.replace("\x1b[31mc", "!"))
    assert (said.isprintable(), "!" in said, "path" in said) == (True, False, True)


def test_every_line_is_one_json_object() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "json"], capture_output=True, check=True, timeout=60)
    lines = [orjson.loads(line) for line in done.stderr.splitlines() if b"\\ud800" not in line and b"11805" not in line]
    assert {line["service"] for line in lines} == {"tests"}
    assert [line["event"] for line in lines] == [
        "failed",
        "failed",
        f"library failed with {REDACTED}",
        "connection lost",
        "path",
        "last",
    ]
    assert lines[-1] | {"timestamp": ""} == {
        "event": "last", "service": "tests", "level": "info", "timestamp": "", "message_id": "m1", "session_id": "s1",
    }  # fmt: skip
