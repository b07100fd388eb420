"""Paying's undo side over repositories in memory: closing, surplus, notifications."""

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotFound,
    OrderStatus,
)
from payment_svc.domain.payments import (
    Cancelled,
    Captured,
    ChargeNotFound,
    Declined,
    Outcome,
    PaymentInProgress,
    PaymentStatus,
)
from payment_svc.domain.provider_notifications import (
    ProviderConfirmationNeeded,
    ProviderNotification,
)
from payment_svc.domain.refunds import RefundStatus
from payment_svc.use_cases.orders import CancelOrder, cancel_order, expire_order
from payment_svc.use_cases.payments import submit_payment
from payment_svc.use_cases.provider_notifications import (
    Applied,
    ApplyNotification,
    apply_notification,
)
from tests.fakes.payment import CODES, NOW, PRICE, InMemory
from tests.unit.payment_svc.use_cases.test_orders import begun, ordered, settled

SHORT = Money(19899, "CNY")
AFTER = NOW.replace(hour=13)


@pytest.fixture
def uow() -> InMemory:
    return InMemory()


async def asked(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await submit_payment("pay_1", uow, now=NOW)


# Giving up


async def test_an_unpaid_order_is_cancelled(uow: InMemory) -> None:
    await ordered(uow)
    await cancel_order(CancelOrder("ord_1", "cus_1"), uow, now=NOW)
    assert uow.orders.saved["ord_1"].status is OrderStatus.CANCELLED


async def test_another_customers_order_isnt_there(uow: InMemory) -> None:
    await ordered(uow)
    with pytest.raises(OrderNotFound):
        await cancel_order(CancelOrder("ord_1", "cus_2"), uow, now=NOW)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT


async def test_an_order_with_an_open_payment_isnt_given_up(uow: InMemory) -> None:
    """The provider may still capture it."""
    await asked(uow)
    with pytest.raises(PaymentInProgress):
        await cancel_order(CancelOrder("ord_1", None), uow, now=NOW)
    with pytest.raises(PaymentInProgress):
        await expire_order("ord_1", uow, now=AFTER)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT


@pytest.mark.parametrize("outcome", [Declined("no"), Cancelled()])
async def test_an_order_whose_payments_ended_is_given_up(uow: InMemory, outcome: Outcome) -> None:
    await asked(uow)
    await settled(uow, outcome)
    await expire_order("ord_1", uow, now=AFTER)
    assert uow.orders.saved["ord_1"].status is OrderStatus.EXPIRED


async def test_a_paid_order_isnt_given_up(uow: InMemory) -> None:
    await asked(uow)
    await settled(uow, Captured(PRICE))
    with pytest.raises(OrderNotCancellable, match="PAID"):
        await cancel_order(CancelOrder("ord_1", None), uow, now=NOW)
    with pytest.raises(OrderNotExpirable, match="PAID"):
        await expire_order("ord_1", uow, now=AFTER)


# Surplus


async def test_a_wrong_amount_fails_and_goes_back(uow: InMemory) -> None:
    """What was captured, not what was asked; another attempt may pay the order."""
    await asked(uow)
    result = await settled(uow, Captured(SHORT))
    payment, [refund] = uow.payments.saved["pay_1"], uow.refunds.saved.values()
    assert (payment.status, payment.failure_reason) == ("FAILED", "WRONG_AMOUNT_CAPTURED")
    assert result.surplus == refund
    assert (refund.amount, refund.surplus, refund.status) == (SHORT, True, RefundStatus.PENDING)
    assert (refund.payment_id, refund.order_id, refund.released_at) == ("pay_1", "ord_1", NOW)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    await begun(uow, 2)
    await settled(uow, Captured(PRICE), 2)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PAID
    assert len(uow.refunds.saved) == 1


@pytest.mark.parametrize("end", [Declined("no"), Cancelled()])
async def test_money_captured_after_the_end_goes_back_once(uow: InMemory, end: Outcome) -> None:
    await asked(uow)
    await settled(uow, end)
    status = uow.payments.saved["pay_1"].status
    assert (await settled(uow, Captured(PRICE))).surplus
    assert (await settled(uow, Captured(PRICE))).surplus is None
    assert uow.payments.saved["pay_1"].status is status
    assert [refund.amount for refund in uow.refunds.saved.values()] == [PRICE]
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    assert uow.access_codes.saved == {}


# Notifications


async def notified(
    uow: InMemory, outcome: Outcome, amount: Money = PRICE, payment: str = "pay_1"
) -> None:
    await uow.notifications.store(
        ProviderNotification(
            payment_notification_id="pnt_1",
            digest=repr((outcome, amount, payment)).encode(),
            body=b"",
            payment_id=payment,
            order_id="ord_1",
            amount=amount,
            outcome=outcome,
            received_at=NOW,
        )
    )


async def applied(uow: InMemory, word: Outcome | ChargeNotFound | None = None) -> Applied:
    command = ApplyNotification("pnt_1", "ref_1", word)
    return await apply_notification(command, uow, codes=CODES, now=NOW)


def became(uow: InMemory) -> tuple[str, str]:
    notification = uow.notifications.saved["pnt_1"]
    return notification.status, notification.quarantine_reason


async def test_a_notification_of_captured_money_pays_the_order(uow: InMemory) -> None:
    await asked(uow)
    await notified(uow, Captured(PRICE))
    assert (await applied(uow)).settled
    assert uow.orders.saved["ord_1"].status is OrderStatus.PAID
    assert became(uow) == ("PROCESSED", "")


async def test_applied_again_a_notification_changes_nothing(uow: InMemory) -> None:
    """As after a crash, or by another replica."""
    await asked(uow)
    await notified(uow, Captured(PRICE))
    await applied(uow)
    assert (await applied(uow)).settled is None
    assert len(uow.access_codes.saved) == 1
    assert len(uow.told) == 1


async def test_a_notification_of_an_unknown_payment_changes_nothing(uow: InMemory) -> None:
    await asked(uow)
    await notified(uow, Captured(PRICE), payment="pay_9")
    assert (await applied(uow)).settled is None
    assert became(uow) == ("QUARANTINED", "UNKNOWN_PAYMENT")
    assert uow.payments.saved["pay_1"].status is PaymentStatus.PROCESSING


async def test_a_wrong_amount_that_the_provider_confirms_fails_the_payment(uow: InMemory) -> None:
    await asked(uow)
    await notified(uow, Captured(SHORT), SHORT)
    with pytest.raises(ProviderConfirmationNeeded):
        await applied(uow)
    await applied(uow, Captured(SHORT))
    assert uow.payments.saved["pay_1"].failure_reason == "WRONG_AMOUNT_CAPTURED"
    assert uow.refunds.saved["ref_1"].amount == SHORT
    assert became(uow) == ("QUARANTINED", "AMOUNT_MISMATCH")


async def test_a_wrong_amount_that_the_provider_knows_nothing_of_changes_nothing(
    uow: InMemory,
) -> None:
    await asked(uow)
    await notified(uow, Captured(SHORT), SHORT)
    await applied(uow, ChargeNotFound())
    assert uow.payments.saved["pay_1"].status is PaymentStatus.PROCESSING
    assert uow.refunds.saved == {}
    assert became(uow) == ("QUARANTINED", "AMOUNT_MISMATCH")


async def test_a_stubborn_providers_capture_goes_back_if_it_confirms_it(uow: InMemory) -> None:
    await asked(uow)
    await settled(uow, Cancelled())
    await cancel_order(CancelOrder("ord_1", None), uow, now=NOW)
    await notified(uow, Captured(PRICE))
    with pytest.raises(ProviderConfirmationNeeded):
        await applied(uow)
    await applied(uow, Captured(PRICE))
    assert uow.refunds.saved["ref_1"].amount == PRICE
    assert uow.payments.saved["pay_1"].status is PaymentStatus.CANCELLED
    assert became(uow) == ("PROCESSED", "")


async def test_a_capture_that_the_provider_denies_changes_nothing(uow: InMemory) -> None:
    await asked(uow)
    await settled(uow, Cancelled())
    await notified(uow, Captured(PRICE))
    await applied(uow, Cancelled())
    assert uow.payments.saved["pay_1"].captured is None
    assert uow.refunds.saved == {}
    assert became(uow) == ("QUARANTINED", "CONTRADICTS_PROVIDER")


async def test_the_same_body_again_is_the_same_notification(uow: InMemory) -> None:
    for _ in range(5):
        await notified(uow, Captured(PRICE))
    assert [one.deliveries for one in uow.notifications.saved.values()] == [5]
