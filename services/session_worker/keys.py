"""Decisions about API keys: which may be made, and what revoking one means; pure."""

from shared.errors import Rejected, conflict, invalid
from shared.messages.access import RESERVED_NAMES, CreateKey


def check_new(asked: CreateKey) -> bytes:
    """The SHA-256 of a new key's secret. Raises `Rejected` when the key can't be made."""
    refuse_reserved(asked.name)
    if asked.key_hash is None:
        raise invalid(
            "`key_hash` is missing: the doors make the secret and add its hash; on the bus, and in a batch, make one "
            "yourself (`sy_` and at least 32 random letters and digits) and give its SHA-256 in hexadecimal digits",
            fields=[{"field": "key_hash", "fault": "missing", "kind": "missing"}],
        )
    return bytes.fromhex(asked.key_hash)


def refuse_reserved(name: str) -> None:
    """Raise `Rejected("conflict")` for the name of a caller that is no key of the table."""
    if name in RESERVED_NAMES:
        hint = "; its key stands in the environment, as SWITCHYARD_API_KEY" if name == "bootstrap" else ""
        raise conflict(f"the name {name!r} is Switchyard's own{hint}", name=name)


def no_such(name: str) -> Rejected:
    """There is no key of this name."""
    return Rejected("not_found", f"there is no key {name!r}; list_keys lists those there are", name=name)


def taken(name: str) -> Rejected:
    """A new key's name, or its secret, belongs to a key that is there or was."""
    return conflict(
        f"a key {name!r}, or one with the same secret, exists already or was revoked; neither is used again", name=name
    )
