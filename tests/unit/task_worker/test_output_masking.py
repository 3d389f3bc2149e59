"""Secrets in output: masked before anything is stored or sent."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.task_worker.extraction import Extractor, Line, mask, mask_lines
from tests.examples import examples

LETTERS = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4fGh7jKl0n"
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *[LETTERS + LETTERS[:24]] * 4, "-----END RSA PRIVATE KEY-----"]
# What stands before a secret, the secret, what is left of it, and the pattern.
SECRETS = [
    ("key: ", "sk-ant-api03-" + LETTERS, "sk-ant-api…", "anthropic_key"),
    ("", "sk-proj-" + LETTERS, "sk-pro…", "openai_key"),
    ("export X=", "ghp_" + LETTERS[:36], "ghp_Ab3d…", "github_token"),
    ("", "github_pat_" + LETTERS, "github_pat_Ab3…", "github_token"),
    ("token ", "xoxb-123456789012-" + LETTERS[:24], "xoxb-123…", "slack_token"),
    ("", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSF…", "aws_access_key"),
    ("", "glpat-" + LETTERS[:20], "glpat-Ab3…", "gitlab_token"),
    ("", "sy_" + LETTERS + LETTERS[:3], "sy_Ab3d…", "switchyard_key"),
    ("", "whsec_" + LETTERS[:32], "whsec_Ab3d…", "webhook_secret"),
    ("jwt ", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0." + LETTERS, "eyJhbG…", "jwt"),
    ("https://hooks.slack.com/services/", "T000/B000/" + LETTERS[:24], "", "slack_webhook"),
    ("postgres://ada:", "hunter2hunter2", "", "basic_auth_url"),
    ("Authorization: Bearer ", LETTERS, "", "authorization"),
    ("password=", "hunter22", "", "password"),
    ("DB_PASSWORD: '", "correct horse battery", "", "password"),
    ('{"api_key": "', LETTERS, "", "password"),
    ("AWS_SECRET_ACCESS_KEY=", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", "password"),
]
CLOSING = {"basic_auth_url": "@db/x", "DB_PASSWORD: '": "'", '{"api_key": "': '"}'}


@pytest.mark.parametrize(("before", "secret", "left", "pattern"), SECRETS)
def test_a_secret_is_masked_but_for_its_first_letters(before: str, secret: str, left: str, pattern: str) -> None:
    after = CLOSING.get(pattern) or CLOSING.get(before) or " and more"

    masked = mask(f"{before}{secret}{after}")

    assert masked == f"{before}{left}[masked:{pattern}]{after}"
    assert mask(masked) == masked


@pytest.mark.parametrize(("before", "secret", "left", "pattern"), SECRETS)
def test_a_secret_that_was_masked_is_found_by_its_mark(before: str, secret: str, left: str, pattern: str) -> None:
    after = CLOSING.get(pattern) or CLOSING.get(before) or " and more"
    text = f"{before}{secret}{after}"

    _, raw = Extractor().feed({}, [Line(1, text)])
    _, masked = Extractor().feed({}, [Line(1, mask(text))])

    assert raw == masked
    (found,) = [one for one in raw if one.type == "secret"]
    assert (found.pattern, found.risk, found.auto_confirm) == (pattern, "critical", False)
    assert secret not in repr(raw)


@pytest.mark.parametrize(
    "text",
    [
        "the password is asked for",
        "Password: ",
        '{"api_key": null, "output_tokens": 12345}',
        "password = os.environ['X']",
        "task-based risk-sk-x",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "https://example.org:8080/a@b",
        "API_KEY=$OTHER",
        "cat: /etc/passwd: Permission denied",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_a_private_key_is_masked_whole_in_a_text_and_line_by_line() -> None:
    lines = [Line(number, text) for number, text in enumerate(["before", *KEY, "after"])]

    together = mask("\n".join(["before", *KEY, "after"]))
    state, first = mask_lines({}, lines[:3])
    none, rest = mask_lines(json.loads(json.dumps(state)), lines[3:])

    assert together == f"before\n{KEY[0]}[masked:private_key]{KEY[-1]}\nafter"
    assert [line.text for line in first + rest] == ["before", KEY[0], *["[masked:private_key]"] * 4, KEY[-1], "after"]
    assert none == {}
    _, found = Extractor().feed({}, first + rest)
    assert [(one.pattern, one.first_line) for one in found] == [("private_key", 1)]


def test_a_key_without_an_end_is_taken_to_have_ended() -> None:
    _, masked = mask_lines({}, [Line(number, KEY[0] if number == 0 else "x") for number in range(300)])

    assert masked[200].text == "[masked:private_key]"
    assert masked[201].text == "x"


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_a_secret_that_is_cut_anywhere_keeps_no_more_than_its_first_letters(data: st.DataObject) -> None:
    before, secret, left, pattern = data.draw(st.sampled_from(SECRETS))
    after = CLOSING.get(pattern) or CLOSING.get(before) or " and more"
    text = f"some words {before}{secret}{after} and the end"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), min_size=1, max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    state, masked = {}, []
    for number, piece in enumerate(pieces):
        state, lines = mask_lines(json.loads(json.dumps(state)), [Line(number, piece, more=number < len(pieces) - 1)])
        masked += lines
        assert len(json.dumps(state)) < 1_000

    shown = "".join(line.text for line in masked)
    assert shown.startswith("some words") and shown.endswith("and the end")
    kept = max(len(left), 4)
    assert not any(secret[start : start + 8] in shown for start in range(kept, len(secret) - 8))


@given(st.text(alphabet="ab=:\"'@/ -_.\\[]{}$,;", max_size=40), st.sampled_from(SECRETS), st.text(max_size=20))
@settings(max_examples=examples(60), deadline=None)
def test_masking_twice_changes_nothing(before: str, secret: tuple[str, str, str, str], after: str) -> None:
    once = mask(before + secret[0] + secret[1] + after)

    assert mask(once) == once
