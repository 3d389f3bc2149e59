"""Webhook sources as `switchyard.toml` declares them: who may send, how they prove it, which events are wanted."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from services.ingress.signatures import Algorithm, Encoding

Scheme = Literal["github", "standard", "campfire", "hmac", "api_key"]
GITHUB_SECRET = "GITHUB_WEBHOOK_SECRET"  # noqa: S105  (the name of a variable)
# Where Campfire is, for sources that don't say.
CAMPFIRE_URL = "CAMPFIRE_URL"
ANY_BOT = "*"

_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class SourcesError(Exception):
    """The sources file can't be used; the message says where and why."""


class Declaration(BaseModel):
    """One `[sources.NAME]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Scheme
    # Several secrets may be valid at once, so that one can be replaced without losing a delivery.
    secret: str = ""
    secrets: list[str] = []
    # Names of environment variables that hold secrets.
    secret_env: str | list[str] = []
    # Wanted events, as `push` or `pull_request.opened`; all when it is not given.
    events: list[str] | None = None
    # For `hmac`: where the signature, the event's name and the delivery's id stand.
    header: str = "X-Signature"
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    event_header: str = "X-Event"
    delivery_header: Annotated[str, Field(min_length=1)] = "X-Delivery-Id"
    # For `campfire`: where Campfire is, and the bot that is spoken to, by default the source's name.
    url: str = ""
    bot: str = ""
    # For `standard`, `hmac` and `api_key`: the bot that is spoken to, `*` when each message names one.
    chat: str = ""
    # What its rooms' ids begin with here, where two chat servers number theirs alike.
    room_prefix: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A source in force."""

    name: str
    scheme: Scheme
    secrets: tuple[bytes, ...]
    events: frozenset[str] | None = None
    header: bytes = b"x-signature"
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: bytes = b""
    event_header: bytes = b"x-event"
    delivery_header: bytes = b"x-delivery-id"
    # The bot that is spoken to, `*` for the one that a message names; empty: none.
    bot: str = ""
    # Where Campfire is, without a slash at the end.
    url: str = ""
    room_prefix: str = ""
    # The Standard Webhooks verifiers, one for each secret.
    verifiers: tuple[Webhook, ...] = field(default=(), repr=False)

    def wants(self, event: str, action: str | None) -> bool:
        """Whether an event passes the source's filter."""
        if self.events is None or event in self.events:
            return True
        return action is not None and f"{event}.{action}" in self.events


def _verifiers(secrets: list[str]) -> tuple[Webhook, ...]:
    try:
        return tuple(Webhook(text) for text in secrets)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise ValueError(f"a secret is not valid: {error}") from None


DEFAULTS: dict[str, dict[str, Any]] = {
    "github": {"scheme": "github", "secret_env": GITHUB_SECRET},
    "api": {"scheme": "api_key"},
}


def load(path: Path, environment: Mapping[str, str]) -> dict[str, Source]:
    """The sources a file declares; `github` and `api` are there even when it does not name them, or does not exist.

    `environment` gives the values of the variables that `secret_env` names. Raises SourcesError.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise SourcesError(f"{path}: {error}") from None
    tables, bots = document.get("sources", {}), document.get("bots", {})
    if not (isinstance(tables, dict) and isinstance(bots, dict)):
        raise SourcesError(f"{path}: [sources.NAME] and [bots.NAME] tables are expected")
    sources = {}
    for name, table in {**DEFAULTS, **tables}.items():
        where = f"{path}, [sources.{name}]"
        if not _NAME.fullmatch(name):
            raise SourcesError(f"{where}: a source's name is letters, digits, dots, dashes and underscores")
        try:
            sources[name] = _source(name, Declaration.model_validate(table), environment)
            if sources[name].scheme != "campfire" and sources[name].bot not in ("", ANY_BOT, *bots):
                raise SourcesError(f"{where}: chat: there is no [bots.{sources[name].bot}]")
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise SourcesError(f"{where}: {faults}") from None
        except ValueError as error:
            raise SourcesError(f"{where}: {error}") from None
    return sources


def bot_names(path: Path) -> dict[str, str]:
    """What the bots are called that a file declares, by their ids; `load` has found it in order."""
    bots = tomllib.loads(path.read_text(encoding="utf-8")).get("bots", {}) if path.exists() else {}
    return {
        bot_id: str(table.get("name") or bot_id) if isinstance(table, dict) else bot_id
        for bot_id, table in bots.items()
    }


def _source(name: str, declared: Declaration, environment: Mapping[str, str]) -> Source:
    variables = [declared.secret_env] if isinstance(declared.secret_env, str) else declared.secret_env
    if declared.scheme == "github" and not (variables or declared.secret or declared.secrets):
        variables = [GITHUB_SECRET]
    texts = [declared.secret, *declared.secrets, *(environment.get(variable, "") for variable in variables if variable)]
    # An empty secret would let anyone sign.
    given = [text for text in dict.fromkeys(texts) if text]
    is_campfire = declared.scheme == "campfire"
    fitting = ("url", "bot") if is_campfire else () if declared.scheme == "github" or name == "api" else ("chat",)
    for field_name in ("url", "bot", "chat"):
        if getattr(declared, field_name) and field_name not in fitting:
            raise ValueError(f"{field_name!r} means nothing here")
    url = (declared.url or environment.get(CAMPFIRE_URL, "")).rstrip("/") if is_campfire else ""
    if url and not _URL.fullmatch(url):
        raise ValueError(f"{url!r} is no address such as https://campfire.example.com: `url`, or CAMPFIRE_URL")
    return Source(
        name=name,
        scheme=declared.scheme,
        secrets=tuple(text.encode() for text in given),
        events=None if declared.events is None else frozenset(declared.events),
        header=declared.header.lower().encode(),
        algorithm=declared.algorithm,
        encoding=declared.encoding,
        prefix=declared.prefix.encode(),
        event_header=declared.event_header.lower().encode(),
        delivery_header=declared.delivery_header.lower().encode(),
        bot=(declared.bot or name) if is_campfire else declared.chat,
        url=url,
        room_prefix=declared.room_prefix,
        verifiers=_verifiers(given) if declared.scheme == "standard" else (),
    )
