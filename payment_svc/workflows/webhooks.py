"""Receives the provider's notifications: verified and stored here, applied by a worker.

Guarantee: an accepted notification is never lost. It stays RECEIVED until the transaction that
settles its payment; a crash or an outage only delays it. One that is not understood is accepted
too, so that the provider keeps the endpoint, and is QUARANTINED at once.
"""

import hashlib
from collections.abc import Callable, Mapping

import structlog

from payment_svc.domain.payments import Payment
from payment_svc.domain.provider_notifications import (
    ProviderNotification,
    ProviderNotificationStatus,
)
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from runtime.clock import utc_now
from runtime.ids import new_id

_log = structlog.get_logger(__name__)


class WebhookIntake:
    """Verifies and stores notifications."""

    def __init__(
        self, database: Database, gateway: PaymentGateway, wake_worker: Callable[[], None]
    ) -> None:
        """`wake_worker` is called after the commit."""
        self._database, self._gateway, self._wake_worker = database, gateway, wake_worker

    async def ingest(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[ProviderNotification, Payment | None]:
        """Stores a notification; returns it with the present state of its payment, if any.

        Raises SignatureInvalid, WebhookMalformed.
        """
        now = utc_now()
        payload = self._gateway.parse_webhook(body, headers, now)
        notification = ProviderNotification(
            provider_notification_id=new_id("pnt"),
            digest=hashlib.sha256(body).digest(),
            body=body,
            kind=payload.kind,
            payment_id=payload.payment_id,
            order_id=payload.order_id,
            amount=payload.amount,
            outcome=payload.outcome,
            received_at=now,
        )
        notification.quarantine_unknown_kind()
        async with self._database.transaction() as uow:
            stored = await uow.notifications.store(notification)
            payment = await uow.payments.find_unlocked(payload.payment_id)
        if stored.status is ProviderNotificationStatus.QUARANTINED and stored.deliveries == 1:
            log_quarantined(stored)
        self._wake_worker()
        return stored, payment


def log_quarantined(notification: ProviderNotification) -> None:
    """Logs a notification that operators have to look at."""
    _log.warning(
        "notification quarantined",
        payment_notification_id=notification.provider_notification_id,
        kind=notification.kind,
        payment_id=notification.payment_id,
        order_id=notification.order_id,
        reason=notification.quarantine_reason,
    )
