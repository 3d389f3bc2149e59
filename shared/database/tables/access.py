"""The session worker's table of API keys."""

from sqlalchemy import Column, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database.tables.columns import metadata, moment

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("sessions", ARRAY(Text), nullable=True),
    Column("topics", ARRAY(Text), nullable=True),
    Column("rate_per_minute", Integer, nullable=True),
    moment("created"),
    moment("revoked", default=False),
)
