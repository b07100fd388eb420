"""One order, and all that can happen to it: every interleaving of the real handlers.

Deliveries come in any order, late or again; processes crash between any two steps; a customer
starts the interview, asked of payment or by the local cache; operators refund, revoke, suspend,
reinstate and reissue; the clock passes the code's end. Wherever it ends, both domains agree on one
of the documented outcomes. Then each rule of the protocol is taken away in turn, and the walk finds
the bad end that the rule is there to prevent.
"""

import os

import pytest

from tests.unit.model import refund_rules, start_rules
from tests.unit.model.exploration import Found, explore
from tests.unit.model.outcomes import Judge
from tests.unit.model.rules import Rule
from tests.unit.model.world import Protocol, Scenario, World, over_memory

# Minutes of work, for `make explore`: what the others do in parts, together.
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
    ),
}
SCENARIOS = {
    "refund against start": Scenario(start=1, fallback=1, refund=1, complete=1, decline=1),
    "refund after an undone start": Scenario(start=1, revoke=1, refund=2, again=1),
    "two refunds": Scenario(start=1, refund=2, decline=1, ask=1),
    "revocation against start": Scenario(start=1, fallback=1, revoke=1, refund=1, complete=1),
    "expiry against start": Scenario(start=1, fallback=1, refund=1, expire=1, again=1),
    "suspension": Scenario(start=1, suspend=1, reinstate=1, refund=1, decline=1),
    "reissue": Scenario(start=1, fallback=1, reissue=1, refund=1),
    "lost questions and answers": Scenario(start=1, refund=1, lose=1, ask=2),
    "all operators": Scenario(start=1, revoke=1, suspend=1, reinstate=1, refund=1, again=1),
    "parts": Scenario(start=1, part=2, refund=1, decline=1),
    "an inbox that forgets": Scenario(start=1, refund=1, decline=1, revoke=1, twice=1),
}

if os.environ.get("EXPLORE") == "everything":
    SCENARIOS |= EVERYTHING


def walk(scenario: Scenario, *, patient: bool = False) -> tuple[Found[World], str]:
    """Explores all that may happen in a scenario; and what is bad, for a person to read."""
    protocol = Protocol(scenario)
    judge = Judge(protocol, patient=patient)
    found = explore(protocol.first, protocol.steps, judge.misstep, judge.wrong, judge.outcome)
    if not found.bad:
        return found, ""
    problem, way, world = found.bad
    return found, f"{problem} ({judge.describe(world)}) after: {' | '.join(way)}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_interleaving_ends_as_documented(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No order of deliveries, crashes and people leads to a state that nobody wanted."""
    with over_memory():
        found, bad = walk(SCENARIOS[name])
    with capsys.disabled():
        print(  # noqa: T201  how much was looked at is for people to read
            f"\n{name}: {found.interleavings:,} interleavings,"
            f" {found.worlds:,} worlds, {found.steps:,} steps, {dict(found.ends)}"
        )
    assert not bad
    assert found.interleavings > 1


@pytest.mark.parametrize(
    "rule", [*start_rules.RULES, *refund_rules.RULES], ids=lambda rule: rule.name
)
def test_without_a_rule_the_walk_finds_its_bad_end(
    rule: Rule, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule that nothing misses would be no rule, or the walk would be blind."""
    with over_memory() as patch:
        if rule.take_away:
            _, before = walk(rule.scenario, patient=rule.patient)
            assert not before
            rule.take_away(patch)
        _, after = walk(rule.scenario, patient=rule.patient)
    assert after
    with capsys.disabled():
        print(f"\nwithout '{rule.name}': {after}")  # noqa: T201
