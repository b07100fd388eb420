"""The provider's notifications: verified, stored, then applied in the background.

Guarantee: an accepted notification is never lost. It stays RECEIVED until the transaction that
settles its payment; a crash or an outage only delays it.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from payment_svc.domain.payments import Payment
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from runtime.ids import new_id


class WebhookIntake:
    """Takes notifications in."""

    def __init__(
        self, database: Database, gateway: PaymentGateway, stored: Callable[[], None]
    ) -> None:
        """`stored` is called when one has been committed."""
        self._database, self._gateway, self._stored = database, gateway, stored

    async def ingest(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[ProviderNotification, Payment | None]:
        """Stores a notification; the payment that it names, if there is one, as it stands.

        Raises SignatureInvalid, WebhookMalformed.
        """
        now = datetime.now(UTC)
        told = self._gateway.verify(body, headers, now)
        notification = ProviderNotification(
            payment_notification_id=new_id("pnt"),
            digest=hashlib.sha256(body).digest(),
            body=body,
            payment_id=told.payment_id,
            order_id=told.order_id,
            amount=told.amount,
            outcome=told.outcome,
            received_at=now,
        )
        async with self._database.transaction() as uow:
            stored = await uow.notifications.store(notification)
            payment = await uow.payments.find(told.payment_id)
        self._stored()
        return stored, payment
