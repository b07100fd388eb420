"""What a process tells its operators in numbers."""

from collections.abc import Mapping

from devstack.polling import wait_until
from interview_svc.domain.drifts import DriftKind
from tests.system.drivers.metrics import numbers
from tests.system.drivers.running_stack import RunningStack

_DEAD = 'mockinterview_consumer_dead_letters{consumer="interview",stream="PAYMENT"}'


async def test_prometheus_is_told_how_the_bus_stands(shared_stack: RunningStack) -> None:
    """Ages and counts are there to be fetched, without a token, where the settings say."""
    await shared_stack.prepared()

    async def look() -> Mapping[str, float] | None:
        found = await numbers(shared_stack, "interview")
        return found if _DEAD in found else None

    found = await wait_until(look, "the consumer's metrics")
    assert found[_DEAD] >= 0
    assert found["mockinterview_outbox_unpublished_events"] >= 0
    assert found["mockinterview_outbox_oldest_event_age_seconds"] >= 0
    assert (
        found['mockinterview_consumer_pending_messages{consumer="interview",stream="PAYMENT"}'] >= 0
    )
    assert (
        found[
            'mockinterview_consumer_oldest_message_age_seconds{consumer="interview",stream="PAYMENT"}'
        ]
        >= 0
    )


async def test_what_checks_find_has_a_number_before_the_first_check(
    shared_stack: RunningStack,
) -> None:
    """Whoever watches for a rise needs the number from which it rises."""
    found = await numbers(shared_stack, "interview")
    for kind in DriftKind:
        assert found[f'mockinterview_consistency_drifts{{kind="{kind}"}}'] == 0
    for name in ("lost", "unhandled"):
        assert f'mockinterview_bus_missing_events{{kind="{name}"}}' in found
