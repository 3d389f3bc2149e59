"""The live layer: presence, emergencies, shutdown, and what the gateway reports of its connections."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Label, Model
from shared.messages.json_text import JsonText
from shared.messages.memory import Moment
from shared.messages.registry import command

PresenceStatus = Literal["online", "working", "idle", "offline"]
Lane = Literal["security_emergency", "critical_failure"]
ShutdownMode = Literal["clean", "maintenance", "emergency"]
Urgency = Literal["critical", "normal", "low"]


class Emergency(Model):
    """What everyone who is connected was told at once."""

    lane: Lane
    message: str
    action_required: str
    declared_by: str


class Shutdown(Model):
    """An order to the gateways; `gateway_id` null: to all of them."""

    mode: ShutdownMode
    reason: str
    gateway_id: str | None
    countdown_seconds: int
    ordered_by: str


@command(
    "sidebar",
    result={"emergency": Emergency},
    needs_session=False,
    scope="admin",
    example={"lane": "critical_failure", "subject": "the payments database", "details": {"since": "12:04"}},
)
class DeclareEmergency(CommandData):
    """Tell everyone who is connected, before anything else that waits: of a security breach, or of a service's failure.

    `subject` is the threat or the service.
    """

    lane: Lane
    subject: Annotated[str, Field(min_length=1, max_length=500)]
    action_required: Label | None = None
    details: JsonText | None = None


@command(
    "sidebar",
    result={"shutdown": Shutdown},
    needs_session=False,
    scope="admin",
    destructive=True,
    example={"mode": "maintenance", "reason": "a new version", "gateway_id": "none-of-that-name"},
)
class ShutDownGateway(CommandData):
    """Let gateways tell their clients, close every socket with 1012 and end; their supervisor starts them anew.

    `clean` is quiet, `maintenance` says why, `emergency` counts down from `countdown_seconds`.
    """

    mode: ShutdownMode = "clean"
    reason: Label = ""
    gateway_id: Id | None = None
    countdown_seconds: Annotated[int, Field(ge=0, le=600)] | None = None


@command("sidebar", result={"used": bool}, public=False, needs_session=False)
class UseResumeToken(CommandData):
    """Note that a connection was resumed by another. Refused as a conflict when it was before."""

    connection_id: Id
    agent_id: Id
    resumed_as: Id


@command("sidebar", result={"presences": list[Any], "next": str | None}, reads=True, public=False)
class ListPresences(CommandData):
    """The last `agent_presence` of each agent that is there by it, by agent; `next` is the `after` of the next page."""

    after: Id | None = None
    limit: Annotated[int, Field(ge=1, le=5000)] = 2000


class GatewayAct(Model):
    """Something that happened at a gateway's door, for the audit log."""

    timestamp: Moment
    key: Id
    agent_id: Id
    act: Literal["connect", "refuse", "subscribe", "resume", "shutdown"]
    # The connection's id, or what else the act was about.
    target: Annotated[str, Field(max_length=500)]
    outcome: Annotated[str, Field(max_length=200)]


@command("sidebar", result={"kept": int}, public=False, needs_session=False)
class RecordGatewayActs(CommandData):
    """Keep what happened at a gateway's door in the audit log."""

    acts: Annotated[list[GatewayAct], Field(min_length=1, max_length=500)]


@command(
    "session",
    result={"revoked": str},
    needs_session=False,
    scope="admin",
    destructive=True,
    idempotent=True,
    example={"agent_id": "claude", "reason": "its laptop was lost"},
)
class RevokeTokens(CommandData):
    """Put WebSocket tokens out of force and close their connections: one by its id, or all made for an agent so far."""

    token_id: Id | None = None
    agent_id: Id | None = None
    reason: Label | None = None


class RevokedTokens(Model):
    """Tokens out of force: one by its id (JWT `jti`), or an agent's made until a moment (seconds since 1970)."""

    token_id: str | None
    agent_id: str | None
    made_until: float


class TokensRevoked(Event):
    """WebSocket tokens were put out of force."""

    topic: ClassVar = "system.tokens_revoked"
    type: Literal["tokens_revoked"] = "tokens_revoked"
    tokens: RevokedTokens
    reason: str | None


class AgentPresence(Event):
    """An agent has come, gone, or does something else than before. Published by the gateways."""

    topic: ClassVar = "agent.{agent_id}.presence"
    type: Literal["agent_presence"] = "agent_presence"
    agent_id: str
    status: PresenceStatus
    current_context: str
    active_sidebars: list[str]
    specialties: list[str]


class SystemShutdown(Event):
    """Gateways shut down, quietly."""

    topic: ClassVar = "system.shutdown"
    type: Literal["system_shutdown"] = "system_shutdown"
    shutdown: Shutdown
    message: str
    countdown_seconds: int | None
    urgency: Urgency


class MaintenanceShutdown(Event):
    """Gateways shut down for maintenance."""

    topic: ClassVar = "system.shutdown"
    type: Literal["maintenance_shutdown"] = "maintenance_shutdown"
    shutdown: Shutdown
    message: str
    countdown_seconds: int | None
    urgency: Urgency


class EmergencyShutdownWarning(Event):
    """Gateways shut down in so many seconds; each repeats it to its clients as the time runs out."""

    topic: ClassVar = "system.shutdown"
    type: Literal["emergency_shutdown_warning"] = "emergency_shutdown_warning"
    shutdown: Shutdown
    message: str
    countdown_seconds: int | None
    urgency: Urgency


class SecurityEmergencyBroadcast(Event):
    """A security breach: reaches everyone who is connected, before all that waits."""

    topic: ClassVar = "system.security_emergency"
    type: Literal["security_emergency_broadcast"] = "security_emergency_broadcast"
    emergency: Emergency
    message: str
    action_required: str
    details: JsonText | None
    priority_lane: Literal[True] = True


class CriticalFailureBroadcast(Event):
    """A critical service has failed: reaches everyone who is connected, before all that waits."""

    topic: ClassVar = "system.critical_failure"
    type: Literal["critical_failure_broadcast"] = "critical_failure_broadcast"
    emergency: Emergency
    message: str
    action_required: str
    details: JsonText | None
    priority_lane: Literal[True] = True


class SecurityAlert(Event):
    """Something at a gateway's door looks like an attack; for admins alone. Published by the gateways."""

    topic: ClassVar = "system.security_alert"
    type: Literal["security_alert"] = "security_alert"
    what: Literal[
        "resume_token_altered",
        "resume_token_foreign",
        "resume_token_expired",
        "resume_token_reused",
        "flooding",
        "connection_flood",
    ]
    agent_id: str | None
    connection_id: str | None
    address: str
    detail: str


class UnacknowledgedUpdates(Event):
    """An agent has not acknowledged critical updates though it was asked twice; for admins alone."""

    topic: ClassVar = "system.unacknowledged"
    type: Literal["unacknowledged_updates"] = "unacknowledged_updates"
    agent_id: str
    connection_id: str
    missing: list[str]
    waited_s: float
