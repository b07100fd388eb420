"""What becomes of the payment provider's notifications."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.payments import ChargeNotFound, Outcome, Payment
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.use_cases.payments import Settled, SettlePayment, settle_payment
from payment_svc.use_cases.ports import AccessCodeFactory, UnitOfWork


@dataclass(frozen=True, slots=True)
class ApplyNotification:
    """A stored notification is to take effect.

    `word` is what the provider said when it was asked; `refund_id` is for money that backs no
    order.
    """

    notification_id: str
    refund_id: str
    word: Outcome | ChargeNotFound | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A notification that is done with, and what the payment came to by it, if anything."""

    notification: ProviderNotification
    settled: Settled | None = None


async def apply_notification(
    command: ApplyNotification, uow: UnitOfWork, *, codes: AccessCodeFactory, now: datetime
) -> Applied:
    """Settles the payment and decides about the notification; once, however often it is called.

    Raises ProviderConfirmationNeeded, and what `settle_payment` raises.
    """
    notification = await uow.notifications.get(command.notification_id)
    if notification.done:
        return Applied(notification)
    payment = await _payment_of(notification, uow)
    outcome = notification.judge(payment, command.word)
    await uow.notifications.save(notification)
    if payment is None or outcome is None:
        return Applied(notification)
    settle = SettlePayment(payment.payment_id, payment.order_id, outcome, command.refund_id)
    return Applied(notification, await settle_payment(settle, uow, codes=codes, now=now))


async def _payment_of(notification: ProviderNotification, uow: UnitOfWork) -> Payment | None:
    """The payment that it names; locked, after its order, if the notification may concern it."""
    payment = await uow.payments.find(notification.payment_id)
    if payment is None or payment.order_id != notification.order_id:
        return payment
    await uow.orders.get(payment.order_id)
    return await uow.payments.get(payment.payment_id)
