"""What the live layer is told: emergencies, the end of gateways, tokens out of force; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Rejected, conflict, invalid
from shared.messages.live import (
    CriticalFailureBroadcast,
    DeclareEmergency,
    Emergency,
    EmergencyShutdownWarning,
    GatewayAct,
    MaintenanceShutdown,
    RevokeTokens,
    SecurityEmergencyBroadcast,
    Shutdown,
    ShutDownGateway,
    SystemShutdown,
)

# A token lives for 7 days at most, and clocks differ: for so long it is known that one is out of force or was used.
TOKENS_KEPT = timedelta(days=8)
COUNTDOWN_SECONDS = 30
# An act is told with its own moment, unless a gateway's clock is that far off.
LATEST_ACT = timedelta(days=1)


def emergency(asked: DeclareEmergency, by: str) -> SecurityEmergencyBroadcast | CriticalFailureBroadcast:
    """What everyone is told; the words are those of the WebSocket design."""
    if asked.lane == "security_emergency":
        message, action = f"Security breach detected: {asked.subject}", "All agents: help defend or batten down hatches"
        event: type[SecurityEmergencyBroadcast | CriticalFailureBroadcast] = SecurityEmergencyBroadcast
    else:
        message, action = f"Critical service failure: {asked.subject}", "All repair agents please respond"
        event = CriticalFailureBroadcast
    action = asked.action_required or action
    return event(
        priority="critical",
        emergency=Emergency(lane=asked.lane, message=message, action_required=action, declared_by=by),
        message=message,
        action_required=action,
        details=asked.details,
    )


def shutdown(asked: ShutDownGateway, by: str) -> SystemShutdown | MaintenanceShutdown | EmergencyShutdownWarning:
    """The order to the gateways, as their clients are told of it.

    Raises `Rejected("invalid")` for a countdown in a mode that does not count down.
    """
    if asked.countdown_seconds and asked.mode != "emergency":
        raise invalid(
            f"`countdown_seconds` is for the mode 'emergency'; {asked.mode!r} shuts down at once",
            countdown_seconds=asked.countdown_seconds,
            mode=asked.mode,
        )
    seconds = 0
    if asked.mode == "emergency":
        seconds = COUNTDOWN_SECONDS if asked.countdown_seconds is None else asked.countdown_seconds
    order = Shutdown(
        mode=asked.mode,
        reason=asked.reason,
        gateway_id=asked.gateway_id,
        countdown_seconds=seconds,
        ordered_by=by,
    )
    why = f": {asked.reason}" if asked.reason else ""
    fields: dict[str, Any] = {"shutdown": order, "countdown_seconds": None}
    match asked.mode:
        case "clean":
            return SystemShutdown(**fields, priority="normal", message=f"The gateway shuts down{why}", urgency="low")
        case "maintenance":
            message = f"The gateway shuts down for maintenance{why}"
            return MaintenanceShutdown(**fields, priority="high", message=message, urgency="normal")
        case "emergency":
            fields["countdown_seconds"] = seconds
            message = f"The gateway shuts down in {seconds} s, for an emergency{why}"
            return EmergencyShutdownWarning(**fields, priority="critical", message=message, urgency="critical")


def whose(asked: RevokeTokens) -> tuple[str, str]:
    """What is put out of force: ("token", its id) or ("agent", its id). Raises `Rejected("invalid")` unless it is one.

    An agent's are those that were made until now; it may be given new ones.
    """
    if (asked.token_id is None) == (asked.agent_id is None):
        raise invalid(
            "name either `token_id`, for one token, or `agent_id`, for all that were made for an agent so far"
        )
    return ("token", asked.token_id) if asked.token_id is not None else ("agent", asked.agent_id or "")


def used_before(connection_id: str) -> Rejected:
    """A resume token that comes a second time: somebody has a copy of it."""
    return conflict(f"connection {connection_id!r} was resumed before", connection_id=connection_id)


def audited(acts: Sequence[GatewayAct], message_id: str, now: datetime) -> list[dict[str, Any]]:
    """The rows of the audit log for what happened at a gateway's door."""
    return [
        {
            "at": min(max(_moment(act), now - LATEST_ACT), now),
            "key": act.key,
            "agent_id": act.agent_id,
            "command": f"gateway.{act.act}",
            "message_id": message_id,
            "target": act.target,
            "outcome": act.outcome,
        }
        for act in acts
    ]


def _moment(act: GatewayAct) -> datetime:
    try:
        return datetime.fromisoformat(act.timestamp.upper())
    except ValueError as error:
        raise invalid(f"`timestamp` is not a moment: {error}", timestamp=act.timestamp) from None
