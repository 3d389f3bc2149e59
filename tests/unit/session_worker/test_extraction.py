"""Ideas, decisions, questions and action items in a text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.session_worker.extraction import KINDS, MAX_ITEMS, MAX_LETTERS, extract
from tests.examples import examples

NOTHING = {kind: [] for kind in KINDS}


def only(kind: str, *items: str) -> dict[str, list[str]]:
    return {**NOTHING, kind: list(items)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", NOTHING),
        ("The sky is blue. Nothing to see.", NOTHING),
        ("Decision: ship on Friday", only("decisions", "ship on Friday")),
        ("  * **Idea:** a dashboard for all", only("ideas", "a dashboard for all")),
        ("TODO: fix the tests", only("action_items", "fix the tests")),
        ("Carol: Action item: mail Bob", only("action_items", "mail Bob")),
        ("1. Open question: who pays?", only("questions", "who pays?")),
        ("Action items:\n- call Bob\n- [ ] mail Carol\n\n- not this", only("action_items", "call Bob", "mail Carol")),
        ("- [ ] write docs\n- [x] done already", only("action_items", "write docs")),
        ("Alice: Should we use Redis? I am not sure.", only("questions", "Should we use Redis?")),
        ("Have we decided on it?", only("questions", "Have we decided on it?")),
        ("What if we cached it?", only("ideas", "What if we cached it?")),
        ("So: we decided to use PostgreSQL. Fine.", only("decisions", "we decided to use PostgreSQL.")),
        ("Let\u2019s go with picows!", only("decisions", "Let\u2019s go with picows!")),
        ("We need to write the migration.", only("action_items", "We need to write the migration.")),
        ("We could use version 2.5 of it.", only("ideas", "We could use version 2.5 of it.")),
        ("We agreed that we need to test.", only("decisions", "We agreed that we need to test.")),
        ("```\nDecision: in code\nWhat is this?\n```\nIdea: outside", only("ideas", "outside")),
        ("Is it? Is it? Is it?", only("questions", "Is it?")),
        ("ÄÖÜ 漢字 — we decided: 漢字を使う。", only("decisions", "ÄÖÜ 漢字 — we decided: 漢字を使う。")),
        ("We decided: now.", only("decisions", "We decided: now.")),
        ("unwe decidedly", NOTHING),
        ("TODO(bob): fix the parser", only("action_items", "fix the parser")),
        ("## Decisions\n\n- use X\n- [x] drop Y\n\nText", only("decisions", "use X")),
        ("### Open question ###\n1. how fast\n2. why", only("questions", "how fast", "why")),
        ("# **Ideas**\r\n- one\r\n", only("ideas", "one")),
        ("## Decision: use X", only("decisions", "use X")),
        ("## The decisions of Bob\n- use X", NOTHING),
        ("Next steps:\n\n* measure", only("action_items", "measure")),
        ("Next steps:\n\n\n* too far", NOTHING),
        ("Action items:\n- TODO: x\n- y", only("action_items", "x", "y")),
        ("Decisions:\n- [ ] keep the box", only("decisions", "keep the box")),
        ("~~~\nTODO: in code\n~~~\nIdea: outside", only("ideas", "outside")),
        ("[12:03] ada: Idea: cache it", only("ideas", "cache it")),
        ("Ada Lovelace (12:03 PM): Should we?", only("questions", "Should we?")),
        (
            "Let's use PostgreSQL. We should measure it.",
            {**NOTHING, "decisions": ["Let's use PostgreSQL."], "ideas": ["We should measure it."]},
        ),
        ("Maybe cache it?", only("ideas", "Maybe cache it?")),
    ],
)
def test_the_rules(text, found):
    assert extract(text) == found


def test_the_items_stand_in_the_order_of_the_text():
    assert extract("Why? Decision: no\nQuestion: how\nWhen?")["questions"] == ["Why?", "how", "When?"]


def test_there_are_at_most_a_hundred_of_a_kind_and_none_is_endless():
    found = extract("\n".join(f"Is it {n}?" for n in range(1000)) + "\nIdea: " + "x" * 10_000)
    assert len(found["questions"]) == MAX_ITEMS
    assert found["ideas"] == ["x" * MAX_LETTERS]


WORDS = ["idea", "Decision:", "todo", ":", "?", "!", ".", "\n", " ", "- ", "[ ]", "[x]", "```", "**", "we decided",
         "what if ", "we need to", "a", "é", "漢", "\t", "1.", ">", "Bob: ", "\u2019"]  # fmt: skip


@given(st.one_of(st.text(max_size=500), st.lists(st.sampled_from(WORDS), max_size=200).map("".join)))
@settings(max_examples=examples(100), deadline=None)
def test_any_text_has_items_that_stand_in_it(text):
    found = extract(text)
    assert tuple(found) == KINDS
    for items in found.values():
        assert len(items) == len(set(items)) <= MAX_ITEMS
        for item in items:
            assert item.strip() == item != ""
            assert item in text


@pytest.mark.parametrize(
    "piece",
    [
        "? ",
        ".",
        "# idea\n",
        "[1] ",
        "a (1",
        "~~~\n",
        "idea(",
        "idea:\n",
        "- [ ] a\n",
        "todo:\n- a\n",
        "we could ",
        "a b: ",
        "```a",
        "*",
        " ",
    ],
)
def test_four_times_the_text_takes_about_four_times_as_long(piece):
    def seconds(letters: int) -> float:
        text = (piece * (letters // len(piece) + 1))[:letters]
        started = time.process_time()
        extract(text)
        return time.process_time() - started

    # The square of the length would be 16 times as long; a machine in a hurry is allowed for, and may try again.
    assert any(seconds(400_000) < 8 * max(seconds(100_000), 0.002) for _ in range(3))
