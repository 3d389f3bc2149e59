"""The pool of connections to PostgreSQL, transactions, and which database errors pass by themselves."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

Transaction = AsyncConnection

# Connection faults, serialization and deadlock, shutdown and start of the server, no free slot, lock and idle timeouts.
_PASSING = re.compile(r"08...|40001|40P01|57P0[123]|53300|55P03|25P03")


# A writing statement is planned once and the plan kept, which spares each of a small batch's more than it costs to run.
# Kept plans know nothing of how large a table has become, so those are ruled out that read one whole: every writing
# statement is made for an index.
_KEPT_PLANS = (
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, url: str, *, name: str, size: int = 5, read_only: bool = False) -> None:
        """`url` is a plain `postgresql://` URL; `name` shows in pg_stat_activity."""
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=False,
            connect_args={
                "application_name": f"switchyard {name}",
                "connect_timeout": 5,
                "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=15s"
                " -c timezone=UTC -c jit=off"
                f" {'-c default_transaction_read_only=on' if read_only else _KEPT_PLANS}",
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        try:
            async with self._engine.begin() as tx:
                yield tx
        except psycopg.OperationalError:
            # Raised by the driver itself (`psycopg_of`), so SQLAlchemy has not noticed that the server went away, and
            # would hand out its other dead connections one after the other.
            await self._engine.dispose()
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A connection for reading: each statement sees what is committed, nothing is kept open between them."""
        async with self._engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def ping(self) -> None:
        """Raise when the database does not answer."""
        async with self.reading() as tx:
            await tx.execute(text("select 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def psycopg_of(tx: Transaction) -> "psycopg.AsyncConnection[Any]":
    """The driver's connection under a transaction, for the hottest statements: SQLAlchemy adds 75 µs to each."""
    return cast("psycopg.AsyncConnection[Any]", (await tx.get_raw_connection()).driver_connection)


@asynccontextmanager
async def savepoint(tx: Transaction) -> AsyncIterator[None]:
    """What the block does is undone when it raises, and what was done before it stays; can't be nested."""
    # SQLAlchemy compiles a savepoint anew each time, which takes longer than the whole of it here.
    connection = await psycopg_of(tx)
    await connection.execute("savepoint block", prepare=False)
    try:
        yield
    except Exception:
        if not connection.broken:
            await connection.execute("rollback to savepoint block", prepare=False)
        raise
    await connection.execute("release savepoint block", prepare=False)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed when it is tried again."""
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            return isinstance(error, OperationalError | InterfaceError)
        return _PASSING.fullmatch(state) is not None
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return _PASSING.fullmatch(state) is not None
    return False
