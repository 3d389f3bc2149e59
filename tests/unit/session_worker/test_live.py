"""What emergencies and shutdowns say."""

import pytest

from services.session_worker import live
from shared.errors import Rejected
from shared.messages.live import DeclareEmergency, RevokeTokens, ShutDownGateway


@pytest.mark.parametrize(
    ("lane", "type", "message", "action"),
    [
        (
            "security_emergency",
            "security_emergency_broadcast",
            "Security breach detected: a leaked key",
            "All agents: help defend or batten down hatches",
        ),
        (
            "critical_failure",
            "critical_failure_broadcast",
            "Critical service failure: a leaked key",
            "All repair agents please respond",
        ),
    ],
)
def test_each_lane_has_words_of_its_own(lane, type, message, action):
    event = live.emergency(DeclareEmergency(lane=lane, subject="a leaked key"), "ada")
    assert (event.type, event.message, event.action_required) == (type, message, action)
    assert (event.priority, event.priority_lane, event.emergency.declared_by) == ("critical", True, "ada")


def test_who_declares_an_emergency_may_say_what_to_do():
    asked = DeclareEmergency(lane="critical_failure", subject="x", action_required="Stop writing")
    assert live.emergency(asked, "ada").action_required == "Stop writing"


@pytest.mark.parametrize(
    ("mode", "given", "type", "priority", "urgency", "ordered", "told"),
    [
        ("clean", None, "system_shutdown", "normal", "low", 0, None),
        ("maintenance", 0, "maintenance_shutdown", "high", "normal", 0, None),
        ("emergency", None, "emergency_shutdown_warning", "critical", "critical", 30, 30),
        ("emergency", 5, "emergency_shutdown_warning", "critical", "critical", 5, 5),
    ],
)
def test_each_mode_of_shutdown_has_its_event(mode, given, type, priority, urgency, ordered, told):
    event = live.shutdown(ShutDownGateway(mode=mode, countdown_seconds=given, reason="a new disk"), "ada")
    assert (event.type, event.priority, event.urgency) == (type, priority, urgency)
    assert (event.shutdown.countdown_seconds, event.countdown_seconds) == (ordered, told)
    assert event.message.endswith(": a new disk")


def test_only_an_emergency_counts_down():
    with pytest.raises(Rejected, match="is for the mode 'emergency'; 'clean' shuts down at once"):
        live.shutdown(ShutDownGateway(countdown_seconds=5), "ada")


def test_tokens_are_revoked_one_by_one_or_all_of_an_agent():
    assert live.whose(RevokeTokens(token_id="t")) == ("token", "t")
    assert live.whose(RevokeTokens(agent_id="ada")) == ("agent", "ada")
    for wrong in (RevokeTokens(), RevokeTokens(token_id="t", agent_id="ada")):
        with pytest.raises(Rejected, match="name either"):
            live.whose(wrong)
