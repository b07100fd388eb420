"""The provider's notifications: verified, stored, accepted; they take effect after that.

Guarantee: one that was accepted is never lost. It stays RECEIVED until the transaction that settles
its payment; a crash or an outage only delays it.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from eventbus.ack_policy import Backoff
from eventbus.errors import describe_error
from payment_svc.domain.payments import ChargeNotFound, Outcome, Payment
from payment_svc.domain.provider_notifications import (
    ProviderConfirmationNeeded,
    ProviderNotification,
    ProviderNotificationStatus,
)
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.provider_notifications import (
    Applied,
    ApplyNotification,
    apply_notification,
)
from payment_svc.workflows.payments import PaymentWorkflow, note_settled
from runtime.protobuf import new_id

_log = structlog.get_logger(__name__)
_AT_ONCE = 8
_BACKOFF = Backoff(first_seconds=0.5, cap_seconds=60.0)


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


class WebhookProcessing:
    """Lets stored notifications take effect. Several replicas may: a payment settles once."""

    def __init__(
        self,
        database: Database,
        charging: PaymentWorkflow,
        codes: AccessCodeFactory,
        poll_seconds: float,
    ) -> None:
        self._database, self._charging, self._codes = database, charging, codes
        self._poll_seconds = poll_seconds
        self._awake, self._stopping = asyncio.Event(), False

    def wake(self) -> None:
        """Makes it look now."""
        self._awake.set()

    def stop(self) -> None:
        """Ends `run` after the work in hand."""
        self._stopping = True
        self._awake.set()

    async def run(self) -> None:
        """Works until stopped; outlives outages of the database and the provider."""
        while not self._stopping:
            self._awake.clear()
            try:
                while not self._stopping and await self._process_due():
                    continue
            except Exception as error:  # noqa: BLE001  the next round does it
                _log.warning("notifications not processed", error=describe_error(error))
            try:
                await asyncio.wait_for(self._awake.wait(), self._poll_seconds)
            except TimeoutError:
                continue

    async def _process_due(self) -> bool:
        """Processes some; False if none was due. One that has to wait holds up few others."""
        async with self._database.read_only() as uow:
            due = await uow.notifications.due(_AT_ONCE)
        await asyncio.gather(*(self._process_or_postpone(*one) for one in due.items()))
        return bool(due)

    async def _process_or_postpone(self, notification_id: str, failures: int) -> None:
        try:
            await self._process(notification_id)
        except Exception as error:  # noqa: BLE001  it is tried again later
            _log.warning(
                "notification not processed",
                payment_notification_id=notification_id,
                error=describe_error(error),
            )
            await self._postpone(notification_id, failures + 1)

    async def _process(self, notification_id: str) -> None:
        try:
            applied = await self._apply(notification_id)
        except ProviderConfirmationNeeded as needed:
            word = await self._charging.inquire(needed.payment)
            applied = await self._apply(notification_id, word)
        _note(applied)

    async def _apply(
        self, notification_id: str, word: Outcome | ChargeNotFound | None = None
    ) -> Applied:
        command = ApplyNotification(notification_id, new_id("ref"), word)
        async with self._database.transaction() as uow:
            now = datetime.now(UTC)
            return await apply_notification(command, uow, codes=self._codes, now=now)

    async def _postpone(self, notification_id: str, failures: int) -> None:
        delay = _BACKOFF.delay(failures, random.random())  # noqa: S311  spreads load, no secret
        async with self._database.transaction() as uow:
            await uow.notifications.postpone(notification_id, timedelta(seconds=delay))


def _note(applied: Applied) -> None:
    notification = applied.notification
    if applied.settled:
        note_settled(applied.settled)
    if notification.status is ProviderNotificationStatus.QUARANTINED:
        _log.warning(
            "notification quarantined",
            payment_notification_id=notification.payment_notification_id,
            payment_id=notification.payment_id,
            order_id=notification.order_id,
            reason=notification.quarantine_reason,
        )
