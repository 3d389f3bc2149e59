"""Sealed texts: they open for what they were sealed for, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.sealing import NotSealedHere, Seal

SEAL = Seal("a secret of sixteen characters", "chat answers")
TEXT = "https://campfire.example.com/rooms/4/9-AbCdEf123456/messages"


@given(text=some.text(some.characters(exclude_categories=["Cs"])), about=some.text())
def test_what_is_sealed_opens_for_the_same_thing(text: str, about: str) -> None:
    assert SEAL.open(SEAL.close(text, about), about) == text


def test_a_sealed_text_shows_nothing_and_is_another_each_time() -> None:
    first, second = SEAL.close(TEXT, "4"), SEAL.close(TEXT, "4")
    assert first != second
    assert not any(part in first for part in ("rooms", "9-AbCdEf123456", "campfire"))
    assert first.replace("-", "").replace("_", "").replace(".", "").isalnum()


@pytest.mark.parametrize(
    ("seal", "about"),
    [
        (SEAL, "5"),
        (Seal("another secret of enough characters", "chat answers"), "4"),
        (Seal("a secret of sixteen characters", "something else"), "4"),
    ],
    ids=["for another thing", "with another secret", "for another purpose"],
)
def test_what_was_sealed_otherwise_does_not_open(seal: Seal, about: str) -> None:
    with pytest.raises(NotSealedHere):
        seal.open(SEAL.close(TEXT, "4"), about)


@given(place=some.integers(min_value=0, max_value=100), other=some.sampled_from("Aa0_-.=é "))
def test_a_sealed_text_that_was_changed_does_not_open(place: int, other: str) -> None:
    sealed = SEAL.close(TEXT, "4")
    changed = sealed[:place] + other + sealed[place + 1 :]
    if changed != sealed:
        with pytest.raises(NotSealedHere):
            SEAL.open(changed, "4")


@given(text=some.text())
def test_a_text_that_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(NotSealedHere):
        SEAL.open(text, "4")
    with pytest.raises(NotSealedHere):
        SEAL.open(f"s1.{text}", "4")
