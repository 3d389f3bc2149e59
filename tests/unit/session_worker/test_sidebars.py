"""The rules of sidebars: which status may follow which, what is told of it, and whom a text mentions."""

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.session_worker import data_refs, merges, sidebars
from shared.errors import Rejected
from shared.messages import JsonText
from shared.messages.sidebar import Exchange, Sidebar, SidebarStatus
from shared.messages.sidebar_events import SidebarEvent, SidebarStatusUpdate
from tests.examples import examples

MOMENT = "2026-01-02T03:04:05.000006Z"
STATUSES: tuple[SidebarStatus, ...] = get_args(SidebarStatus)


def sidebar(status: SidebarStatus = "active", **fields: object) -> Sidebar:
    return Sidebar.trusted(
        {
            "sidebar_id": "sb", "session_id": "s", "parent_id": None, "forked_from": None, "child_sidebar_ids": [],
            "participants": ["ada", "bob", "c.arl"], "coordinator": None, "task_description": "t",
            "success_criteria": None, "status": status, "priority": "normal", "reason": None,
            "data_refs": JsonText(b"{}"), "cross_sidebar_refs": [], "waiting_for": None, "review_of": None,
            "exchange_count": 0, "success": None, "created": MOMENT, "last_activity": MOMENT, **fields,
        }
    )  # fmt: skip


def test_the_table_knows_every_status_and_leads_nowhere_else() -> None:
    assert set(sidebars.TRANSITIONS) == set(STATUSES)
    assert set().union(*sidebars.TRANSITIONS.values()) <= set(STATUSES)
    assert all(status not in following for status, following in sidebars.TRANSITIONS.items())


def test_what_is_archived_stays_that_and_what_is_merged_or_failed_can_be_put_away() -> None:
    assert not sidebars.TRANSITIONS["archived"]
    assert sidebars.TRANSITIONS["merged"] == {"archived"}
    assert sidebars.TRANSITIONS["failed"] == {"archived"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_wrong_move_names_the_status_what_was_wanted_and_what_is_allowed(status: SidebarStatus) -> None:
    for wanted in STATUSES:
        if wanted in sidebars.TRANSITIONS[status]:
            continue
        with pytest.raises(Rejected) as refusal:
            sidebars.moved(sidebar(status), wanted, reason=None, by="ada", moment=MOMENT)
        assert refusal.value.code == "conflict"
        allowed = sorted(sidebars.TRANSITIONS[status] - {"spawning_child"})
        assert refusal.value.details == {"sidebar_id": "sb", "status": status, "wanted": wanted, "allowed": allowed}
        assert status in refusal.value.message
        assert wanted in refusal.value.message


@pytest.mark.parametrize("status", ["spawning_child", "merged"])
def test_what_a_command_of_its_own_brings_about_is_not_set(status: SidebarStatus) -> None:
    with pytest.raises(Rejected, match=r"spawn_sidebar|merge_sidebar"):
        sidebars.set_status(sidebar(), status, reason="x", by="ada", moment=MOMENT)


@pytest.mark.parametrize("reason", [None, "", " "])
def test_a_failure_needs_a_reason(reason: str | None) -> None:
    with pytest.raises(Rejected) as refusal:
        sidebars.set_status(sidebar(), "failed", reason=reason, by="ada", moment=MOMENT)
    assert refusal.value.code == "invalid"


def test_setting_a_status_tells_what_its_own_command_tells() -> None:
    told = {
        status: [event.type for event in sidebars.set_status(given, status, reason="x", by="ada", moment=MOMENT)[1]]
        for given, status in ((sidebar(), "paused"), (sidebar("paused"), "active"), (sidebar("failed"), "archived"))
    }
    assert told == {
        "paused": ["sidebar_status_update", "sidebar_pause"],
        "active": ["sidebar_status_update", "sidebar_resume"],
        "archived": ["sidebar_status_update", "sidebar_archive"],
    }


def test_what_it_waits_for_is_forgotten_once_it_goes_on() -> None:
    waiting = sidebar("waiting", waiting_for="human_input")
    active, _ = sidebars.resume(waiting, reason=None, by="ada", moment=MOMENT)
    assert active.waiting_for is None


@pytest.mark.parametrize("status", ["testing", "reviewing", "consolidating", "merged"])
def test_what_waits_need_not_be_resumed_first(status: SidebarStatus) -> None:
    waiting = sidebar("waiting", waiting_for="human_input")
    if status == "merged":
        after, _ = sidebars.merge(waiting, success=True, by="ada", moment=MOMENT)
    else:
        after, _ = sidebars.set_status(waiting, status, reason=None, by="ada", moment=MOMENT)
    assert (after.status, after.waiting_for) == (status, None)


def test_what_is_paused_is_resumed_first() -> None:
    for status in ("testing", "waiting", "reviewing", "consolidating"):
        with pytest.raises(Rejected, match="active, archived, failed"):
            sidebars.set_status(sidebar("paused"), status, reason=None, by="ada", moment=MOMENT)
    with pytest.raises(Rejected, match="active, archived, failed"):
        sidebars.merge(sidebar("paused"), success=True, by="ada", moment=MOMENT)


class Life(RuleBasedStateMachine):
    """Whatever is asked of a sidebar, it moves along the table, and every move is told."""

    def __init__(self) -> None:
        super().__init__()
        self.sidebar = sidebar()
        self.path: list[SidebarStatus] = ["active"]
        self.merges = 0

    def did(self, done: tuple[Sidebar, list[SidebarEvent]]) -> None:
        before, (self.sidebar, events) = self.sidebar, done
        updates = [event for event in events if isinstance(event, SidebarStatusUpdate)]
        for update in updates:
            assert update.old_status == self.path[-1]
            assert update.sidebar.status == update.new_status
            self.path.append(update.new_status)
        if self.sidebar.status == before.status:
            assert not events
        assert before.status != "archived" or not events

    @rule(status=st.sampled_from(STATUSES), reason=st.sampled_from([None, "because"]))
    def set_status(self, status: SidebarStatus, reason: str | None) -> None:
        try:
            self.did(sidebars.set_status(self.sidebar, status, reason=reason, by="ada", moment=MOMENT))
        except Rejected as refusal:
            assert refusal.code in ("conflict", "invalid")

    @rule(what=st.sampled_from(["pause", "resume", "archive", "merge", "spawn"]), success=st.booleans())
    def do(self, what: str, success: bool) -> None:
        given, by = self.sidebar, "ada"
        try:
            match what:
                case "pause":
                    self.did(sidebars.pause(given, reason=None, resume_condition=None, by=by, moment=MOMENT))
                case "resume":
                    self.did(sidebars.resume(given, reason=None, by=by, moment=MOMENT))
                case "archive":
                    self.did(sidebars.archive(given, reason=None, by=by, moment=MOMENT))
                case "merge":
                    self.did(sidebars.merge(given, success=success, by=by, moment=MOMENT))
                    self.merges += 1
                case "spawn":
                    spawning, there = sidebars.moved(given, "spawning_child", reason=None, by=by, moment=MOMENT)
                    after, back = sidebars.moved(spawning, given.status, reason=None, by=by, moment=MOMENT)
                    self.path += [there[0].sidebar.status, back[0].sidebar.status]
                    self.sidebar = after
        except Rejected as refusal:
            assert refusal.code == "conflict"

    @invariant()
    def it_went_along_the_table(self) -> None:
        assert self.path[-1] == self.sidebar.status
        for before, after in zip(self.path, self.path[1:], strict=False):
            assert after in sidebars.TRANSITIONS[before]
        assert self.merges == self.path.count("merged") <= 1
        assert (self.sidebar.success is not None) == ("merged" in self.path)
        assert self.sidebar.status != "spawning_child"


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("@ada and @bob", ["ada", "bob"]),
        ("(@bob), @bob!", ["bob"]),
        ("@c.arl. Look", ["c.arl"]),
        ("mail to x@bob or bob@ada.org", []),
        ("`@ada` and ``a ` @bob``", []),
        ("```\n@ada\n``` then @bob", ["bob"]),
        ("```\n@ada never closed", []),
        ("@eve takes no part", []),
    ],
)
def test_a_mention_is_of_a_participant_and_not_in_code_or_addresses(text: str, agents: list[str]) -> None:
    assert sidebars.mentioned(text, sidebar(), "someone") == agents


