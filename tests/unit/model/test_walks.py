"""Longer lives than can be walked exhaustively: Hypothesis chooses what happens next."""

from functools import cache

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.model.outcomes import Judge
from tests.unit.model.world import Protocol, Scenario, World, over_memory

LIFE = Scenario(
    start=3,
    fallback=2,
    refund=3,
    part=2,
    decline=2,
    silence=2,
    ask=3,
    lose=2,
    twice=2,
    revoke=1,
    suspend=2,
    reinstate=2,
    reissue=1,
    expire=1,
    complete=1,
    again=2,
)


@cache
def _protocol() -> Protocol:
    """One for all examples: it remembers what handlers make of a state, and nothing else."""
    return Protocol(LIFE)


class RefundSagaAgainstStarts(RuleBasedStateMachine):
    """One order: whatever happens in whatever order, it ends in a documented outcome."""

    @initialize()
    def begin(self) -> None:
        """An order is paid; everything else is to come."""
        self._memory = over_memory()
        self._memory.__enter__()
        self.protocol = _protocol()
        self.judge = Judge(self.protocol)
        self.world: World = self.protocol.first
        self.way: list[str] = []

    def _next(self) -> list[tuple[str, World]]:
        return [
            (name, other) for name, other in self.protocol.steps(self.world) if other != self.world
        ]

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """One step of those that are possible, if any is."""
        if possible := self._next():
            self._take(possible[data.draw(st.integers(0, len(possible) - 1))])

    def _take(self, step: tuple[str, World]) -> None:
        before = self.world
        name, self.world = step
        self.way.append(name)
        assert self.judge.misstep(before, self.world) is None, self.way

    @invariant()
    def nothing_is_wrong(self) -> None:
        """What must never be, isn't."""
        assert self.judge.wrong(self.world) is None, self.way

    def teardown(self) -> None:
        """People stop; what is under way goes on to its end, and a refund without answer asks."""
        if not hasattr(self, "world"):
            return
        try:
            quiet = Scenario(ask=1000)
            self.world = self.world._replace(left=tuple(sorted(vars(quiet).items())))
            while possible := self._next():
                self._take(possible[0])
                self.nothing_is_wrong()
            assert self.judge.outcome(self.world), (self.judge.describe(self.world), self.way)
        finally:
            self._memory.__exit__(None, None, None)


TestRefundSagaAgainstStarts = RefundSagaAgainstStarts.TestCase
TestRefundSagaAgainstStarts.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
