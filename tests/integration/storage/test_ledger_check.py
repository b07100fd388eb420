"""The periodic ledger check: what it compares in a round, and how long it reports a finding."""

from datetime import timedelta

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.payments import PaymentStatus
from payment_svc.storage import ledger as storage
from payment_svc.use_cases import ledger
from payment_svc.workers import ledger_check
from payment_svc.workers.ledger_check import LedgerCheck
from runtime.clock import utc_now
from runtime.metrics.registry import Metrics
from tests.builders.payment import PRICE, make_order, make_payment
from tests.integration.drivers.databases import ServiceDatabase

LONG_AGO = timedelta(days=30)


class Replica:
    """The check in one process."""

    def __init__(self, payment: ServiceDatabase) -> None:
        self.metrics = Metrics()
        self.check = LedgerCheck(payment.transactions, self.metrics, full_hour=0)

    async def found(self) -> float | None:
        """Runs a round; the number of imbalances that the metric states after it."""
        await self.check.run_round()
        return self.metrics.registry.get_sample_value("mockinterview_ledger_imbalances")


@pytest.fixture
async def replica(payment: ServiceDatabase) -> Replica:
    """One that has checked everything, of no orders."""
    replica = Replica(payment)
    assert await replica.found() == 0
    return replica


async def given_order(payment: ServiceDatabase, name: str, age: timedelta = LONG_AGO) -> None:
    """An unpaid order with money: it does not balance, and no event says so."""
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_order(order_id=f"ord_{name}"))
        await uow.payments.save(_captured(name, age))


def _captured(name: str, age: timedelta) -> object:
    made = make_payment(PaymentStatus.SUCCEEDED, payment_id=f"pay_{name}", order_id=f"ord_{name}")
    made.captured, made.updated_at = Money(PRICE.amount_minor, "CNY"), utc_now() - age
    return made


async def mend(payment: ServiceDatabase, name: str) -> None:
    """By hand: the times stay."""
    await payment.execute(
        "UPDATE payment.payments SET captured_minor = 0 WHERE order_id = :id", id=f"ord_{name}"
    )


async def make_full_due(payment: ServiceDatabase) -> None:
    await payment.execute("UPDATE payment.check_progress SET full_at = now() - interval '2 days'")


async def test_captured_money_is_compared_in_the_next_round(
    payment: ServiceDatabase, replica: Replica
) -> None:
    await given_order(payment, "a", timedelta(0))
    assert await replica.found() == 1


_EVENT = "INSERT INTO payment.outbox (id, type, key, data, source, traceparent, occurred_at)"
_PUBLISHED = (
    "INSERT INTO payment.outbox_published (position, id, type, key, data, source, traceparent,"
    " occurred_at, recorded_at, published_at)"
)
_HANDLED = "INSERT INTO payment.inbox (consumer, event_id, state, key, stream_sequence)"
_REFUND = (
    "INSERT INTO payment.refunds (refund_id, order_id, payment_id, amount_minor, currency_code,"
    ' "full", surplus, reason, status, failure_reason, asks, created_at, updated_at) VALUES'
)


@pytest.mark.parametrize(
    "change",
    [
        f"{_EVENT} VALUES ('e', '', 'ord_a', '', '', '', now())",
        f"{_PUBLISHED} VALUES (1, 'e', '', 'ord_a', '', '', '', now(), now(), now())",
        f"{_HANDLED} VALUES ('payment', 'e', 'HANDLED', 'ord_a', 1)",
        f"{_REFUND} ('r', 'ord_a', 'pay_a', 1, '', false, false, '', '', '', 0, now(), now())",
    ],
    ids=["event", "published event", "handled event", "refund"],
)
async def test_an_order_with_a_change_is_compared_in_the_next_round(
    payment: ServiceDatabase, replica: Replica, change: str
) -> None:
    await given_order(payment, "a")
    assert await replica.found() == 0
    await payment.execute(change)
    assert await replica.found() == 1


async def test_a_change_that_leaves_no_trace_is_found_once_a_day(
    payment: ServiceDatabase, replica: Replica
) -> None:
    """Then it is reported until it is repaired, also by rounds that compare only changes."""
    await given_order(payment, "a")
    assert await replica.found() == 0
    await make_full_due(payment)
    assert await replica.found() == 1
    for _ in range(2):
        assert await replica.found() == 1
    await mend(payment, "a")
    assert await replica.found() == 0


async def test_what_commits_after_a_round_is_compared_in_the_next_one(
    payment: ServiceDatabase, replica: Replica
) -> None:
    """Although its time is before that round."""
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_order(order_id="ord_late"))
        await uow.payments.save(_captured("late", timedelta(0)))
        assert await replica.found() == 0
    assert await replica.found() == 1


async def test_another_replica_goes_on_with_what_was_found(
    payment: ServiceDatabase, replica: Replica
) -> None:
    await given_order(payment, "a")
    await make_full_due(payment)
    assert await replica.found() == 1
    replica.check.stand_by()
    metric = "mockinterview_ledger_imbalances"
    assert replica.metrics.registry.get_sample_value(metric) == 0
    assert await Replica(payment).found() == 1


async def test_a_list_that_is_cut_off_is_found_again_in_the_next_round(
    payment: ServiceDatabase, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No finding beyond the limit is forgotten when those before it are repaired."""
    monkeypatch.setattr(ledger_check, "MAX_IMBALANCES", 1)
    monkeypatch.setattr(ledger, "MAX_IMBALANCES", 1)
    for name in ("a", "b"):
        await given_order(payment, name)
    await make_full_due(payment)
    await replica.found()
    await mend(payment, "a")
    assert await replica.found() == 1


async def test_all_orders_are_checked_batch_by_batch(
    payment: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals are those of all batches."""
    monkeypatch.setattr(storage, "_BATCH", 2)
    for name in ("a", "b", "c", "d", "e"):
        await given_order(payment, name)
    async with payment.transactions.read_only() as uow:
        for order_ids in (None, [f"ord_{name}" for name in "abcde"]):
            report = await uow.ledger.check(order_ids)
            found = [entry.order_id for entry in report.imbalances]
            assert found == ["ord_a", "ord_b", "ord_c", "ord_d", "ord_e"]
            assert report.checked_count == 5
            [total] = report.totals
            assert total.captured_minor == 5 * PRICE.amount_minor
