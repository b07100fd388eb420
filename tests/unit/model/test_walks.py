"""Random walks: Hypothesis chooses steps in a scenario that is too large to explore fully."""

from functools import cache

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.model.outcomes import OutcomeChecker
from tests.unit.model.world import Protocol, Scenario, World, in_memory_services

SCENARIO = Scenario(
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
    cancel=1,
    deadline=1,
    again=2,
)


@cache
def _protocol() -> Protocol:
    """One for all examples: it caches transitions, and nothing else."""
    return Protocol(SCENARIO)


class RefundSagaAndStarts(RuleBasedStateMachine):
    """One order: any steps in any order end with a documented outcome."""

    @initialize()
    def begin(self) -> None:
        """An order is paid."""
        self._memory = in_memory_services()
        self._memory.__enter__()
        self.protocol = _protocol()
        self.checker = OutcomeChecker(self.protocol)
        self.world: World = self.protocol.initial
        self.path: list[str] = []

    def _next(self) -> list[tuple[str, World]]:
        return [
            (name, other) for name, other in self.protocol.steps(self.world) if other != self.world
        ]

    @rule(data=st.data())
    def take_step(self, data: st.DataObject) -> None:
        """One of the possible steps, if there is any."""
        if possible := self._next():
            self._take(possible[data.draw(st.integers(0, len(possible) - 1))])

    def _take(self, step: tuple[str, World]) -> None:
        before = self.world
        name, self.world = step
        self.path.append(name)
        assert self.checker.illegal_transition(before, self.world) is None, self.path

    @invariant()
    def no_violation(self) -> None:
        """The world is not in a forbidden state."""
        assert self.checker.violation(self.world) is None, self.path

    def teardown(self) -> None:
        """No new requests: pending steps run to the end, and unanswered requests are repeated."""
        if not hasattr(self, "world"):
            return
        try:
            remaining = Scenario(ask=1000)
            self.world = self.world._replace(remaining=tuple(sorted(vars(remaining).items())))
            while possible := self._next():
                self._take(possible[0])
                self.no_violation()
            assert self.checker.outcome(self.world), (self.checker.describe(self.world), self.path)
        finally:
            self._memory.__exit__(None, None, None)


TestRefundSagaAndStarts = RefundSagaAndStarts.TestCase
TestRefundSagaAndStarts.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
