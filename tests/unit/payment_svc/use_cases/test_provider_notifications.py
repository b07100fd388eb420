"""Use cases of provider notifications: apply and dismiss."""

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payments import Cancelled, Captured, ChargeNotFound, Outcome, PaymentStatus
from payment_svc.domain.provider_notifications import Dismissal, ProviderConfirmationNeeded
from payment_svc.use_cases.orders import CancelOrder, cancel_order
from payment_svc.use_cases.provider_notifications import (
    AppliedNotification,
    ApplyNotification,
    DismissNotification,
    apply_notification,
    dismiss_notification,
)
from tests.builders.payment import ACCESS_CODE_FACTORY, NOW, PRICE, make_notification
from tests.builders.payment_states import given_outcome, given_submitted_payment
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork

SHORT = Money(19899, "CNY")


@pytest.fixture
def uow() -> InMemoryUnitOfWork:
    return InMemoryUnitOfWork()


async def store_notification(
    uow: InMemoryUnitOfWork, outcome: Outcome, amount: Money = PRICE, payment_id: str = "pay_1"
) -> None:
    await uow.notifications.store(make_notification(outcome, amount, payment_id=payment_id))


async def apply(
    uow: InMemoryUnitOfWork, confirmed: Outcome | ChargeNotFound | None = None
) -> AppliedNotification:
    command = ApplyNotification("pnt_1", "ref_1", confirmed)
    return await apply_notification(command, uow, codes=ACCESS_CODE_FACTORY, clock=at(NOW))


def status_and_reason(uow: InMemoryUnitOfWork) -> tuple[str, str]:
    notification = uow.notifications.saved["pnt_1"]
    return notification.status, notification.quarantine_reason


async def test_a_notification_of_captured_money_pays_the_order(uow: InMemoryUnitOfWork) -> None:
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(PRICE))
    assert (await apply(uow)).settled
    assert uow.orders.saved["ord_1"].status is OrderStatus.PAID
    assert status_and_reason(uow) == ("PROCESSED", "")


async def test_a_repeated_application_changes_nothing(uow: InMemoryUnitOfWork) -> None:
    """It happens after a crash, or with another replica."""
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(PRICE))
    await apply(uow)
    assert (await apply(uow)).settled is None
    assert len(uow.access_codes.saved) == 1
    assert len(uow.events) == 1


async def test_a_notification_of_an_unknown_payment_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(PRICE), payment_id="pay_9")
    assert (await apply(uow)).settled is None
    assert status_and_reason(uow) == ("QUARANTINED", "UNKNOWN_PAYMENT")
    assert uow.payments.saved["pay_1"].status is PaymentStatus.PROCESSING


async def test_a_wrong_amount_that_the_provider_confirms_fails_the_payment(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(SHORT), SHORT)
    with pytest.raises(ProviderConfirmationNeeded):
        await apply(uow)
    await apply(uow, Captured(SHORT))
    assert uow.payments.saved["pay_1"].failure_reason == "WRONG_AMOUNT_CAPTURED"
    assert uow.refunds.saved["ref_1"].amount == SHORT
    assert status_and_reason(uow) == ("QUARANTINED", "AMOUNT_MISMATCH")


async def test_a_wrong_amount_of_an_unknown_charge_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(SHORT), SHORT)
    await apply(uow, ChargeNotFound())
    assert uow.payments.saved["pay_1"].status is PaymentStatus.PROCESSING
    assert uow.refunds.saved == {}
    assert status_and_reason(uow) == ("QUARANTINED", "AMOUNT_MISMATCH")


async def test_a_confirmed_capture_after_a_cancellation_is_refunded(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_submitted_payment(uow)
    await given_outcome(uow, Cancelled())
    await cancel_order(CancelOrder("ord_1", None), uow, clock=at(NOW))
    await store_notification(uow, Captured(PRICE))
    with pytest.raises(ProviderConfirmationNeeded):
        await apply(uow)
    await apply(uow, Captured(PRICE))
    assert uow.refunds.saved["ref_1"].amount == PRICE
    assert uow.payments.saved["pay_1"].status is PaymentStatus.CANCELLED
    assert status_and_reason(uow) == ("PROCESSED", "")


async def test_a_capture_that_the_provider_does_not_confirm_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_submitted_payment(uow)
    await given_outcome(uow, Cancelled())
    await store_notification(uow, Captured(PRICE))
    await apply(uow, Cancelled())
    assert uow.payments.saved["pay_1"].captured is None
    assert uow.refunds.saved == {}
    assert status_and_reason(uow) == ("QUARANTINED", "CONTRADICTS_PROVIDER")


async def test_a_repeated_body_is_the_same_notification(uow: InMemoryUnitOfWork) -> None:
    for _ in range(5):
        await store_notification(uow, Captured(PRICE))
    assert [entry.deliveries for entry in uow.notifications.saved.values()] == [5]


@pytest.mark.parametrize("payment_id", ["pay_1", "pay_9"])
async def test_the_applied_notification_is_returned_also_when_it_is_repeated(
    uow: InMemoryUnitOfWork, payment_id: str
) -> None:
    """Processed or, of an unknown payment, quarantined."""
    await given_submitted_payment(uow)
    await store_notification(uow, Captured(PRICE), payment_id=payment_id)
    for _ in range(2):
        assert (await apply(uow)).notification == uow.notifications.saved["pnt_1"]


async def test_a_quarantined_notification_is_dismissed_with_operator_time_and_reason(
    uow: InMemoryUnitOfWork,
) -> None:
    await store_notification(uow, Captured(PRICE))
    await apply(uow)
    command = DismissNotification("pnt_1", "operator:mei", "settled")
    dismissed = await dismiss_notification(command, uow, clock=at(NOW))
    assert dismissed.dismissal == Dismissal(NOW, "operator:mei", "settled")
    assert uow.notifications.saved["pnt_1"] == dismissed
    assert (await apply(uow)).settled is None
    assert status_and_reason(uow) == ("QUARANTINED", "UNKNOWN_PAYMENT")
