"""Use cases of provider notifications: apply and dismiss."""

from dataclasses import dataclass

from payment_svc.domain.payments import ChargeNotFound, Outcome, Payment
from payment_svc.domain.provider_notifications import Dismissal, ProviderNotification
from payment_svc.use_cases.payments import SettledPayment, SettlePayment, settle_payment
from payment_svc.use_cases.ports import AccessCodeFactory, Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class ApplyNotification:
    """Applies a stored notification.

    `confirmed` is the provider's response to a query, if it was queried; `refund_id` is for the
    refund of surplus money.
    """

    notification_id: str
    refund_id: str
    confirmed: Outcome | ChargeNotFound | None = None


@dataclass(frozen=True, slots=True)
class DismissNotification:
    """Closes the case of a quarantined notification; `operator` is the caller."""

    notification_id: str
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class AppliedNotification:
    """A processed or quarantined notification, and the payment that it settled, if any."""

    notification: ProviderNotification
    settled: SettledPayment | None = None


async def apply_notification(
    command: ApplyNotification, uow: UnitOfWork, *, codes: AccessCodeFactory, clock: Clock
) -> AppliedNotification:
    """Settles the payment and sets the notification's status; a repeat changes nothing.

    Raises ProviderConfirmationNeeded, and what `settle_payment` raises.
    """
    notification = await uow.notifications.get(command.notification_id)
    if notification.final:
        return AppliedNotification(notification)
    payment = await _payment_of(notification, uow)
    outcome = notification.decide(payment, command.confirmed)
    await uow.notifications.save(notification)
    if payment is None or outcome is None:
        return AppliedNotification(notification)
    settle = SettlePayment(payment.payment_id, payment.order_id, outcome, command.refund_id)
    return AppliedNotification(
        notification, await settle_payment(settle, uow, codes=codes, clock=clock)
    )


async def dismiss_notification(
    command: DismissNotification, uow: UnitOfWork, *, clock: Clock
) -> ProviderNotification:
    """The dismissed notification.

    Raises ProviderNotificationNotFound, ProviderNotificationNotQuarantined.
    """
    notification = await uow.notifications.get(command.notification_id)
    notification.dismiss(Dismissal(clock(), command.operator, command.reason))
    await uow.notifications.save(notification)
    return notification


async def _payment_of(notification: ProviderNotification, uow: UnitOfWork) -> Payment | None:
    """The named payment; locked, after its order, if it belongs to the notification's order."""
    payment = await uow.payments.find_unlocked(notification.payment_id)
    if payment is None or payment.order_id != notification.order_id:
        return payment
    await uow.orders.get(payment.order_id)
    return await uow.payments.get(payment.payment_id)
