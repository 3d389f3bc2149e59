"""How lists are searched by several things at once: an index leads, and a bounded number of rows is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

from services.task_worker.store.rows import run
from shared.database import Transaction

# How many rows are looked at for one page.
LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Searched:
    """A table that is searched, the newest first."""

    table: LiteralString
    key: LiteralString
    moment: LiteralString
    # What a row is made of; the table is called `r`.
    columns: LiteralString
    # The columns with an index of (column, moment, key) each; of those asked for, the first leads.
    leads: tuple[LiteralString, ...]
    # What else a row is asked for by, as conditions on `looked`, by the name of their value.
    conditions: Mapping[str, LiteralString] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; what is None, or not there, is not. `since` included, `until` not."""

    values: Mapping[str, Any]
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, Any] | None = None


async def search(
    tx: Transaction, searched: Searched, wanted: Wanted, limit: int
) -> tuple[list[Any], tuple[datetime, Any] | None]:
    """Up to `limit` rows of a table that are wanted, among the next `LOOKED_AT` that its index leads to.

    With the sort key (moment, key) of the last of these, None when there are no more behind it.
    """
    values = {name: value for name, value in wanted.values.items() if value is not None}
    rows = await run(
        tx, statement(searched, wanted), **values, since=wanted.since, until=wanted.until,
        after=wanted.after[0] if wanted.after else None, after_key=wanted.after[1] if wanted.after else None,
        limit=limit, most=LOOKED_AT,
    )  # fmt: skip
    edge = (rows[0][-2], rows[0][-1]) if rows and rows[0][-2] is not None else None
    found = [row[:-2] for row in rows if row[0] is not None]
    return found, edge if len(found) < limit else None


def statement(searched: Searched, wanted: Wanted) -> LiteralString:
    """The statement of a search; by the index of what leads, or that of all by their moment."""
    asked = [name for name in (*searched.leads, *searched.conditions) if wanted.values.get(name) is not None]
    lead: LiteralString | None = next((name for name in searched.leads if name in asked), None)
    key, moment = searched.key, searched.moment
    within: list[LiteralString] = ["true"]
    if lead is not None:
        within.append(lead + " = %(" + lead + ")s")
    if wanted.since is not None:
        within.append(moment + " >= %(since)s")
    if wanted.until is not None:
        within.append(moment + " < %(until)s")
    if wanted.after is not None:
        within.append("(" + moment + ", " + key + ") < (%(after)s, %(after_key)s)")
    conditions: list[LiteralString] = ["true"]
    for name in searched.leads:
        if name in asked and name != lead:
            conditions.append(name + " = %(" + name + ")s")
    for named, condition in searched.conditions.items():
        if named in asked:
            conditions.append(condition)
    order: LiteralString = moment + " desc, " + key + " desc"
    return f"""
        with looked as materialized (
            select * from {searched.table} where {" and ".join(within)} order by {order} limit %(most)s
        ), edge as (
            select {moment} as edge_moment, {key} as edge_key from looked order by {order} limit 1 offset %(most)s - 1
        ), r as (
            select * from looked where {" and ".join(conditions)} order by {order} limit %(limit)s
        )
        select {searched.columns}, edge.edge_moment, edge.edge_key
        from (select) as one left join edge on true left join r on true
        order by r.{moment} desc, r.{key} desc
    """  # noqa: S608
