"""ProviderNotification: processed, confirmed by the provider, or quarantined."""

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    FINAL,
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    Declined,
    Outcome,
    Payment,
    PaymentStatus,
)
from payment_svc.domain.provider_notifications import (
    Dismissal,
    ProviderConfirmationNeeded,
    ProviderNotification,
    ProviderNotificationFinal,
    ProviderNotificationNotQuarantined,
    ProviderNotificationStatus,
)
from tests.builders.payment import LATER, NOW, OUTCOMES, PRICE, make_notification, make_payment

SHORT = Money(19899, "CNY")
PENDING, PROCESSING, UNKNOWN = (
    PaymentStatus.PENDING,
    PaymentStatus.PROCESSING,
    PaymentStatus.UNKNOWN,
)
SUCCEEDED, FAILED, CANCELLED = (
    PaymentStatus.SUCCEEDED,
    PaymentStatus.FAILED,
    PaymentStatus.CANCELLED,
)


def decide(
    notification: ProviderNotification,
    payment: Payment | None,
    confirmed: Outcome | ChargeNotFound | None = None,
) -> tuple[Outcome | None, str, str]:
    """The outcome for the payment, and the notification's status and quarantine reason."""
    outcome = notification.decide(payment, confirmed)
    return outcome, notification.status, notification.quarantine_reason


@pytest.mark.parametrize("outcome", OUTCOMES.values())
@pytest.mark.parametrize("status", [PROCESSING, UNKNOWN])
def test_a_consistent_notification_is_processed(status: PaymentStatus, outcome: Outcome) -> None:
    assert decide(make_notification(outcome), make_payment(status)) == (outcome, "PROCESSED", "")


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_notification_of_a_known_outcome_is_processed(status: PaymentStatus) -> None:
    outcome = OUTCOMES[status]
    assert decide(make_notification(outcome), make_payment(status)) == (outcome, "PROCESSED", "")


def test_a_notification_of_an_unknown_payment_is_quarantined() -> None:
    assert decide(make_notification(Captured(PRICE)), None) == (
        None,
        "QUARANTINED",
        "UNKNOWN_PAYMENT",
    )


def test_a_notification_of_another_order_is_quarantined() -> None:
    notification = make_notification(Captured(PRICE), order_id="ord_2")
    assert decide(notification, make_payment()) == (None, "QUARANTINED", "ORDER_MISMATCH")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(SHORT, "AMOUNT_MISMATCH"), (Money(19900, "USD"), "CURRENCY_MISMATCH")],
)
@pytest.mark.parametrize(
    ("confirmed", "settled"),
    [
        (Captured(SHORT), Captured(SHORT)),
        (Captured(PRICE), Captured(PRICE)),
        (Declined("no"), Declined("no")),
        (Accepted(), Accepted()),
        (ChargeNotFound(), None),
        (Captured(Money(19900, "USD")), None),
    ],
)
def test_a_notification_of_another_amount_is_quarantined_and_the_provider_is_queried(
    amount: Money, reason: str, confirmed: Outcome | ChargeNotFound, settled: Outcome | None
) -> None:
    notification = make_notification(Captured(amount), amount)
    with pytest.raises(ProviderConfirmationNeeded):
        notification.decide(make_payment())
    assert notification.status is ProviderNotificationStatus.RECEIVED
    assert decide(notification, make_payment(), confirmed) == (settled, "QUARANTINED", reason)


@pytest.mark.parametrize(
    ("status", "outcome", "confirmed", "settled", "status_after"),
    [
        (CANCELLED, Captured(PRICE), Captured(PRICE), Captured(PRICE), "PROCESSED"),
        (CANCELLED, Captured(PRICE), Cancelled(), Cancelled(), "QUARANTINED"),
        (FAILED, Captured(PRICE), Declined("no"), Declined("no"), "QUARANTINED"),
        (FAILED, Captured(PRICE), Captured(SHORT), Captured(SHORT), "QUARANTINED"),
        (FAILED, Captured(PRICE), ChargeNotFound(), None, "QUARANTINED"),
        (SUCCEEDED, Declined("no"), Captured(PRICE), Captured(PRICE), "QUARANTINED"),
        (SUCCEEDED, Declined("no"), Declined("no"), None, "QUARANTINED"),
        (SUCCEEDED, Cancelled(), Captured(PRICE), Captured(PRICE), "QUARANTINED"),
    ],
)
def test_a_notification_that_contradicts_the_payment_needs_confirmation(
    status: PaymentStatus,
    outcome: Outcome,
    confirmed: Outcome,
    settled: Outcome | None,
    status_after: str,
) -> None:
    notification = make_notification(outcome)
    with pytest.raises(ProviderConfirmationNeeded) as needed:
        notification.decide(make_payment(status))
    assert needed.value.payment == make_payment(status)
    reason = "CONTRADICTS_PROVIDER" if status_after == "QUARANTINED" else ""
    assert decide(notification, make_payment(status), confirmed) == (settled, status_after, reason)


def test_a_notification_of_a_payment_that_was_not_submitted_needs_confirmation() -> None:
    with pytest.raises(ProviderConfirmationNeeded):
        make_notification(Captured(PRICE)).decide(make_payment(PENDING))


@pytest.mark.parametrize("status", ["PROCESSED", "QUARANTINED"])
def test_a_notification_is_decided_once(status: str) -> None:
    notification = make_notification(Captured(PRICE))
    notification.status = ProviderNotificationStatus(status)
    with pytest.raises(ProviderNotificationFinal, match=status) as refused:
        notification.decide(make_payment())
    assert refused.value.subject == "pnt_1"


def test_a_quarantined_notification_is_dismissed_once() -> None:
    """It stays QUARANTINED for its reason; the first dismissal is kept."""
    notification = make_notification(Captured(PRICE))
    decide(notification, None)
    first = Dismissal(NOW, "operator:mei", "settled with the provider")
    for dismissal in (first, Dismissal(LATER, "operator:ada", "again")):
        notification.dismiss(dismissal)
    assert notification.dismissal == first
    assert (notification.status, notification.quarantine_reason) == (
        "QUARANTINED",
        "UNKNOWN_PAYMENT",
    )


@pytest.mark.parametrize("status", ["RECEIVED", "PROCESSED"])
def test_only_a_quarantined_notification_can_be_dismissed(status: str) -> None:
    notification = make_notification(Captured(PRICE))
    notification.status = ProviderNotificationStatus(status)
    with pytest.raises(ProviderNotificationNotQuarantined, match=status) as refused:
        notification.dismiss(Dismissal(NOW, "operator:mei", "settled"))
    assert refused.value.subject == "pnt_1"
    assert notification.dismissal is None
