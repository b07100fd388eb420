"""The queues of payments, refunds and notifications: when an entry is due, and what postpones it.

Only processing an entry postpones it: no repeated request or delivery of an outsider does.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payments import Captured, PaymentStatus
from payment_svc.domain.provider_notifications import ProviderNotificationStatus
from payment_svc.domain.refunds import Refund, RefundStatus
from payment_svc.use_cases.payments import submit_payment
from tests.builders.payment import (
    INSTANT,
    NOW,
    PRICE,
    make_access_code,
    make_notification,
    make_order,
    make_paid_order,
    make_payment,
)
from tests.fakes.clock import at
from tests.integration.drivers.databases import ServiceDatabase

PAUSE = timedelta(seconds=15)
OPEN = [PaymentStatus.PENDING, PaymentStatus.PROCESSING, PaymentStatus.UNKNOWN]


async def given_payments(payment: ServiceDatabase, **statuses: PaymentStatus) -> None:
    """Saves a payment, created long ago, of an order of its own for each name and status."""
    async with payment.transactions.transaction() as uow:
        for name, status in statuses.items():
            await uow.orders.save(make_order(order_id=f"ord_{name}"))
            made = make_payment(status, payment_id=f"pay_{name}", order_id=f"ord_{name}")
            await uow.payments.save(made)


async def take_payments(payment: ServiceDatabase, limit: int = 10) -> set[str]:
    async with payment.transactions.transaction() as uow:
        return {taken.payment_id for taken in await uow.payments.take_due(PAUSE, limit)}


async def take_refunds(payment: ServiceDatabase) -> set[str]:
    async with payment.transactions.transaction() as uow:
        return {taken.refund_id for taken in await uow.refunds.take_due(PAUSE, 10)}


async def due_notifications(payment: ServiceDatabase) -> dict[str, int]:
    async with payment.transactions.read_only() as uow:
        return dict(await uow.notifications.find_due(10))


# Payments


async def test_open_payments_are_due_and_settled_ones_are_not(payment: ServiceDatabase) -> None:
    await given_payments(payment, **{status.lower(): status for status in PaymentStatus})
    assert await take_payments(payment) == {f"pay_{status.lower()}" for status in OPEN}


async def test_a_taken_payment_is_due_again_after_the_pause(payment: ServiceDatabase) -> None:
    await given_payments(payment, a=PaymentStatus.PROCESSING)
    assert await take_payments(payment) == {"pay_a"}
    assert await take_payments(payment) == set()
    assert await payment.value(
        "SELECT due_at BETWEEN now() + interval '14 s' AND now() + interval '15 s'"
        " FROM payment.payments"
    )
    await payment.execute("UPDATE payment.payments SET due_at = now()")
    assert await take_payments(payment) == {"pay_a"}


async def test_a_new_payment_is_due_after_the_pause(payment: ServiceDatabase) -> None:
    """Until then the request that created it is processed."""
    await given_payments(payment, a=PaymentStatus.PROCESSING)
    await payment.execute("UPDATE payment.payments SET created_at = now() - interval '14 s'")
    assert await take_payments(payment) == set()
    await payment.execute("UPDATE payment.payments SET created_at = now() - interval '16 s'")
    assert await take_payments(payment) == {"pay_a"}


async def test_a_repeated_request_does_not_postpone_its_payment(payment: ServiceDatabase) -> None:
    """A repeat submits the payment again, which changes it."""
    await given_payments(payment, a=PaymentStatus.UNKNOWN)
    now = datetime.now(UTC)
    async with payment.transactions.transaction() as uow:
        await submit_payment(await uow.payments.get("pay_a"), uow, clock=at(now))
    assert await payment.value("SELECT updated_at FROM payment.payments") == now
    assert await take_payments(payment) == {"pay_a"}


async def test_a_changed_payment_is_closed_with_its_expired_order_too(
    payment: ServiceDatabase,
) -> None:
    """However many others there are, and however often it is changed."""
    others = {f"n{n}": PaymentStatus.PROCESSING for n in range(10)}
    await given_payments(payment, changed=PaymentStatus.PROCESSING, **others)
    for _ in range(1_000):
        async with payment.transactions.transaction() as uow:
            changed = await uow.payments.get("pay_changed")
            await submit_payment(changed, uow, clock=at(datetime.now(UTC)))
        async with payment.transactions.read_only() as uow:
            [first] = await uow.payments.open_of_expiring_orders(1)
        if first.payment_id == "pay_changed":
            return
    pytest.fail("the payment was never the first to be closed")


@pytest.mark.parametrize("status", PaymentStatus)
async def test_an_unpaid_order_expires_once_none_of_its_payments_is_open(
    payment: ServiceDatabase, status: PaymentStatus
) -> None:
    """Before that its open payment is closed; one with an outcome is not looked up again."""
    await given_payments(payment, a=status)
    async with payment.transactions.read_only() as uow:
        to_close = [found.payment_id for found in await uow.payments.open_of_expiring_orders(10)]
        to_expire = await uow.orders.ids_due_to_expire(10)
    assert (to_close, to_expire) == ((["pay_a"], []) if status in OPEN else ([], ["ord_a"]))


# Refunds


async def given_released_refund(payment: ServiceDatabase, status: RefundStatus) -> None:
    async with payment.transactions.transaction() as uow:
        order = make_order(order_id="ord_a")
        await uow.orders.save(order)
        made = make_payment(PaymentStatus.SUCCEEDED, payment_id="pay_a", order_id="ord_a")
        await uow.payments.save(made)
        refund = Refund.of_surplus("ref_a", "ord_a", "pay_a", PRICE, made.created_at)
        refund.status = status
        await uow.refunds.save(refund)


@pytest.mark.parametrize("status", RefundStatus)
async def test_only_open_refunds_are_due(payment: ServiceDatabase, status: RefundStatus) -> None:
    await given_released_refund(payment, status)
    is_open = status in {RefundStatus.PENDING, RefundStatus.UNKNOWN}
    assert await take_refunds(payment) == ({"ref_a"} if is_open else set())
    assert await take_refunds(payment) == set()


async def test_a_full_refund_is_due_only_once_interview_released_it(
    payment: ServiceDatabase,
) -> None:
    """Before, the interview may have begun: the customer would get it and the money."""
    await given_released_refund(payment, RefundStatus.PENDING)
    await payment.execute('UPDATE payment.refunds SET released_at = NULL, "full" = true')
    assert await take_refunds(payment) == set()
    await payment.execute("UPDATE payment.refunds SET released_at = now()")
    assert await take_refunds(payment) == {"ref_a"}


async def test_a_changed_refund_keeps_its_due_time(payment: ServiceDatabase) -> None:
    await given_released_refund(payment, RefundStatus.PENDING)
    async with payment.transactions.transaction() as uow:
        refund = await uow.refunds.get("ref_a")
        refund.updated_at = datetime.now(UTC)
        await uow.refunds.save(refund)
    assert await take_refunds(payment) == {"ref_a"}


async def test_a_refund_is_unanswered_and_overdue_only_after_the_time_for_that(
    payment: ServiceDatabase,
) -> None:
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_paid_order(OrderStatus.REFUND_PENDING))
        await uow.payments.save(make_payment(PaymentStatus.SUCCEEDED))
        refund = Refund.of_order("ref_1", make_paid_order(), None, "", NOW)
        refund.request_answer(make_access_code(), NOW)
        await uow.refunds.save(refund)
    async with payment.transactions.read_only() as uow:
        before = [await find(NOW - INSTANT, 10) for find in _waiting(uow)]
        since = [await find(NOW, 10) for find in _waiting(uow)]
    assert before == [[], []]
    assert [[refund.refund_id for refund in found] for found in since] == [["ref_1"], ["ref_1"]]


def _waiting(uow: Any) -> list[Any]:
    """The searches for refunds that wait for interview, or for an outcome, since a moment."""
    return [uow.refunds.find_unanswered, uow.refunds.find_open]


# Provider notifications


async def test_a_notification_is_due_at_once_whatever_the_clock_of_the_process(
    payment: ServiceDatabase,
) -> None:
    notification = make_notification(Captured(PRICE))
    notification.received_at = datetime.now(UTC) + timedelta(hours=1)
    async with payment.transactions.transaction() as uow:
        await uow.notifications.store(notification)
    assert await due_notifications(payment) == {"pnt_1": 0}


async def test_a_failed_notification_is_due_after_the_delay_and_a_repeated_delivery_changes_nothing(
    payment: ServiceDatabase,
) -> None:
    async with payment.transactions.transaction() as uow:
        await uow.notifications.store(make_notification(Captured(PRICE)))
        await uow.notifications.postpone("pnt_1", timedelta(minutes=1))
    due_at = await payment.value("SELECT due_at FROM payment.provider_notifications")
    async with payment.transactions.transaction() as uow:
        again = await uow.notifications.store(make_notification(Captured(PRICE)))
    assert (again.deliveries, await due_notifications(payment)) == (2, {})
    assert due_at == await payment.value("SELECT due_at FROM payment.provider_notifications")
    await payment.execute("UPDATE payment.provider_notifications SET due_at = now()")
    async with payment.transactions.transaction() as uow:
        await uow.notifications.store(make_notification(Captured(PRICE)))
    assert await due_notifications(payment) == {"pnt_1": 1}


@pytest.mark.parametrize(
    "status", [ProviderNotificationStatus.PROCESSED, ProviderNotificationStatus.QUARANTINED]
)
async def test_a_final_notification_is_not_due(
    payment: ServiceDatabase, status: ProviderNotificationStatus
) -> None:
    async with payment.transactions.transaction() as uow:
        notification = await uow.notifications.store(make_notification(Captured(PRICE)))
        notification.status = status
        await uow.notifications.save(notification)
    assert await due_notifications(payment) == {}
