"""All interleavings of the real event handlers and use cases for one paid order.

Events are delivered in any order, late or repeatedly; processes crash between any two steps; a
customer starts the interview, validated by payment or from the local cache, and completes it,
cancels it or lets its time run out; operators refund, revoke, suspend, reinstate and reissue; the
code expires. At every end, both services agree on one of the documented outcomes. Then each rule of
the protocol is disabled in turn, and the exploration finds the failure that the rule prevents.
"""

import os

import pytest

from tests.unit.model import refund_rules, start_rules
from tests.unit.model.exploration import Exploration, explore
from tests.unit.model.outcomes import OutcomeChecker
from tests.unit.model.rules import Rule
from tests.unit.model.world import Protocol, Scenario, World, in_memory_services

# For `make explore`, which takes minutes: above all the steps of the other scenarios together.
EVERYTHING = {
    "everything": Scenario(
        start=1,
        fallback=1,
        refund=1,
        decline=1,
        silence=1,
        revoke=1,
        suspend=1,
        reinstate=1,
        expire=1,
        complete=1,
        idle_ask=1,
    ),
    "two refunds and a start after the expiry": Scenario(
        late_start=1, refund=2, expire=1, again=1, complete=1, decline=1, idle_ask=2
    ),
    "every end of an interview": Scenario(
        start=1,
        fallback=1,
        refund=2,
        decline=1,
        revoke=1,
        again=1,
        complete=1,
        cancel=1,
        deadline=1,
        idle_ask=2,
    ),
}
SCENARIOS = {
    "refund against start": Scenario(start=1, fallback=1, refund=1, complete=1, decline=1),
    "refund after a reverted start": Scenario(start=1, revoke=1, refund=2, again=1, idle_ask=2),
    "two refunds": Scenario(start=1, refund=2, decline=1, ask=1),
    "revocation against start": Scenario(
        start=1, fallback=1, revoke=1, refund=1, complete=1, idle_ask=1
    ),
    "refund after a cancelled interview": Scenario(
        start=1, revoke=1, refund=2, cancel=1, decline=1, idle_ask=2
    ),
    "refund after the deadline": Scenario(start=1, revoke=1, refund=1, deadline=1, idle_ask=1),
    "a start after the expiry, cancelled": Scenario(
        late_start=1, refund=1, expire=1, cancel=1, idle_ask=1
    ),
    "expiry against start": Scenario(start=1, fallback=1, refund=1, expire=1, again=1),
    "a start after the expiry": Scenario(late_start=1, refund=1, expire=1, complete=1, idle_ask=1),
    "suspension": Scenario(start=1, suspend=1, reinstate=1, refund=1, decline=1),
    "reissue": Scenario(start=1, fallback=1, reissue=1, refund=1),
    "lost requests and answers": Scenario(start=1, refund=1, lose=1, ask=2),
    "all operators": Scenario(
        start=1, revoke=1, suspend=1, reinstate=1, refund=1, again=1, idle_ask=1
    ),
    "partial refunds": Scenario(start=1, part=2, refund=1, decline=1),
    "an event that is handled twice": Scenario(
        start=1, refund=1, decline=1, revoke=1, twice=1, idle_ask=1
    ),
}

if os.environ.get("EXPLORE") == "everything":
    SCENARIOS |= EVERYTHING


def explore_scenario(
    scenario: Scenario, *, allow_waiting: bool = False
) -> tuple[Exploration[World], str]:
    """Explores a scenario; returns the result and a message, "" without a failure."""
    protocol = Protocol(scenario)
    checker = OutcomeChecker(protocol, allow_waiting=allow_waiting)
    result = explore(
        protocol.initial,
        protocol.steps,
        checker.illegal_transition,
        checker.violation,
        checker.outcome,
    )
    if not result.failure:
        return result, ""
    problem, path, world = result.failure
    return result, f"{problem} ({checker.describe(world)}) after: {' | '.join(path)}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_interleaving_ends_with_a_documented_outcome(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No order of deliveries, crashes and requests leads to another outcome."""
    with in_memory_services():
        result, message = explore_scenario(SCENARIOS[name])
    with capsys.disabled():
        print(  # noqa: T201  the size of the exploration is information for people
            f"\n{name}: {result.interleavings:,} interleavings,"
            f" {result.worlds:,} worlds, {result.steps:,} steps, {dict(result.ends)}"
        )
    assert not message
    assert result.interleavings > 1


@pytest.mark.parametrize(
    "rule", [*start_rules.RULES, *refund_rules.RULES], ids=lambda rule: rule.name
)
def test_the_exploration_fails_without_the_rule(
    rule: Rule, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each rule is necessary, and the exploration detects that it is missing."""
    with in_memory_services() as patch:
        if rule.disable:
            _, before = explore_scenario(rule.scenario, allow_waiting=rule.allow_waiting)
            assert not before
            rule.disable(patch)
        _, after = explore_scenario(rule.scenario, allow_waiting=rule.allow_waiting)
    assert after
    with capsys.disabled():
        print(f"\nwithout '{rule.name}': {after}")  # noqa: T201
