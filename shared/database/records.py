"""Rows as records of an export and back: a table's columns are the fields of its record's model.

Values of type JSON stay the text they are; moments are written as messages write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import msgspec
from psycopg.types.json import Json
from pydantic import ValidationError

from shared.database import Transaction, psycopg_of
from shared.errors import conflict, invalid
from shared.messages import JsonText, encode
from shared.messages.actions import SentMoment
from shared.messages.envelope import Model, invalid_fields
from shared.messages.json_text import slices

Record = TypeVar("Record", bound=Model)

# What the records of one page may take in sum; a page may have one larger than that.
_PAGE_BYTES = 4_000_000
_MOMENT_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class RecordTable:
    """Where records of a kind are kept: a table, or for reading also a subquery, with a column `session_id`."""

    table: str
    model: type[Model]
    # What tells one record from the others of its session.
    key: tuple[str, ...]
    # What they are listed by; nothing for a kind of which there is one.
    order: Mapping[str, type] = field(default_factory=dict)
    # Whether a unique constraint keeps two of one key apart.
    keyed: bool = True
    # Columns that no record has: where an import takes them from, and as what type.
    derived: Mapping[str, str] = field(default_factory=dict)

    def select(self, *, beyond: bool) -> str:
        """The statement that reads a page of records, each after what it is listed by."""
        shown = ", ".join(
            f"to_char({name}, '{_MOMENT_FORMAT}') as {name}" if kind == "timestamptz" else name
            for name, kind in columns_of(self.model).items()
        )
        order = ", ".join(self.order)
        after = f"and ({order}) > ({', '.join(f'%({name})s' for name in self.order)})" if beyond else ""
        return f"""
            select {f"{order}," if order else ""}
                (select row_to_json(record)::text from (select {shown}) as record) as record
            from {self.table} as kept where session_id = %(session_id)s {after}
            {f"order by {order}" if order else ""} limit %(limit)s
        """  # noqa: S608

    def insert(self) -> str:
        """The statement that writes records, and names the first that is there with other content (`different`)."""
        columns = {**columns_of(self.model), **self.derived}
        # A JSON null comes out of a recordset as SQL's.
        never_null = _never_null(self.model)
        values = {
            name: f"coalesce(given.{name}, 'null')" if name in never_null else f"given.{name}" for name in columns
        }
        is_it = " and ".join(f"kept.{name} = given.{name}" for name in self.key) or "true"
        was_written = " and ".join(f"written.{name} = given.{name}" for name in self.key) or "true"
        # A file of lines has spaces where JSON had line breaks.
        shown = {
            name: "translate({}::text, e'\\n\\r', '  ')" if kind == "json" else "{}" for name, kind in columns.items()
        }
        is_same = " and ".join(
            f"{shown[name].format(f'kept.{name}')} is not distinct from {shown[name].format(values[name])}"
            for name in columns_of(self.model)
        )
        kept = f"select from {self.table} as kept where kept.session_id = %(session_id)s and {is_it}"
        return f"""
            with given as materialized (
                select * from rows from (
                    json_to_recordset(%(records)s) as ({", ".join(f"{name} {kind}" for name, kind in columns.items())})
                ) with ordinality as given ({", ".join(columns)}, place)
            ), written as (
                insert into {self.table} (session_id, {", ".join(columns)})
                select %(session_id)s, {", ".join(values.values())} from given
                {"" if self.keyed else f"where not exists ({kept})"} order by place
                on conflict do nothing returning {", ".join(self.key) or "session_id"}
            )
            select (select count(*) from written) as written, (
                select {" || ' ' || ".join(f"given.{name}" for name in self.key) or "''"} from given
                where not exists (select from written where {was_written}) and not exists ({kept} and {is_same})
                order by place limit 1
            ) as different
        """  # noqa: S608


def columns_of(model: type[Model]) -> dict[str, str]:
    """The columns of a record, each with its type in PostgreSQL."""
    return {name: _type_of(field.annotation, field.metadata) for name, field in model.model_fields.items()}


def _type_of(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    inner = [each for each in get_args(annotation) if each is not type(None)]
    if annotation in (SentMoment,) or SentMoment in inner or _is_moment(metadata):
        return "timestamptz"
    if annotation is JsonText or JsonText in inner:
        return "json"
    if annotation is int or int in inner:
        return "bigint"
    if getattr(annotation, "__origin__", None) is list:
        return "text[]"
    return "text"


def _is_moment(metadata: Sequence[Any]) -> bool:
    marks = get_args(SentMoment)[1:]
    return bool(marks) and any(each in marks for each in metadata)


def _never_null(model: type[Model]) -> set[str]:
    return {name for name, field in model.model_fields.items() if field.annotation is JsonText}


async def read_records(
    tx: Transaction, table: RecordTable, session_id: str, after: tuple[Any, ...] | None, limit: int
) -> tuple[list[JsonText], tuple[Any, ...] | None]:
    """Up to `limit` records after a place in their order, and the place to go on after, None at the end."""
    values: dict[str, Any] = {"session_id": session_id, "limit": limit + 1}
    values |= dict(zip(table.order, after or (), strict=False))
    connection = await psycopg_of(tx)
    records: list[JsonText] = []
    place: tuple[Any, ...] | None = None
    size = 0
    # Planned each time: a plan kept from when there were few rows would read all of them.
    cursor = await connection.execute(table.select(beyond=after is not None), values, prepare=False)
    for *where, record in await cursor.fetchall():
        text = record.encode()
        size += len(text)
        if records and (len(records) == limit or size > _PAGE_BYTES):
            return records, place
        records.append(JsonText(text))
        place = tuple(where)
    return records, None


async def write_records(
    tx: Transaction,
    table: RecordTable,
    session_id: str,
    records: Sequence[Model],
    derived: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Write records, with the values of derived columns; returns how many were not there.

    Raises `Rejected("conflict")` when one is there with other content; what was written must then be undone.
    """
    if not records:
        return 0
    rows = [{**record.__dict__, **more} for record, more in zip(records, derived or [{}] * len(records), strict=True)]
    connection = await psycopg_of(tx)
    values = {"session_id": session_id, "records": Json(rows, dumps=encode)}
    row = await (await connection.execute(table.insert(), values, prepare=False)).fetchone()
    assert row is not None
    written, different = row
    if different is not None:
        raise conflict(
            f"session {session_id!r} has another {table.table} {different!r}; import it under another id",
            session_id=session_id,
            table=table.table,
            key=different,
        )
    return int(written)


def records_of(model: type[Record], text: JsonText, field: str, most: int) -> list[Record]:
    """The records in a JSON list, their JSON as it was written. Raises `Rejected("invalid")` naming the wrong one."""
    try:
        items = _ITEMS.decode(text.text)
    except msgspec.ValidationError:
        raise invalid(f"`{field}` is a list of records") from None
    if len(items) > most:
        raise invalid(f"`{field}` holds {len(items)} records; import up to {most} at once")
    return [record_of(model, JsonText(bytes(item)), f"{field}.{at}") for at, item in enumerate(items)]


def record_of(model: type[Record], text: JsonText, where: str) -> Record:
    """One record, its JSON as it was written. Raises `Rejected("invalid")`."""
    try:
        raw = slices(text.text)
    except msgspec.ValidationError:
        raise invalid(f"{where} is not an object") from None
    values = text.value()
    for name, kind in columns_of(model).items():
        if kind == "json" and name in raw and (raw[name] != b"null" or name in _never_null(model)):
            values[name] = JsonText(raw[name])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_fields(error, where) from None
