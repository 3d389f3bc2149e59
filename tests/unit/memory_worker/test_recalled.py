"""What a content says, whatever is put around it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.memory_worker.recalled import content_hash, says
from shared.messages import JsonText
from tests.examples import examples

MEMORY = {
    "session_id": "s1",
    "key": "k",
    "type": "fact",
    "content": "Use  Gin",
    "tags": [],
    "version": 1,
    "author": "a",
}


def said(content: object) -> str | None:
    return says(JsonText(json.dumps(content).encode()))


@pytest.mark.parametrize(
    "content",
    [
        "use gin",
        " Use\n GIN ",
        "> Use\n>gin",
        '"use gin"',
        "«use gin»",
        "`use gin`",
        "```text\nuse gin\n```\n",
        "<mark>use</mark> gin",
        MEMORY,
        {"memory": MEMORY},
        {"memory": MEMORY, "recalled": True},
        json.dumps(MEMORY),
        json.dumps({"memory": MEMORY}, indent=2),
    ],
)
def test_what_stands_around_a_text_says_nothing(content):
    assert said(content) == "use gin"


@pytest.mark.parametrize(
    ("one", "other"),
    [("ﬁne", "fine"), ("STRASSE", "straße"), ("e\u0301té", "\u00e9te\u0301"), ("\uff41\u00a0\uff42", "a b")],
)
def test_forms_of_the_same_letters_say_the_same(one, other):
    assert said(one) == said(other)


@pytest.mark.parametrize("content", [1, 1.5, True, None, "", " \n", "x" * 100_001, ["x" * 400_000]])
def test_what_says_nothing_cannot_be_recognised(content):
    assert said(content) is None


def test_the_order_of_members_says_nothing_and_that_of_a_list_does():
    assert said({"a": 1, "b": 2}) == said({"b": 2, "a": 1})
    assert said([1, 2]) != said([2, 1])


def test_text_that_is_json_deeper_than_any_memory_is_text():
    deep = json.dumps({**MEMORY, "content": 0}).replace('"content": 0', f'"content": {"[" * 400}{"]" * 400}')
    assert (said(deep) or "").startswith('{"session_id"')


def test_a_hash_is_of_the_session_too_and_fits_a_bigint():
    assert content_hash("s1", "x") != content_hash("s2", "x")
    assert -(2**63) <= content_hash("s1", "x") < 2**63
    assert content_hash("s1", "x") == content_hash("s1", "x")


@settings(max_examples=examples(60), deadline=None)
@given(st.text(alphabet=st.sampled_from("ab \n>`\"'{}[]:,<mark>&é“”"), max_size=30))
def test_any_text_can_be_asked_and_says_the_same_as_itself_quoted(text):
    plain = said(text)
    if plain and not any(mark in text for mark in "`\"'“”{<&>"):
        assert said(f"> {' '.join(text.split())}") == plain == said(f"“{text}”")
