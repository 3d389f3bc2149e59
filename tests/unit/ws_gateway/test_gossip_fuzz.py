"""Gossip of whatever kind does no lasting harm."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ws_gateway.agents.bulletins import Ask, Beat, Bye, Delta, Full, encode
from services.ws_gateway.agents.roster import Seat, Words
from tests.examples import examples
from tests.unit.ws_gateway.town import Town

gateways = st.sampled_from(["a", "b", "x", "y"])
agents = st.sampled_from(["ana", "bob", ""])
connections = st.sampled_from(["c0001", "c0002", "c9", ""])
numbers = st.integers(-1, 4)
seats = st.builds(
    Seat, connections, agents, st.sampled_from(["human", "agent"]), st.sampled_from(["observer", "active"]),
    st.floats(0, 2000), st.none() | connections,
)  # fmt: skip
words = st.builds(Words, agents, st.floats(0, 2000), sidebars=st.just(("s1",)), is_active=st.booleans())
me = {"gateway_id": gateways, "incarnation": st.integers(0, 3)}
few_seats, few_words = st.lists(seats, max_size=4), st.lists(words, max_size=3)
void = st.lists(st.tuples(gateways, st.integers(0, 3)), max_size=2)
messages = st.one_of(
    st.builds(Beat, **me, version=numbers, may_tell=st.booleans(), void=void),
    st.builds(
        Delta, **me, version=numbers, seats=few_seats, free=st.lists(connections, max_size=2), words=few_words
    ),
    st.builds(
        Full, **me, version=numbers, part=numbers, parts=numbers, seats=few_seats, words=few_words,
        told=st.dictionaries(agents, st.sampled_from(["m1", "m2"]), max_size=2),
    ),
    st.builds(Ask, **me, of=st.none() | gateways),
    st.builds(Bye, **me),
)  # fmt: skip


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(messages.map(encode) | st.binary(max_size=20), max_size=25))
def test_forged_gossip_raises_nothing_and_is_overcome(said: list[bytes]) -> None:
    town = Town("a", "b")
    town.come("ana", "a", kind="human")
    town.come("bob", "b", kind="human")
    town.pass_time(2)
    for body in said:
        town.say(body)
        town.pass_time(0.1)
    # The next whole states come within the minute; seats that were forged are gone by then.
    town.pass_time(70)
    assert all(gateway.view == town.truth for gateway in town.gateways.values())
