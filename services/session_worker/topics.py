"""Topic patterns of AMQP as regular expressions of PostgreSQL; pure."""

from itertools import pairwise


def regex_of(pattern: str) -> str:
    """The expression that matches a routing key with a dot before it exactly when the topic pattern matches the key.

    Source: AMQP 0-9-1, 3.1.3.3: words are separated by dots, `*` stands for one word, `#` for any number of them.
    """
    words = pattern.split(".")
    # Neighbouring `#` say no more than one.
    kept = [words[0], *(word for before, word in pairwise(words) if not before == word == "#")]
    return f"^{''.join(map(_word, kept))}$"


def _word(word: str) -> str:
    if word == "#":
        return r"(?:\.[^.]*)*"
    if word == "*":
        return r"\.[^.]*"
    # A backslash makes any character that is no letter, digit or underscore stand for itself.
    literal = "".join(c if c.isalnum() or c == "_" or not c.isascii() else f"\\{c}" for c in word)
    return rf"\.{literal}"
