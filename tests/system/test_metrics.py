"""The metrics that a service exports to Prometheus."""

from collections.abc import Mapping

from devstack.polling import wait_until
from interview_svc.domain.drifts import DriftKind
from tests.system.drivers.metrics import scrape_metrics
from tests.system.drivers.running_stack import RunningStack

_DEAD_LETTERS = 'mockinterview_consumer_dead_letters{consumer="interview",stream="PAYMENT"}'


async def test_outbox_and_consumer_are_exported(shared_stack: RunningStack) -> None:
    """Their ages and counts, without a token, at the address of the settings."""
    await shared_stack.prepare_session()

    async def scrape() -> Mapping[str, float] | None:
        metrics = await scrape_metrics(shared_stack, "interview")
        return metrics if _DEAD_LETTERS in metrics else None

    metrics = await wait_until(scrape, "the consumer's metrics")
    assert metrics[_DEAD_LETTERS] >= 0
    assert metrics["mockinterview_outbox_unpublished_events"] >= 0
    assert metrics["mockinterview_outbox_oldest_event_age_seconds"] >= 0
    assert (
        metrics['mockinterview_consumer_pending_messages{consumer="interview",stream="PAYMENT"}']
        >= 0
    )
    assert (
        metrics[
            'mockinterview_consumer_oldest_message_age_seconds{consumer="interview",stream="PAYMENT"}'
        ]
        >= 0
    )


async def test_findings_of_checks_are_exported_before_the_first_check(
    shared_stack: RunningStack,
) -> None:
    """As zero, so that an alert can compare the first finding with it."""
    metrics = await scrape_metrics(shared_stack, "interview")
    for kind in DriftKind:
        assert metrics[f'mockinterview_reconciliation_drifts{{kind="{kind}"}}'] == 0
    for kind in ("lost", "unhandled"):
        assert f'mockinterview_bus_missing_events{{kind="{kind}"}}' in metrics
