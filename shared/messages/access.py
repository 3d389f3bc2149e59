"""API keys and the audit log: commands, nouns and the event that keys have changed."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import PATTERNS, Event, Id, Model, Scope
from shared.messages.live import RevokedTokens
from shared.messages.memory import Moment
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]*$"
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NAME)]
PATTERNS[_NAME] = "be letters, digits, `.`, `_`, `@` and `-`, a letter or digit first"
_TOPIC = r"^(\*|#|[^.*#\s\x00-\x1f\x7f]+)(\.(\*|#|[^.*#\s\x00-\x1f\x7f]+))*$"
Topic = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_TOPIC)]
PATTERNS[_TOPIC] = "be a topic: words between dots, `*` alone for one word, `#` alone for any number"
_HASH = r"^[0-9a-f]{64}$"
KeyHash = Annotated[str, StringConstraints(pattern=_HASH)]
PATTERNS[_HASH] = "be a SHA-256 in 64 hexadecimal digits"
# Callers that are no key of the table: the environment's key, a signed-in browser, programs on the bus itself.
RESERVED_NAMES = frozenset({"bootstrap", "dashboard", "bus"})


class ApiKey(Model):
    """An API key without its secret, which nobody but its holder knows.

    `sessions`: the only ones it may work in, exact ids or beginnings with a trailing `*`; `topics`: what its WebSocket
    tokens may hear besides; null: no such bound. `rate_per_minute`: null for the default, 0 for no limit.
    """

    name: str
    scopes: list[Scope]
    sessions: list[str] | None
    topics: list[str] | None
    rate_per_minute: int | None
    created: str
    revoked: str | None


class RingKey(Model):
    """A key as the doors know it: by the SHA-256 of its secret."""

    name: str
    key_hash: str
    scopes: list[Scope]
    sessions: list[str] | None
    topics: list[str] | None
    rate_per_minute: int | None


class AuditEntry(Model):
    """One write: by which key (`bus`: published without a door) and agent, and what came of it.

    `target` is the id of what the command made or changed, where its result names one; `outcome` is `ok` or the code of
    the refusal.
    """

    audit_id: int
    timestamp: str
    key: str
    agent_id: str
    command: str
    message_id: str
    session_id: str | None
    target: str | None
    outcome: str


@command(
    "session",
    result={"key": ApiKey, "secret": str | None},
    creates=True,
    scope="admin",
    example={"name": "ci", "scopes": ["publish", "read"], "sessions": ["demo", "ci-*"], "rate_per_minute": 600},
)
class CreateKey(CommandData):
    """Make an API key; its secret is in this reply and nowhere else.

    The door makes the secret, and only its SHA-256 goes any further, as `key_hash`; give that yourself, and nobody but
    you has seen the secret, which is then not in the reply.
    """

    name: KeyName
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    # A token carries them, and must fit into one frame of the WebSocket.
    sessions: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    topics: Annotated[list[Topic], Field(min_length=1, max_length=100)] | None = None
    rate_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    key_hash: KeyHash | None = None


@command("session", result={"keys": list[ApiKey], "next": str | None}, reads=True, scope="admin", example={"limit": 20})
class ListKeys(CommandData):
    """API keys by name, those revoked among them."""

    limit: Limit = 50
    cursor: Cursor | None = None


@command("session", result={"key": ApiKey}, scope="admin", destructive=True, idempotent=True, example={"name": "ci"})
class RevokeKey(CommandData):
    """Put an API key out of force for good, with every token it has asked for; its name is not used again."""

    name: KeyName


@command(
    "session",
    result={"keys": list[RingKey], "revoked": list[str], "revoked_tokens": list[RevokedTokens]},
    reads=True,
    public=False,
    scope="admin",
)
class GetKeyRing(CommandData):
    """The keys in force, and the names of those revoked while a token of theirs may still be about; tokens revoked."""


@command(
    "session",
    result={"entries": list[AuditEntry], "next": str | None},
    reads=True,
    scope="admin",
    example={"key": "ci", "session_id": "demo", "limit": 20},
)
class ListAudit(CommandData):
    """Who wrote what and what came of it, the newest first."""

    key: Id | None = None
    command: Id | None = None
    session_id: Id | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class KeyChanged(Event):
    """A key was made or revoked: whoever knows the keys asks for them again."""

    topic: ClassVar = "system.key_changed"
    type: Literal["key_changed"] = "key_changed"
    name: str
