"""Patterns of the operator's own, `[extraction.patterns.NAME]` in `switchyard.toml`."""

import re
import tomllib
from pathlib import Path
from typing import Annotated

import re2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.task_worker.extraction.engine import compiled
from services.task_worker.extraction.patterns import NAMES
from shared.messages.runs_reading import ExtractionType, Risk

MAX_PATTERNS = 100
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class PatternsError(Exception):
    """The patterns of the configuration can't be used; the message says where and why."""


class UserPattern(BaseModel):
    """One `[extraction.patterns.NAME]` table; `regex` is in RE2's syntax, and its first group, if any, is the value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ExtractionType
    regex: Annotated[str, Field(min_length=1, max_length=1_000)]
    risk: Risk = "low"
    # Whether a yes may be given to what it finds without asking anybody.
    auto_confirm: bool = False

    @field_validator("type")
    @classmethod
    def _is_masked(cls, type: ExtractionType) -> ExtractionType:
        if type == "secret":
            raise ValueError(
                "a secret of your own would be found, but not masked, and so be kept once more; only those that are "
                "known here are (docs/output-extraction.md)"
            )
        return type

    @field_validator("regex")
    @classmethod
    def _is_linear(cls, regex: str) -> str:
        try:
            pattern = compiled(regex, max_memory=1 << 20)
        except re2.error as error:
            said = error.args[0] if error.args else error
            raise ValueError(
                f"RE2 does not take it: {said.decode() if isinstance(said, bytes) else said} "
                "(no look-around and no back-references, which can't be searched for in linear time)"
            ) from None
        if pattern.search(b"") is not None:
            raise ValueError("it matches nothing at all, and so would be found in every line")
        return regex


def load_patterns(path: Path) -> dict[str, UserPattern]:
    """The patterns a file declares, by name; none when it does not exist. Raises PatternsError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise PatternsError(f"{path}: {error}") from None
    section = document.get("extraction", {})
    tables = section.get("patterns", {}) if isinstance(section, dict) else None
    if not isinstance(tables, dict) or set(section) - {"patterns"}:
        raise PatternsError(
            f"{path}: under `extraction`, [extraction.patterns.NAME] tables are expected, and nothing else"
        )
    if len(tables) > MAX_PATTERNS:
        raise PatternsError(f"{path}: {len(tables)} patterns; there may be {MAX_PATTERNS}")
    patterns = {}
    for name, table in tables.items():
        where = f"{path}, [extraction.patterns.{name}]"
        if not _NAME.fullmatch(name):
            raise PatternsError(f"{where}: a pattern's name is small letters, digits and underscores, a letter first")
        if name in NAMES:
            raise PatternsError(f"{where}: a pattern that comes with it is called so; choose another name")
        try:
            patterns[name] = UserPattern.model_validate(table)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise PatternsError(f"{where}: {faults}") from None
    return patterns
