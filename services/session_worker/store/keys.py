"""SQL of API keys."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import rfc3339
from shared.messages.access import ApiKey, CreateKey, RingKey

_COLUMNS = "name, scopes, sessions, topics, rate_per_minute, created, revoked"

# A new key, unless its name or its secret is taken: by the primary key and the unique index on key_hash.
_INSERT = text(f"""
    insert into api_keys (name, key_hash, scopes, sessions, topics, rate_per_minute)
    values (:name, :key_hash, :scopes, :sessions, :topics, :rate_per_minute)
    on conflict do nothing
    returning {_COLUMNS}
""")  # noqa: S608

# A key that is about to be revoked, by the primary key.
_LOCK = text(f"select {_COLUMNS} from api_keys where name = :name for update")  # noqa: S608
_REVOKE = text(f"update api_keys set revoked = now() where name = :name returning {_COLUMNS}")  # noqa: S608

# A page of keys by name, by the primary key.
_LIST = text(f"select {_COLUMNS} from api_keys where name > :after order by name limit :limit")  # noqa: S608

# All keys in force: the whole table, which is small. Tokens live a week at most, so the names of keys revoked longer
# ago are on none.
_RING = text("""
    select name, encode(key_hash, 'hex') as key_hash, scopes, sessions, topics, rate_per_minute, revoked
    from api_keys where revoked is null or revoked > now() - interval '8 days'
    order by name
""")


async def insert_key(tx: Transaction, asked: CreateKey, key_hash: bytes) -> ApiKey | None:
    """Keep a new key; None when its name or its secret is taken."""
    values = {
        "name": asked.name,
        "key_hash": key_hash,
        "scopes": sorted(set(asked.scopes)),
        "sessions": asked.sessions,
        "topics": asked.topics,
        "rate_per_minute": asked.rate_per_minute,
    }
    row = (await tx.execute(_INSERT, values)).one_or_none()
    return _key(row) if row else None


async def lock_key(tx: Transaction, name: str) -> ApiKey | None:
    """A key by its name, locked; None when there is none."""
    row = (await tx.execute(_LOCK, {"name": name})).one_or_none()
    return _key(row) if row else None


async def revoke_key(tx: Transaction, name: str) -> ApiKey:
    """Put a key out of force; returns it as it then is."""
    return _key((await tx.execute(_REVOKE, {"name": name})).one())


async def list_keys(tx: Transaction, after: str | None, limit: int) -> list[ApiKey]:
    """Up to `limit` keys after a name."""
    return [_key(row) for row in await tx.execute(_LIST, {"after": after or "", "limit": limit})]


async def find_ring(tx: Transaction) -> tuple[list[RingKey], list[str]]:
    """The keys in force, and the names of those revoked lately."""
    keys, revoked = [], []
    for row in await tx.execute(_RING):
        if row.revoked is not None:
            revoked.append(row.name)
        else:
            keys.append(RingKey(**{name: getattr(row, name) for name in RingKey.model_fields}))
    return keys, revoked


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        name=row.name,
        scopes=row.scopes,
        sessions=row.sessions,
        topics=row.topics,
        rate_per_minute=row.rate_per_minute,
        created=rfc3339(row.created),
        revoked=rfc3339(row.revoked) if row.revoked else None,
    )
