"""How Alembic reaches the database: DATABASE_URL, short locks, and one migrator at a time.

Run from the checkout: `alembic upgrade head`, `alembic check`. A program that runs migrations itself may hand the URL
over as `config.attributes["url"]`.
"""

import re
from typing import Any

from alembic import context
from alembic.util import CommandError
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Connection, NullPool, create_engine, text

from shared.database.tables import metadata

# Waiting for a lock blocks everybody who comes after, so a migration gives up soon and is run again.
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "5min"
# How long to wait for another migrator to finish.
TURN_TIMEOUT = "2min"
# Any number will do, as long as nothing else in this database takes the same advisory lock.
MIGRATORS_LOCK = 7_317_001

# The partitions of `events` come and go by the day; the memory worker makes its vectors' tables where it can.
_NOT_DECLARED = re.compile(r"events_(\d{8}|default)|memory_embeddings|memory_embedder")


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="ignore")
    database_url: SecretStr = Field(SecretStr(""), alias="DATABASE_URL")


def _url() -> str:
    url: str = context.config.attributes.get("url") or _Settings().database_url.get_secret_value()
    if not url:
        raise CommandError("Which database? Set DATABASE_URL to postgresql://user:password@host:port/name.")
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def include_object(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Whether `alembic check` and autogenerate look at a thing of the database."""
    return not (kind == "table" and reflected and _NOT_DECLARED.fullmatch(name or ""))


def migrate(connection: Connection) -> None:
    """Run what was asked for in one transaction: all of it happens, or nothing."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        # In the transaction, so that it is let go with it and works through a connection pooler. Whoever comes second
        # reads the version only when the first is done.
        connection.execute(text(f"set local lock_timeout = '{TURN_TIMEOUT}'"))
        connection.execute(text(f"select pg_advisory_xact_lock({MIGRATORS_LOCK})"))
        connection.execute(text(f"set local lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"set local statement_timeout = '{STATEMENT_TIMEOUT}'"))
        context.run_migrations()


def main() -> None:
    """Connect and migrate; with `--sql`, print the statements instead."""
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = create_engine(
        _url(),
        poolclass=NullPool,
        connect_args={"application_name": "switchyard migrations", "connect_timeout": 5, "options": "-c timezone=UTC"},
    )
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


main()
