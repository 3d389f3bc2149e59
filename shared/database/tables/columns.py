"""The metadata all tables are entered in, and the columns many of them have."""

from sqlalchemy import Column, Computed, DateTime, Integer, MetaData, text
from sqlalchemy.dialects.postgresql import TSVECTOR

metadata = MetaData()

NOW = text("now()")
MOMENT = DateTime(timezone=True)
# A tsvector holds 1 MB, and PostgreSQL refuses a row whose words need more: rare words of 4-byte letters, joined by
# hyphens, take eight bytes a letter. So a text is searched in its first 100,000 letters; JSON by its strings as long as
# it is under 300,000 bytes, and beyond that in the first 75,000 letters of its text.
SEARCH_TEXT = "to_tsvector('english'::regconfig, left(content, 100000))"
SEARCH_JSON = (
    "case when octet_length(content::text) <= 300000 then to_tsvector('english'::regconfig, content)"
    " else to_tsvector('english'::regconfig, left(content::text, 75000)) end"
)


def moment(name: str, *, default: bool = True) -> Column[object]:
    """A moment: by default that of the transaction; without a default it may be null."""
    return Column(name, MOMENT, nullable=not default, server_default=NOW if default else None)


def search(expression: str) -> Column[object]:
    """The words of a row, kept by PostgreSQL itself."""
    return Column("search", TSVECTOR, Computed(expression, persisted=True))


def count(name: str) -> Column[object]:
    """A counter that begins at 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))
