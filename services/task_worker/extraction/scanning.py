"""Reads a run's lines in their order, whatever pieces they come in."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.task_worker.extraction.findings import Finding, Line
from services.task_worker.extraction.user_patterns import UserPattern

State = dict[str, Any]


class Extractor:
    """What is looked for: the patterns that come with it, and the operator's. Shared by all runs; keeps nothing."""

    def __init__(self, patterns: Mapping[str, UserPattern] | None = None) -> None:
        self._patterns = dict(patterns or {})

    def feed(self, state: State, lines: Sequence[Line]) -> tuple[State, list[Finding]]:
        """What the lines complete, in the order of their ends; `state` is `{}` at first, and is not changed."""
        return state, []

    def finish(self, state: State) -> tuple[State, list[Finding]]:
        """What was still open when the run ended: a last line, a block, a traceback. The state is `{}` again."""
        return {}, []

    def waiting(self, state: State) -> list[Finding]:
        """The questions and confirmations in the last line of each stream while it has no end yet.

        A prompt has no newline. Once the line has ended, they are given by `feed`, with the same pattern, first line
        and index.
        """
        return []
