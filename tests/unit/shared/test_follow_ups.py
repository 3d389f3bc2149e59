"""Commands that follow from a command: what they carry, and how they are kept."""

import orjson
import pytest

from shared.bus.follow_ups import FollowUp, commands_of, follow_up_id
from shared.bus.publications import Publication, kept_publications, publications
from shared.messages import JsonText, decode_command, encode_command
from shared.messages.envelope import MAX_HOPS

NEXT = FollowUp("create_session", {"session_id": "s2"})


def cause(name="create_session", data=None, **envelope):
    sent = encode_command(name, data or {"session_id": "s1"}, message_id="m1", sender_agent_id="ada", **envelope)
    return decode_command(sent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def test_a_follow_up_says_what_caused_it_and_is_one_hop_further():
    (sent,) = commands_of(cause(hops=3, trust="untrusted", priority="high", caller="ci", by_admin=True), [NEXT])
    command = decode_command(sent.body.encode(), sent.traceparent)
    assert (command.spec.name, command.data.session_id, sent.routing_key) == (
        "create_session",
        "s2",
        "session.create_session",
    )
    assert (command.correlation_id, command.hops, command.trust) == ("m1", 4, "untrusted")
    assert command.traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert (command.sender_agent_id, command.priority, command.caller, command.by_admin) == (
        "system",
        "normal",
        None,
        False,
    )
    assert sent.exchange == "switchyard.commands"


def test_a_follow_up_may_be_sent_in_an_agents_name_with_a_priority_of_its_own():
    (sent,) = commands_of(cause(), [FollowUp("create_session", JsonText(b'{"initial":{"n":1e2}}'), "bob", "high")])
    assert '"initial":{"n":1e2}' in sent.body
    command = decode_command(sent.body.encode())
    assert (command.sender_agent_id, command.priority) == ("bob", "high")


def test_the_same_command_has_the_same_follow_ups_each_with_an_id_of_its_own():
    first, again = (commands_of(cause(), [NEXT, NEXT, NEXT]) for _ in range(2))
    assert [each.message_id for each in first] == [each.message_id for each in again]
    assert len({each.message_id for each in first} | {follow_up_id("m2", 0)}) == 4
    assert first[1].message_id == orjson.loads(first[1].body)["message_id"] == follow_up_id("m1", 1)


@pytest.mark.parametrize(("hops", "sent"), [(MAX_HOPS - 2, 1), (MAX_HOPS - 1, 0)])
def test_what_nobody_would_run_is_not_sent(hops, sent):
    assert len(commands_of(cause(hops=hops), [NEXT])) == sent


def test_what_follows_from_a_webhook_is_untrusted():
    data = {"source": "github", "delivery_id": "d1", "event": "push", "payload": {}}
    (sent,) = commands_of(cause("receive_webhook", data), [NEXT])
    assert decode_command(sent.body.encode()).trust == "untrusted"


def test_messages_are_kept_as_they_are():
    sent = [Publication("a.b", '{"x":1e2,"é":"\\u00e9"}', "m1", "trace"), *commands_of(cause(), [NEXT])]
    kept = kept_publications(sent)
    assert kept is not None
    assert publications(str(kept)) == sent
    assert kept_publications([]) is None
    assert publications(None) == []


def test_records_from_before_there_were_follow_ups_are_events():
    (event,) = publications('[["a.b",{"x":1},"m1",""]]')
    assert event == Publication("a.b", '{"x":1}', "m1", "", "switchyard.events")
    assert str(kept_publications([event])) == '[["a.b",{"x":1},"m1",""]]'