def test_nobody_mentions_himself() -> None:
    assert sidebars.mentioned("@ada @bob", sidebar(), "ada") == ["bob"]


def test_references_are_united_as_they_were_written() -> None:
    known, others = JsonText(b'{"a":1e2,"b":[ 1 ]}'), JsonText(b'{ "b": 2.0, "c": null }')
    assert data_refs.united(known, others).text == b'{"a":1e2,"b":2.0,"c":null}'
    assert data_refs.new_in(known, others).text == b'{"b":2.0,"c":null}'
    assert data_refs.united(known, data_refs.NONE) is known
    assert data_refs.new_in(known, known).text == b"{}"


@pytest.mark.parametrize("given", [b"[]", b'"x"', b"1"])
def test_references_are_an_object(given: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        data_refs.checked(JsonText(given))
    assert refusal.value.code == "invalid"


def test_references_take_a_bounded_room() -> None:
    half = b"x" * (data_refs.MAX_BYTES // 2)
    with pytest.raises(Rejected) as refusal:
        data_refs.united(JsonText(b'{"a":"%s"}' % half), JsonText(b'{"b":"%s"}' % half))
    assert refusal.value.code == "too_large"


def exchange(seq: int, text: str) -> Exchange:
    return Exchange.trusted(
        {
            "exchange_id": str(seq), "sidebar_id": "sb", "seq": seq, "kind": "post", "author": "ada", "text": text,
            "data_refs": data_refs.NONE, "mentions": [], "origin_sidebar_id": None, "message_id": "m",
            "created": MOMENT,
        }
    )  # fmt: skip


def test_an_event_of_a_merge_holds_the_last_that_was_said() -> None:
    short = [exchange(seq, "x") for seq in range(1, 301)]
    assert [each.seq for each in merges.fitting(short)] == [*range(101, 301)]
    long = [exchange(seq, "x" * 90_000) for seq in range(1, 5)]
    assert [each.seq for each in merges.fitting(long)] == [3, 4]
    assert [each.seq for each in merges.fitting([exchange(1, "x" * 100_000 * 3)])] == [1]


def test_findings_are_read_by_people_as_text_or_as_their_json() -> None:
    merged = sidebar("merged", success=True)
    assert merges.summary(merged, JsonText(b'"two clocks"')).endswith("\n\ntwo clocks")
    assert merges.summary(merged, JsonText(b'{"n":1e2}')).endswith('{"n":1e2}')
    assert merges.summary(merged, merges.NOTHING) == "Sidebar sb was merged, its criteria were met: t"
