"""Whatever happens in whatever order, all gateways come to see the same, and that is what the log says in the end."""

import random
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from tests.examples import examples
from tests.unit.ws_gateway.town import GRACE, Town, states

AGENTS = ["ana", "bob", "cid"]


class RoughTown(Town):
    """A town whose network loses, delays, repeats and reorders what is said, unless it is calm."""

    def __init__(self, *gateway_ids: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.is_calm = True
        self.late: list[tuple[float, str, bytes]] = []
        super().__init__(*gateway_ids)

    def say(self, body: bytes) -> None:
        for gateway_id in self.gateways:
            if self.is_calm:
                self.gateways[gateway_id].inbox.append(body)
                continue
            fate = self.chance.random()
            if fate > 0.2:
                self.late.append((self.now + self.chance.choice([0, 0, 0, 0.2, 0.5]), gateway_id, body))
            if fate > 0.9:
                self.late.append((self.now + self.chance.random(), gateway_id, body))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            due = [said for said in self.late if said[0] <= self.now]
            self.late = [said for said in self.late if said[0] > self.now]
            self.chance.shuffle(due)
            for _, gateway_id, body in due:
                if (gateway := self.gateways.get(gateway_id)) is not None and not gateway.is_cut_off:
                    gateway.inbox.append(body)
            super().pass_time(0.1)


class Chaos(RuleBasedStateMachine):
    """Agents come and go, gateways start, die, stall and lose the broker; then all is calm."""

    connections = Bundle("connections")

    @initialize(seed=st.integers(0, 10**6))
    def begin(self, seed: int) -> None:
        self.town = RoughTown("a", "b", "c", seed=seed)
        self.town.pass_time(2.5)
        self.names = iter("defghijklmnop")

    def gateway(self, number: int) -> str:
        return sorted(self.town.gateways)[number % len(self.town.gateways)]

    @rule(target=connections, agent=st.sampled_from(AGENTS), number=st.integers(0, 2), human=st.booleans())
    def come(self, agent: str, number: int, human: bool) -> str:
        return self.town.come(
            f"{agent}-h" if human else agent, self.gateway(number), kind="human" if human else "agent"
        )

    @rule(target=connections, old=connections, number=st.integers(0, 2))
    def resume(self, old: str, number: int) -> object:
        if old not in self.town.seats or self.town.seats[old][1].endswith("-h"):
            return multiple()
        return self.town.come(self.town.seats[old][1], self.gateway(number), instead_of=old)

    @rule(connection=consumes(connections))
    def go(self, connection: str) -> None:
        if connection in self.town.seats:
            self.town.go(connection)

    @rule(connection=connections, status=st.sampled_from(["online", "working", "idle"]))
    def report(self, connection: str, status: str) -> None:
        if connection in self.town.seats:
            self.town.report(connection, status=status)

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 2.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.town.pass_time(seconds)

    @rule(rough=st.booleans())
    def weather(self, rough: bool) -> None:
        self.town.is_calm = not rough

    @rule(number=st.integers(0, 2), politely=st.booleans())
    def end(self, number: int, politely: bool) -> None:
        name = self.gateway(number)
        (self.town.stop if politely and not self.town.gateways[name].is_cut_off else self.town.kill)(name)
        if len(self.town.gateways) < 2:
            self.town.start(next(self.names, "z"))

    @rule(number=st.integers(0, 2))
    def stall_or_go_on(self, number: int) -> None:
        gateway = self.town.gateways[self.gateway(number)]
        gateway.is_stalled = not gateway.is_stalled

    @rule(number=st.integers(0, 2))
    def cut_off_or_join_again(self, number: int) -> None:
        gateway = self.town.gateways[self.gateway(number)]
        if gateway.is_cut_off:
            gateway.join_again()
        else:
            gateway.cut_off()

    @rule(number=st.integers(0, 2))
    def follow_the_log_or_not(self, number: int) -> None:
        gateway = self.town.gateways[self.gateway(number)]
        gateway.follows = not gateway.follows

    def teardown(self) -> None:
        town = self.town
        town.is_calm = True
        for gateway in town.gateways.values():
            gateway.is_stalled, gateway.follows = False, True
            if gateway.is_cut_off:
                gateway.join_again()
        town.pass_time(12 + 2 * GRACE)
        said = {name: gateway.view for name, gateway in town.gateways.items()}
        assert all(view == town.truth for view in said.values()), (said, town.truth)
        # Every seat is one an agent may have.
        for agent_id, seats in town.truth.items():
            assert len(seats) <= (5 if agent_id.endswith("-h") else 1)
        there = {agent_id for agent_id, status in states(town).items() if status != "offline"}
        assert there == set(town.truth)
        # What is told differs from what was told before.
        for agent_id in {event.agent_id for event in town.log}:
            told = [event for event in town.log if event.agent_id == agent_id]
            for earlier, later in pairwise(told):
                assert (earlier.status, earlier.current_context) != (later.status, later.current_context)


Chaos.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestChaos = Chaos.TestCase
